"""Which bridges of a network's list are podwire's own, to be removed with it; others were there before."""

from __future__ import annotations

from ...errors import CniError
from ...kernel import Namespace, link_of
from ...kernel.show import addresses_of
from ...startup_typing import TYPE_CHECKING
from ..plugins.base import NODE
from ..plugins.naming import is_ours, mac_of

if TYPE_CHECKING:
    from typing import FrozenSet, Set

    from ...model.objects import MacAddress
    from ..spec.netconf import NetConf
    from ..spec.netlist import NetConfList


def own_bridges(network: NetConfList) -> FrozenSet[str]:
    """The bridges of a list that podwire made, of those that are in the caller's network namespace."""
    with Namespace.current(NODE) as node:
        return frozenset(
            name
            for conf in network.plugins
            if conf.type == "bridge"
            for name in [conf.text("bridge") or "cni0"]
            if _is_own(node, name, conf)
        )


def _is_own(node: Namespace, name: str, conf: NetConf) -> bool:
    link = link_of(node, name)
    if link is None or link.kind != "bridge":
        return False
    return is_ours(link, addresses_of(node, name), *_gateway_macs(conf))


def _gateway_macs(conf: NetConf) -> Set[MacAddress]:
    """Of a bridge that lost its address, or never had one."""
    try:
        ipam = conf.ipam
    except CniError:  # another IPAM plugin's
        return set()
    return {mac_of(one.gateway) for ranges in ipam.range_sets for one in ranges} if ipam else set()
