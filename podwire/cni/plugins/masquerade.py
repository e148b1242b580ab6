"""ipMasq of bridge and ptp: what leaves the container's network leaves with the node's address.

One nftables rule an address, in our own table: ``ip saddr 10.1.0.2 ip daddr != 10.1.0.0/24 ip daddr != 224.0.0.0/4
masquerade``. Where ``ipMasqBackend`` is ``iptables``, a chain a container, as the reference has it::

    POSTROUTING      -s 10.1.0.2/32 -j CNI-90ab12cd...
    CNI-90ab12cd...  -d 10.1.0.0/24 -j ACCEPT
                     ! -d 224.0.0.0/4 -j MASQUERADE
"""

from __future__ import annotations

from ipaddress import ip_network

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...kernel.nftables import expressions as nft
from ...model.objects import Chain, IptablesRule
from ...model.state import State
from ...startup_typing import TYPE_CHECKING
from . import chains, owned

if TYPE_CHECKING:
    from typing import Iterable, Tuple

    from ...model.objects import IPNetwork, Rule
    from ..spec.netconf import Attachment, NetConf
    from ..spec.result import ResultIp

CHAIN = Chain("inet", owned.TABLE, "masquerading", "nat", 4, 100)  # postrouting, srcnat


def _multicast(version: int) -> IPNetwork:
    return ip_network("224.0.0.0/4" if version == 4 else "ff00::/8")


def state(conf: NetConf, attachment: Attachment, ips: Iterable[ResultIp]) -> State:
    """The rules that ``ipMasq`` asks for."""
    backend = conf.text("ipMasqBackend")
    if backend not in ("", "nftables", "iptables"):
        raise CniError(
            CNI_INVALID_NETWORK_CONFIG,
            f"network {conf.name}: unknown ipMasqBackend {backend!r}",
            "it must be nftables or iptables",
        )
    if backend == "iptables":
        return State(iptables=frozenset(rule for ip in ips for rule in _iptables(conf, attachment, ip)))
    return State(rules=frozenset(_nftables(conf, attachment, ip) for ip in ips))


def iptables_chains() -> Tuple[chains.Kind, ...]:
    """Of which kinds containers may have chains in iptables."""
    return (chains.MASQUERADE,)


def _nftables(conf: NetConf, attachment: Attachment, result_ip: ResultIp) -> Rule:
    version, network = result_ip.address.version, result_ip.address.network
    parts = (
        nft.family(version),
        nft.source(ip_network(result_ip.address.ip)),
        nft.destination(network, negated=True),
        nft.destination(_multicast(version), negated=True),
        nft.masquerade(),
    )
    return owned.rule(conf, attachment, CHAIN, *parts)


def _iptables(conf: NetConf, attachment: Attachment, result_ip: ResultIp) -> Iterable[IptablesRule]:
    version, kind = result_ip.address.version, chains.MASQUERADE
    said = chains.comment(kind, conf, attachment)
    local = ("-d", str(result_ip.address.network), *said, "-j", "ACCEPT")
    yield chains.rule(kind, conf, attachment, version, *local, order=-1)
    others = ("!", "-d", str(_multicast(version)), *said, "-j", "MASQUERADE")
    yield chains.rule(kind, conf, attachment, version, *others)
    source = ("-s", str(ip_network(result_ip.address.ip)), *said)
    yield chains.rule(kind, conf, attachment, version, *source, chain="POSTROUTING")
