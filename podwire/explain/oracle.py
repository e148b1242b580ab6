"""The kernel asked, and not emulated: how it would route a packet, and what it queues by.

Sources: net/ipv4/route.c (inet_rtm_getroute), include/uapi/linux/{rtnetlink,pkt_sched}.h.
"""

from __future__ import annotations

import errno
import struct
from ipaddress import ip_address
from typing import Dict

from ..errors import KernelError
from ..kernel import Namespace, rtnl
from ..kernel.netlink import attribute, attributes

_RTM_GETQDISC = 38
_ROOT = 0xFFFFFFFF
_RTA_DST, _RTA_SRC, _RTA_IIF, _RTA_OIF, _RTA_GATEWAY = 1, 2, 3, 4, 5
_KINDS = {1: "forwarded", 2: "delivered locally"}


def route(namespace: Namespace, destination: str, source: str, iif: int) -> str:
    """``ip route get DESTINATION from SOURCE iif IIF``: ``forwarded``, or the name of the error."""
    to, by = ip_address(destination), ip_address(source)
    bits = 32 if to.version == 4 else 128
    family = rtnl.AF_INET if to.version == 4 else rtnl.AF_INET6
    payload = struct.pack("=BBBBBBBBI", family, bits, bits, 0, 0, 0, 0, 0, 0)
    payload += attribute(_RTA_DST, to.packed) + attribute(_RTA_SRC, by.packed)
    payload += attribute(_RTA_IIF, struct.pack("=I", iif))
    try:
        answers = namespace.socket.ask(rtnl.RTM_GETROUTE, payload)
    except KernelError as error:
        return errno.errorcode.get(error.errno or 0, str(error.errno))
    return _KINDS.get(answers[7], f"kind {answers[7]}")


def disciplines(namespace: Namespace) -> Dict[str, str]:
    """Device -> kind of its root queueing discipline, where somebody set one."""
    names = {}
    for _, payload in namespace.socket.dump(rtnl.RTM_GETLINK, bytes(16)):
        index, name = rtnl.read_link_name(payload)[:2]
        names[index] = name
    found = {}
    for _, payload in namespace.socket.dump(_RTM_GETQDISC, bytes(20)):
        _, index, handle, parent, _ = struct.unpack_from("=BxxxiIII", payload)
        if parent == _ROOT and handle and index in names:
            values = dict(attributes(payload, 20, len(payload)))
            found[names[index]] = values.get(1, b"").rstrip(b"\0").decode()
    return found
