"""Rules of an attachment: whose they are, and how they are found again. Those of iptables: see chains.

::

    ip saddr 10.244.1.2 ... comment "3f0a9c1e5b7d2846-90ab12cd34ef5678 net podnet if eth0 id 4c1f..."

The first word is the owner: digests of the network's name and of the attachment. DEL knows it without address or
namespace, and GC knows which network's rules to look at. The rest is for people, and may be cut.
"""

from __future__ import annotations

from ...kernel.nftables import rules
from ...model.objects import Chain, Rule
from ...startup_typing import TYPE_CHECKING, sha256

if TYPE_CHECKING:
    from ...kernel.nftables.expressions import Part
    from ..spec.netconf import Attachment, NetConf

#: Our table, in families inet and bridge.
TABLE = "podwire-cni"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def prefix(network: str) -> str:
    """What the owners of a network's rules begin with."""
    return _digest(network) + "-"


def owner(network: str, container_id: str, ifname: str) -> str:
    """The first word of the comments of an attachment's rules."""
    return f"{prefix(network)}{_digest(f'{container_id}/{ifname}')}"


def rule(conf: NetConf, attachment: Attachment, chain: Chain, *parts: Part) -> Rule:
    """A rule of an attachment."""
    name = owner(conf.name, attachment.container_id, attachment.ifname)
    comment = rules.comment_of(f"{name} net {conf.name} if {attachment.ifname} id {attachment.container_id}")
    text = " ".join(part.text for part in parts)
    return Rule(chain, name, comment, text, b"".join(part.expressions for part in parts))
