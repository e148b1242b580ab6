"""ipMasq of bridge and ptp: what leaves the container's network leaves with the node's address.

One nftables rule an address, in our own table: ``ip saddr 10.1.0.2 ip daddr != 10.1.0.0/24 ip daddr != 224.0.0.0/4
masquerade``. ``ipMasqBackend`` may say ``nftables`` or ``iptables``; NAT of one does not exclude that of the other, so
both get the same rules.
"""

from __future__ import annotations

from ipaddress import ip_network

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...kernel import nft_parts as nft
from ...lean import TYPE_CHECKING
from ...model import Chain
from . import owned

if TYPE_CHECKING:
    from typing import FrozenSet, Iterable

    from ...model import Rule
    from ..netconf import Attachment, NetConf
    from ..result import ResultIp

CHAIN = Chain("inet", owned.TABLE, "masquerading", "nat", 4, 100)  # postrouting, srcnat
_MULTICAST = {4: ip_network("224.0.0.0/4"), 6: ip_network("ff00::/8")}


def rules(conf: NetConf, attachment: Attachment, ips: Iterable[ResultIp]) -> FrozenSet[Rule]:
    """None without ipMasq."""
    if not conf.flag("ipMasq"):
        return frozenset()
    backend = conf.text("ipMasqBackend")
    if backend not in ("", "nftables", "iptables"):
        raise CniError(
            CNI_INVALID_NETWORK_CONFIG,
            f"network {conf.name}: unknown ipMasqBackend {backend!r}",
            "it must be nftables or iptables",
        )
    found = []
    for each in ips:
        version, network = each.address.version, each.address.network
        parts = (
            nft.family(version),
            nft.source(ip_network(each.address.ip)),
            nft.destination(network, negated=True),
            nft.destination(_MULTICAST[version], negated=True),
            nft.masquerade(),
        )
        found.append(owned.rule(conf, attachment, CHAIN, *parts))
    return frozenset(found)
