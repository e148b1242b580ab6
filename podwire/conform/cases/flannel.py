"""The flannel plugin: a delegate made of what flanneld wrote."""

from __future__ import annotations

import os
from typing import List

from ..case import MUST, QUALITY, SHOULD, case
from ..shape import addresses
from ..tools import ip
from ..trial import Trial
from ..world import SUBNET_ENV

_KEYS = "Plugin documentation: flannel"
_FLANNEL = ["flannel"]
_SCRATCH = "/var/lib/cni/flannel"


def _scratch() -> List[str]:
    return sorted(os.listdir(_SCRATCH)) if os.path.isdir(_SCRATCH) else []


@case("flannel.subnet", "address, MTU and the network's route come from subnet.env", _KEYS, SHOULD, plugins=_FLANNEL)
def subnet(t: Trial) -> None:
    container = t.add()
    t.expect(addresses(container.result) == ["10.22.0.2/24"], "10.22.0.2/24", container.result)
    t.expect(" mtu 1450 " in container.ip("link show dev eth0")[0], "mtu 1450", container.ip("link show dev eth0"))
    routes = container.ip("route show table main")
    t.expect(
        any("10.22.0.0/16" in line and "10.22.0.1" in line for line in routes), "10.22.0.0/16 via 10.22.0.1", routes
    )
    t.expect(any("10.22.0.1/24" in line for line in ip("address show dev cni0")), "10.22.0.1/24 on cni0")


@case("flannel.dual", "both families come from subnet.env", _KEYS, SHOULD, plugins=_FLANNEL)
def dual(t: Trial) -> None:
    t.subnet_env(
        "FLANNEL_NETWORK=10.22.0.0/16",
        "FLANNEL_SUBNET=10.22.0.1/24",
        "FLANNEL_IPV6_NETWORK=fd00:22::/48",
        "FLANNEL_IPV6_SUBNET=fd00:22::1/64",
        "FLANNEL_MTU=1450",
        "FLANNEL_IPMASQ=true",
    )
    found = addresses(t.add().result)
    t.expect(found == ["10.22.0.2/24", "fd00:22::2/64"], "10.22.0.2/24 and fd00:22::2/64", found)


@case(
    "flannel.masquerade",
    "the delegate masquerades exactly when flanneld does not",
    _KEYS,
    SHOULD,
    plugins=_FLANNEL,
    needs=["iptables"],
    each=("true", "false"),
)
def masquerade(t: Trial) -> None:
    t.subnet_env(
        "FLANNEL_NETWORK=10.22.0.0/16",
        "FLANNEL_SUBNET=10.22.0.1/24",
        "FLANNEL_MTU=1450",
        f"FLANNEL_IPMASQ={t.parameter}",
    )
    t.add()
    rules = [line for line in t.show()["node rules"] if "masquerade" in line.lower()]
    t.expect(
        bool(rules) == (t.parameter == "false"), f"{'a' if t.parameter == 'false' else 'no'} masquerade rule", rules
    )


_BAD = {
    "missing": None,
    "empty": "",
    "no-subnet": "FLANNEL_NETWORK=10.22.0.0/16\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
    "no-equals": "FLANNEL_NETWORK 10.22.0.0/16\nFLANNEL_SUBNET\n",
    "nonsense": "FLANNEL_NETWORK=all\nFLANNEL_SUBNET=10.22.0.300/24\nFLANNEL_MTU=big\nFLANNEL_IPMASQ=perhaps\n",
    "binary": "\0\1\2=\3\n",
}


@case(
    "flannel.malformed",
    "a subnet.env that makes no sense is an error, and nothing is left",
    _KEYS,
    MUST,
    plugins=_FLANNEL,
    each=tuple(_BAD),
)
def malformed(t: Trial) -> None:
    os.unlink(SUBNET_ENV)
    content = _BAD[t.parameter]
    if content is not None:
        with open(SUBNET_ENV, "w") as file:
            file.write(content)
    container = t.container()
    before = t.show()
    t.run("ADD", container).refused()
    t.same(before, "nothing is left")


@case("flannel.scratch", "scratch data is kept per interface", _KEYS, QUALITY, plugins=_FLANNEL)
def per_interface(t: Trial) -> None:
    t.warm()
    container = t.container()
    before = t.show()
    config = t.config(delegate={})
    t.add(container, config)
    container.ifname = "eth1"
    t.run("ADD", container, {**config, "delegate": {"bridge": "cni1", "isGateway": False, "ipam": {}}})
    for name in ("eth1", "eth0"):
        container.ifname = name
        t.delete(container, config)
    t.expect(_scratch() == [], "no scratch file is left", _scratch())
    t.same(before, "nothing is left", ignoring=["cni1", "node routes"])


@case("flannel.scratch.failed.add", "a failed ADD leaves no scratch file", _KEYS, QUALITY, plugins=_FLANNEL)
def failed_add(t: Trial) -> None:
    container = t.container()
    container.ip("link add eth0 type bridge")
    t.run("ADD", container).refused()
    t.expect(_scratch() == [], "no scratch file", _scratch())


@case(
    "flannel.scratch.failed.del",
    "a DEL that failed can be repeated: scratch data stays until it succeeded",
    _KEYS,
    QUALITY,
    plugins=_FLANNEL,
)
def failed_del(t: Trial) -> None:
    container = t.add()
    t.run("DEL", container, CNI_PATH="/nowhere").refused()
    t.expect(_scratch(), "the scratch file while the lease is not released")
    t.delete(container)
    leases = [line for line in t.show()["files"] if "/10.22." in line]
    t.expect(not leases and not _scratch(), "no lease and no scratch file", leases + _scratch())


@case(
    "flannel.scratch.empty",
    "an empty scratch file, left by a crash, does not stand in the way of DEL",
    _KEYS,
    QUALITY,
    plugins=_FLANNEL,
)
def empty_scratch(t: Trial) -> None:
    container = t.add()
    for name in _scratch():
        with open(f"{_SCRATCH}/{name}", "w"):
            pass
    t.delete(container)


@case("flannel.del.without", "DEL works although subnet.env is gone", "Section 2: DEL", SHOULD, plugins=_FLANNEL)
def without_subnet(t: Trial) -> None:
    container = t.add()
    os.unlink(SUBNET_ENV)
    t.delete(container)
    leases = [line for line in t.show()["files"] if "/10.22." in line]
    t.expect(not leases, "no lease", leases)


@case(
    "flannel.delegate.type",
    "keys of the delegate that flannel sets itself are refused",
    _KEYS,
    SHOULD,
    plugins=_FLANNEL,
    each=("name", "ipam"),
)
def reserved(t: Trial) -> None:
    t.run("ADD", t.container(), t.config(delegate={t.parameter: "x"})).refused()
