"""Chains of iptables' nat table that belong to one container, named and commented as the reference does.

::

    -A POSTROUTING -s 10.1.0.2/32 -m comment --comment "name: \"podnet\" id: \"4c1f\"" -j CNI-90ab12cd34ef567890ab12cd

So what podwire or the reference added, the other removes. DEL finds a chain by its name, GC by its comments.
"""

from __future__ import annotations

from ...kernel.iptables import rules
from ...model.objects import IptablesRule
from ...startup_typing import TYPE_CHECKING, NamedTuple, sha512

if TYPE_CHECKING:
    from typing import FrozenSet, Tuple

    from ...kernel import Namespace
    from ..spec.netconf import Attachment, NetConf

NAME_LENGTH = 28  # XT_EXTENSION_MAXNAMELEN, without its NUL
_COMMENT_LENGTH = 255  # XT_MAX_COMMENT_LEN


class Kind(NamedTuple):
    """What a chain is for. ``prefix``: what its name begins with. ``word``: what its comments begin with."""

    prefix: str
    word: str


MASQUERADE = Kind("CNI-", "name")
PORTS = Kind("CNI-DN-", "dnat name")


def name(kind: Kind, network: str, container_id: str) -> str:
    """The chain of a container in a network."""
    return (kind.prefix + sha512((network + container_id).encode()).hexdigest())[:NAME_LENGTH]


def comment(kind: Kind, conf: NetConf, attachment: Attachment) -> Tuple[str, ...]:
    """The match that says whose a rule is."""
    said = f'{_begin(kind, conf.name)}"{attachment.container_id}"'
    if len(said) > _COMMENT_LENGTH:
        said = said[: _COMMENT_LENGTH - 3] + "..."
    return ("-m", "comment", "--comment", said)


def rule(
    kind: Kind, conf: NetConf, attachment: Attachment, version: int, *words: str, chain: str = "", order: int = 0
) -> IptablesRule:
    """A rule for a container: in its own chain, or one in another ``chain`` that leads there."""
    own = name(kind, conf.name, attachment.container_id)
    return IptablesRule(version, chain or own, (*words, "-j", own) if chain else words, own, order)


def stale(kinds: Tuple[Kind, ...], network: str, node: Namespace, valid: FrozenSet[Tuple[str, str]]) -> FrozenSet[str]:
    """The chains of this network's containers that have no valid attachment."""
    found: FrozenSet[str] = frozenset()
    for kind in kinds:
        kept = {name(kind, network, container_id) for container_id, _ in valid}
        found |= rules.commented(node, _begin(kind, network)) - kept
    return found


def _begin(kind: Kind, network: str) -> str:
    return f'{kind.word}: "{network}" id: '
