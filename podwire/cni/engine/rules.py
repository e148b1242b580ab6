"""Whose the rules of attachments are, whichever backend made them."""

from __future__ import annotations

from ...kernel.nftables.rules import owners_of
from ...model.state import Scope
from ...startup_typing import TYPE_CHECKING
from ..plugins import chains, owned

if TYPE_CHECKING:
    from typing import FrozenSet, Iterable, Mapping, Optional, Sequence, Set, Tuple

    from ...kernel import Namespace
    from ...model.objects import Chain, IPAddress
    from ..plugins.chains import Kind
    from ..plugins.plugin import Plugin
    from ..spec.netconf import Attachment, NetConf
    from ..spec.result import Result

    Plugins = Sequence[Tuple[NetConf, Plugin]]


def scope_of_rules(
    network: str, plugins: Plugins, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]
) -> Scope:
    """The scope of attachments' rules. A chain of iptables is that of all interfaces of a container: where
    ``previous`` tells an interface's addresses, only the rules of these."""
    return Scope(
        chains=_nftables_chains(plugins),
        owners=frozenset(owned.owner(network, each.container_id, each.ifname) for each in attachments),
        iptables=frozenset(name for each in attachments for name in names_of_chains(network, plugins, each)),
        iptables_of=_addresses(attachments, previous),
    )


def scope_of_stale_rules(network: str, plugins: Plugins, node: Namespace, valid: FrozenSet[Tuple[str, str]]) -> Scope:
    """The scope of this network's rules that belong to no valid attachment."""
    kept = {owned.owner(network, *pair) for pair in valid}
    wanted = _nftables_chains(plugins)
    present = owners_of(node, wanted) if wanted else ()
    prefix = owned.prefix(network)
    return Scope(
        chains=wanted,
        owners=frozenset(owner for owner in present if owner.startswith(prefix) and owner not in kept),
        iptables=chains.stale(_kinds(plugins), network, node, valid),
    )


def names_of_chains(network: str, plugins: Plugins, attachment: Attachment) -> Set[str]:
    """The chains of iptables that are the container's."""
    return {chains.name(kind, network, attachment.container_id) for kind in _kinds(plugins)}


def _addresses(
    attachments: Iterable[Attachment], previous: Mapping[Attachment, Result]
) -> Optional[FrozenSet[IPAddress]]:
    """Those of all these interfaces; None unless they are known."""
    found: Set[IPAddress] = set()
    for attachment in attachments:
        result = previous.get(attachment)
        addresses = {ip.address.ip for ip in result.of_interface(attachment.ifname).ips} if result else set()
        if not addresses:
            return None
        found |= addresses
    return frozenset(found)


def _nftables_chains(plugins: Plugins) -> Tuple[Chain, ...]:
    return tuple(dict.fromkeys(chain for conf, plugin in plugins for chain in plugin.chains(conf)))


def _kinds(plugins: Plugins) -> Tuple[Kind, ...]:
    return tuple(dict.fromkeys(kind for conf, plugin in plugins for kind in plugin.iptables_chains(conf)))
