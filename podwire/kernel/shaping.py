"""Traffic control of one device: a token bucket, and all that comes in sent through another device first.

Sources: include/uapi/linux/{pkt_sched,pkt_cls,rtnetlink}.h, net/sched/sch_tbf.c, cls_u32.c, act_mirred.c.
"""

from __future__ import annotations

import os
import struct

from ..errors import KernelError, UnsupportedError
from ..model.link import peer_of
from ..model.wire import EXCLUSIVE, REPLACING, attribute, attributes
from ..startup_typing import TYPE_CHECKING, NamedTuple
from .devices import find, no_device
from .namespaces import Namespace

if TYPE_CHECKING:
    from typing import Optional

    from ..model.wire import Message

_NEWQDISC, _DELQDISC, _GETQDISC, _NEWFILTER, _GETFILTER = 36, 37, 38, 44, 46
_TCMSG = struct.Struct("=BxxxiIII")
_RATE = struct.Struct("=BBHhHI")  # struct tc_ratespec
_MIRRED = struct.Struct("=IIiiiiI")  # struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_INGRESS_HANDLE, _BUCKET_HANDLE = 0xFFFF0000, 0x00010000
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET
_ALL = 0x0300  # ETH_P_ALL in network order
_TERMINAL = 1  # TC_U32_TERMINAL
_STOLEN = 4  # TC_ACT_STOLEN
_EGRESS_REDIRECT = 1  # TCA_EGRESS_REDIR
#: Packets wait no longer than this for their tokens, as in the reference.
_LATENCY = 0.025


class Bucket(NamedTuple):
    """``rate`` in bytes a second, ``burst`` in bytes."""

    rate: int
    burst: int


def peer_index(namespace: Namespace, name: str) -> int:
    """The ifindex of a veth's other end, in that one's namespace; 0 if it is no veth."""
    payload = find(namespace, name)
    if payload is None:
        raise no_device(namespace, name)
    return peer_of(payload)


def bucket_of(namespace: Namespace, device: int) -> Optional[Bucket]:
    """The token bucket at a device's root; None if there is none."""
    for _, payload in namespace.socket.dump(_GETQDISC, _TCMSG.pack(0, device, 0, 0, 0)):
        _, index, _, parent, _ = _TCMSG.unpack_from(payload)
        values = dict(attributes(payload, _TCMSG.size, len(payload)))
        if index != device or parent != _ROOT or values.get(1) != b"tbf\0":
            continue
        options = values.get(2, b"")
        values = dict(attributes(options, 0, len(options)))
        parameters = values.get(1, b"")
        if len(parameters) >= 36:
            rate = struct.unpack("=Q", values[4])[0] if 4 in values else _RATE.unpack_from(parameters)[5]
            limit = struct.unpack_from("=I", parameters, 24)[0]
            return Bucket(rate, limit - int(rate * _LATENCY))
    return None


def set_bucket(namespace: Namespace, device: int, bucket: Bucket) -> None:
    """Let no more leave by a device than the bucket allows."""
    limit = min(int(bucket.rate * _LATENCY) + bucket.burst, 0xFFFFFFFF)
    rate = _RATE.pack(0, _ETHERNET, 0, 0, 0, min(bucket.rate, 0xFFFFFFFF))
    parameters = rate + bytes(_RATE.size) + struct.pack("=III", limit, 0, 0)
    options = attribute(1, parameters) + attribute(6, struct.pack("=I", bucket.burst))
    if bucket.rate > 0xFFFFFFFF:
        options += attribute(4, struct.pack("=Q", bucket.rate))
    body = _TCMSG.pack(0, device, _BUCKET_HANDLE, _ROOT, 0) + attribute(1, b"tbf\0") + attribute(2, options)
    _do(namespace, "limit the rate by tbf (CONFIG_NET_SCH_TBF)", (_NEWQDISC, REPLACING, body))


def clear_bucket(namespace: Namespace, device: int) -> None:
    """Take a token bucket away again."""
    body = _TCMSG.pack(0, device, _BUCKET_HANDLE, _ROOT, 0)
    namespace.socket.batch([(_DELQDISC, 0, body)])


def clear_ingress(namespace: Namespace, device: int) -> None:
    """Send what comes in by a device nowhere else any more."""
    namespace.socket.batch([(_DELQDISC, 0, _TCMSG.pack(0, device, _INGRESS_HANDLE, _INGRESS, 0))])


def target_of(namespace: Namespace, device: int) -> Optional[int]:
    """The ifindex to which all that comes in by a device is sent; None if nobody looks at what comes in. 0 for a
    device that is gone, or no filter yet, -1 for filters of somebody else's."""
    for _, payload in namespace.socket.dump(_GETQDISC, _TCMSG.pack(0, device, 0, 0, 0)):
        _, index, _, parent, _ = _TCMSG.unpack_from(payload)
        if index == device and parent == _INGRESS:
            break
    else:
        return None
    target = 0
    for _, payload in namespace.socket.dump(_GETFILTER, _TCMSG.pack(0, device, 0, _INGRESS_HANDLE, 0)):
        # TCA_OPTIONS, TCA_U32_ACT, the first action, TCA_ACT_OPTIONS, TCA_MIRRED_PARMS
        mirred = _inside(payload[_TCMSG.size :], 2, 7, 1, 2, 2)
        if len(mirred) == _MIRRED.size:
            return int(_MIRRED.unpack(mirred)[6])
        target = -1
    return target


def _inside(data: bytes, *path: int) -> bytes:
    """An attribute within attributes; nothing if it is not there."""
    for kind in path:
        data = dict(attributes(data, 0, len(data))).get(kind, b"")
    return data


def redirect_ingress(namespace: Namespace, device: int, target: int) -> None:
    """Send all that comes in by a device out by another one, which sends it on."""
    qdisc = _TCMSG.pack(0, device, _INGRESS_HANDLE, _INGRESS, 0) + attribute(1, b"ingress\0")
    _do(namespace, "shape by ingress (CONFIG_NET_SCH_INGRESS)", (_NEWQDISC, EXCLUSIVE, qdisc))
    # struct tc_u32_sel with one key that matches everything: mask 0, value 0, offset 0.
    selector = struct.pack("=BBBxHHhhI", _TERMINAL, 0, 1, 0, 0, 0, 0, 0) + bytes(16)
    mirred = _MIRRED.pack(0, 0, _STOLEN, 0, 0, _EGRESS_REDIRECT, target)
    action = attribute(1, attribute(1, b"mirred\0") + attribute(2, attribute(2, mirred)))
    options = attribute(5, selector) + attribute(7, action)
    rule = _TCMSG.pack(0, device, 0, _INGRESS_HANDLE, (1 << 16) | _ALL) + attribute(1, b"u32\0") + attribute(2, options)
    _do(
        namespace,
        "redirect by u32 and mirred (CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED)",
        (_NEWFILTER, EXCLUSIVE, rule),
    )


def _do(namespace: Namespace, doing: str, message: Message) -> None:
    for refusal in namespace.socket.batch([message]):
        cause = f"failed to {doing} on {namespace.name}: {os.strerror(refusal.errno)}{refusal.text}"
        if refusal.errno in (2, 95):
            raise UnsupportedError(cause, refusal.errno, "this kernel lacks the feature: load or build it")
        raise KernelError(cause, refusal.errno)
