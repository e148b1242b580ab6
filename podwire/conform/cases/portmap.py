"""The portmap plugin: ports of the node that lead into containers."""

from __future__ import annotations

import socket
from typing import Any, Dict, Optional

from ..case import QUALITY, SHOULD, case
from ..node import Container
from ..shape import bare
from ..tools import ip, run
from ..traffic import reach
from ..trial import Trial
from ..world import OUTSIDE, UPLINK, UPLINK6

_KEYS = "Plugin documentation: portmap"
_PORTMAP = ["portmap"]
_NEEDS = ["iptables"]


def _config(t: Trial, *mappings: Dict[str, Any], **changes: Any) -> Dict[str, Any]:
    listed = mappings or ({"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},)
    return t.config(runtimeConfig={"portMappings": list(listed)}, **changes)


def _reach(t: Trial, container: Container, address: str = UPLINK, port: int = 8080, **options: Any) -> Optional[str]:
    return reach(t.outside(), container.namespace, address, port, at=80, **options)


@case(
    "portmap.outside",
    "a host beyond the node reaches the container by the node's port",
    _KEYS,
    SHOULD,
    plugins=_PORTMAP,
    needs=_NEEDS,
    each=("4", "6"),
)
def outside(t: Trial) -> None:
    container = t.container(dual=True)
    address = UPLINK if t.parameter == "4" else UPLINK6
    t.expect(_reach(t, container, address, within=0.3) is None, "no connection before ADD", "one")
    t.add(container, _config(t))
    t.expect(_reach(t, container, address), f"a connection to {address} port 8080", "none")
    t.delete(container, _config(t))
    t.expect(_reach(t, container, address, within=0.3) is None, "no connection after DEL", "one")


@case(
    "portmap.node",
    "the node itself reaches the port, by its address and by 127.0.0.1",
    _KEYS,
    SHOULD,
    plugins=_PORTMAP,
    needs=_NEEDS,
    each=("address", "localhost"),
)
def node(t: Trial) -> None:
    t.outside()
    container = t.add(config=_config(t))
    address = UPLINK if t.parameter == "address" else "127.0.0.1"
    t.expect(reach(t.node, container.namespace, address, 8080, at=80), f"a connection to {address} port 8080", "none")


@case(
    "portmap.peer",
    "other containers reach the port, and so does the container itself",
    _KEYS,
    SHOULD,
    plugins=_PORTMAP,
    needs=_NEEDS,
    each=("other", "itself"),
)
def peer(t: Trial) -> None:
    t.outside()
    container, other = t.container(), t.container()
    t.add(container, _config(t))
    run("ip", "link", "set", "dev", "wire2", "type", "bridge_slave", "hairpin", "on")
    client = other if t.parameter == "other" else container
    t.expect(
        reach(client.namespace, container.namespace, UPLINK, 8080, at=80), f"a connection to {UPLINK} port 8080", "none"
    )


@case("portmap.udp", "UDP ports work", _KEYS, SHOULD, plugins=_PORTMAP, needs=_NEEDS)
def udp(t: Trial) -> None:
    container = t.add(config=_config(t, {"hostPort": 8080, "containerPort": 80, "protocol": "udp"}))
    t.expect(_reach(t, container, kind=socket.SOCK_DGRAM), "a datagram", "none")
    t.expect(_reach(t, container, within=0.3) is None, "no TCP connection", "one")


@case(
    "portmap.udp.stale",
    "a UDP flow follows its port from one container to the next",
    _KEYS,
    QUALITY,
    plugins=_PORTMAP,
    needs=_NEEDS,
)
def udp_stale(t: Trial) -> None:
    config = _config(t, {"hostPort": 8080, "containerPort": 80, "protocol": "udp"})
    first, second = t.container(), t.container()
    t.add(first, config)
    t.expect(_reach(t, first, kind=socket.SOCK_DGRAM), "a datagram to the first", "none")
    t.delete(first, config)
    t.add(second, config)
    t.expect(_reach(t, second, kind=socket.SOCK_DGRAM), "a datagram to the second", "none")


@case(
    "portmap.hostip",
    "hostIP restricts the mapping to one address of the node",
    _KEYS,
    SHOULD,
    plugins=_PORTMAP,
    needs=_NEEDS,
)
def host_ip(t: Trial) -> None:
    t.outside()
    ip("address add 192.0.2.9/24 dev uplink0")
    container = t.add(
        config=_config(t, {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "192.0.2.9"})
    )
    t.expect(_reach(t, container, "192.0.2.9"), "a connection to 192.0.2.9", "none")
    t.expect(_reach(t, container, within=0.3) is None, f"none to {UPLINK}", "one")


@case("portmap.many", "thirty ports of two containers are kept apart", _KEYS, SHOULD, plugins=_PORTMAP, needs=_NEEDS)
def many(t: Trial) -> None:
    def config(base: int) -> Dict[str, Any]:
        return _config(t, *({"hostPort": base + n, "containerPort": 80, "protocol": "tcp"} for n in range(15)))

    first, second = t.container(), t.container()
    t.add(first, config(8100))
    t.add(second, config(8200))
    for container, port in ((first, 8114), (second, 8200)):
        t.expect(_reach(t, container, port=port), f"a connection to port {port}", "none")
    t.delete(first, config(8100))
    t.expect(_reach(t, second, port=8214), "the second still works", "none")
    t.expect(_reach(t, first, port=8100, within=0.3) is None, "the first does not", "one")


@case("portmap.none", "without mappings ADD passes the result on and does nothing", _KEYS, SHOULD, plugins=_PORTMAP)
def none(t: Trial) -> None:
    container = t.container()
    before = t.show()
    t.add(container, t.config(runtimeConfig={}))
    t.expect(bare(container.result), "the addresses of prevResult", container.result)
    t.same(before, "nothing is done")


@case(
    "portmap.invalid",
    "ports out of range and unknown protocols are an error, and nothing is left",
    _KEYS,
    QUALITY,
    plugins=_PORTMAP,
    needs=_NEEDS,
    each=("zero", "large", "container", "protocol", "hostip"),
)
def invalid(t: Trial) -> None:
    every: Dict[str, Dict[str, Any]] = {
        "zero": {"hostPort": 0},
        "large": {"hostPort": 70000},
        "container": {"containerPort": 0},
        "protocol": {"protocol": "tcpp"},
        "hostip": {"hostIP": "here"},
    }
    mapping = {"hostPort": 8080, "containerPort": 80, "protocol": "tcp", **every[t.parameter]}
    t.warm()
    container = t.container()
    before = t.show()
    t.run("ADD", container, _config(t, mapping)).refused()
    t.same(before, "a failed ADD leaves nothing behind")


@case(
    "portmap.check",
    "CHECK fails when the rules were flushed",
    "Section 2: CHECK",
    SHOULD,
    plugins=_PORTMAP,
    since="0.4.0",
    needs=_NEEDS,
)
def check_rules(t: Trial) -> None:
    container = t.add(config=_config(t))
    t.control(container, _config(t))
    run("nft", "flush", "ruleset")
    t.check(container, _config(t)).refused()


@case("portmap.conditions", "conditionsV4 restrict who is let in", _KEYS, SHOULD, plugins=_PORTMAP, needs=_NEEDS)
def conditions(t: Trial) -> None:
    closed = _config(t, backend="iptables", conditionsV4=["-s", "198.51.100.0/24"])
    container = t.add(config=closed)
    t.expect(_reach(t, container, within=0.3) is None, "no connection from another source", "one")
    t.delete(container, closed)
    opened = _config(t, backend="iptables", conditionsV4=["-s", "192.0.2.0/24"])
    t.add(container, opened)
    t.expect(_reach(t, container), "a connection from the source that is let in", "none")


@case(
    "portmap.nftables",
    "backend nftables maps ports, and leaves nothing",
    _KEYS,
    QUALITY,
    plugins=_PORTMAP,
    since="1.1.0",
    needs=["nftables"],
)
def nftables(t: Trial) -> None:
    config = _config(t, backend="nftables")
    t.warm(config)
    container = t.container()
    before = t.show()
    t.add(container, config)
    t.expect(_reach(t, container), "a connection", "none")
    t.check(container, config).silent()
    t.delete(container, config)
    now = t.show()["node rules"]
    t.expect(now == before["node rules"], "no rule is left", [line for line in now if line not in before["node rules"]])


@case(
    "portmap.source",
    "with snat off the container sees who connects",
    _KEYS,
    SHOULD,
    plugins=_PORTMAP,
    needs=_NEEDS,
    each=("off", "on"),
)
def source(t: Trial) -> None:
    container = t.add(config=_config(t, snat=t.parameter == "on"))
    seen = _reach(t, container)
    t.expect(seen == OUTSIDE, f"a connection that comes from {OUTSIDE}", seen or "none")


@case(
    "portmap.iptables",
    "backend iptables maps ports by rules of iptables, and leaves none for the container",
    _KEYS,
    SHOULD,
    plugins=_PORTMAP,
    needs=_NEEDS,
)
def by_iptables(t: Trial) -> None:
    listed = ({"hostPort": 8000 + n, "containerPort": 80, "protocol": "tcp"} for n in range(16))
    config = _config(t, *listed, backend="iptables")
    container = t.add(config=config)
    own = bare(container.result)[0]
    for port in (8000, 8015):
        t.expect(_reach(t, container, port=port), f"a connection to port {port}", "none")
    shown = run("iptables-save", "-t", "nat")
    t.expect(f"--to-destination {own}:80" in shown, f"rules that translate to {own}:80 in the nat table", shown)
    t.delete(container, config)
    shown = run("iptables-save", "-t", "nat")
    t.expect(own not in shown and "dports" not in shown, "no rule for the container", shown)


@case(
    "portmap.mark",
    "markMasqBit and externalSetMarkChain choose how what needs masquerading is marked",
    _KEYS,
    SHOULD,
    plugins=_PORTMAP,
    needs=_NEEDS,
    each=("bit", "chain", "both"),
)
def mark(t: Trial) -> None:
    run("iptables", "-t", "nat", "-N", "OTHERS-MARK")
    changes: Dict[str, Dict[str, Any]] = {
        "bit": {"markMasqBit": 5},
        "chain": {"externalSetMarkChain": "OTHERS-MARK"},
        "both": {"markMasqBit": 5, "externalSetMarkChain": "OTHERS-MARK"},
    }
    config = _config(t, backend="iptables", **changes[t.parameter])
    if t.parameter == "both":
        t.run("ADD", t.container(), config).refused()
        return
    t.add(config=config)
    shown = run("iptables-save", "-t", "nat")
    wanted = "0x20/0x20" if t.parameter == "bit" else "-j OTHERS-MARK"
    t.expect(wanted in shown and "0x2000" not in shown, f"rules with {wanted}, and none with the default bit", shown)
