"""Forget UDP connections: UDP says no goodbye, so a flow keeps going where its first packet went.

Source: include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import struct

from ..errors import KernelError
from ..model.wire import attribute, attributes
from ..startup_typing import TYPE_CHECKING
from .namespaces import Namespace

if TYPE_CHECKING:
    from typing import FrozenSet

_GET, _DELETE = (1 << 8) + 1, (1 << 8) + 2
_TUPLE_ORIG = 1
_TUPLE_PROTO = 2
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_UDP = 17
_NESTED = 0x8000
#: What kernels without connection tracking over netlink answer, and a connection that just ended.
_NOTHING = {2, 22, 93, 95, 97}


def forget_udp(namespace: Namespace, ports: FrozenSet[int]) -> int:
    """Delete the connections whose first packet went to one of these UDP ports; how many there were."""
    forgotten = 0
    for family in (2, 10):
        try:
            socket = namespace.nftables(family)
            deletions = []
            for _, payload in socket.dump(_GET, socket.generic):
                original = dict(attributes(payload, 4, len(payload))).get(_TUPLE_ORIG, b"")
                if _udp_port(original) in ports:
                    deletions.append((_DELETE, 0, socket.generic + attribute(_TUPLE_ORIG | _NESTED, original)))
            refused = socket.batch(deletions) if deletions else []
            forgotten += len(deletions) - len(refused)
        except KernelError as error:
            if error.errno not in _NOTHING:
                raise
    return forgotten


def _udp_port(original: bytes) -> int:
    protocol = dict(attributes(original, 0, len(original))).get(_TUPLE_PROTO, b"")
    values = dict(attributes(protocol, 0, len(protocol)))
    if values.get(_PROTO_NUM) != bytes([_UDP]) or len(values.get(_PROTO_DST_PORT, b"")) != 2:
        return -1
    return int(struct.unpack("!H", values[_PROTO_DST_PORT])[0])
