"""veth pairs. Source: include/uapi/linux/veth.h, drivers/net/veth.c."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING, NamedTuple
from ..wire import attribute, text, u32
from .device import Device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import List

    from ..wire import Index
    from .device import Particulars

_INFO_PEER = 1
_IFNAME, _NET_NS_FD = 3, 28


class VethPeer(NamedTuple):
    """The other end of a veth pair, born in the same message (IFLA_NET_NS_FD inside VETH_INFO_PEER)."""

    namespace: str
    name: str


class Veth(Device):
    """An end with ``peer`` is made together with its other end, which therefore is only configured. The kernel does not
    say with whom an end was made."""

    def is_made(self, link: Particulars) -> bool:
        return link.peer is not None

    def info(self, link: Particulars, index: Index, namespaces: Mapping[str, int]) -> bytes:
        assert link.peer is not None
        head = bytes(16) + text(_IFNAME, link.peer.name)
        return attribute(_INFO_PEER, head + u32(_NET_NS_FD, namespaces[link.peer.namespace]))

    def words(self, link: Particulars) -> List[str]:
        return [f"peer {link.peer.name} in {link.peer.namespace}"] if link.peer else []


KIND = Veth()
