"""Traffic control: token buckets on devices, and what comes in by one device redirected to another.

Sources: include/uapi/linux/{rtnetlink,pkt_sched,pkt_cls}.h, net/sched/sch_tbf.c, cls_u32.c, act_mirred.c.
"""

from __future__ import annotations

import os
import struct

from ..errors import KernelError, UnsupportedError
from ..lean import TYPE_CHECKING, NamedTuple
from .netlink import NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, attribute, attributes

if TYPE_CHECKING:
    from typing import FrozenSet, Set, Union

    from .namespace import Namespace
    from .netlink import Message

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTFILTER, RTM_GETTFILTER = 44, 46
TC_H_ROOT, TC_H_INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_ROOT_HANDLE, _INGRESS_HANDLE = 0x00010000, 0xFFFF0000
_TCMSG = struct.Struct("=BxxxiIII")
#: struct tc_ratespec: cell_log, linklayer, overhead, cell_align, mpu, rate; struct tc_tbf_qopt: two of
#: these (rate and peak rate), limit, buffer, mtu.
_RATE = struct.Struct("=BBHhHI")
_TBF = struct.Struct("=12s12sIII")
#: struct tc_mirred: index, capab, action, refcnt, bindcnt, eaction, ifindex.
_MIRRED = struct.Struct("=IIiiiiI")
_TC_LINKLAYER_ETHERNET = 1
_U32_MAX = 0xFFFFFFFF
#: struct tc_u32_sel with one key that matches everything; its flag is TC_U32_TERMINAL.
_EVERYTHING = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + bytes(16)
_ALL_PROTOCOLS = 0x0300  # ETH_P_ALL, in network order
_TC_ACT_STOLEN, _EGRESS_REDIRECT = 4, 1
#: ENOENT, EOPNOTSUPP: a kind of qdisc, classifier or action that the kernel does not know.
_UNKNOWN = (2, 95)
#: Deleting a qdisc that is not there, or from a device that is not: ENOENT, EINVAL, ENODEV.
_ABSENT = (2, 19, 22)


class TokenBucket(NamedTuple):
    """A tbf qdisc: ``rate`` in bytes a second, ``burst`` and ``limit`` (what may wait) in bytes."""

    rate: int
    burst: int
    limit: int

    def __str__(self) -> str:
        return f"token bucket of {self.rate} bytes/s, burst {self.burst}, limit {self.limit}"


class Ingress(NamedTuple):
    """What an ingress qdisc with a filter does: everything that comes in leaves by the device of this ifindex."""

    target: int

    def __str__(self) -> str:
        return f"redirection to device {self.target}"


def bucket_message(index: int, bucket: TokenBucket) -> Message:
    """RTM_NEWQDISC of a token bucket as a device's root."""
    rate = _RATE.pack(0, _TC_LINKLAYER_ETHERNET, 0, 0, 0, min(bucket.rate, _U32_MAX))
    options = attribute(1, _TBF.pack(rate, bytes(12), bucket.limit, 0, 0))
    if bucket.rate > _U32_MAX:
        options += attribute(4, struct.pack("=Q", bucket.rate))  # TCA_TBF_RATE64
    options += attribute(6, struct.pack("=I", bucket.burst))  # TCA_TBF_BURST
    body = _TCMSG.pack(0, index, _ROOT_HANDLE, TC_H_ROOT, 0) + attribute(1, b"tbf\0") + attribute(2, options)
    return RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body


def ingress_message(index: int) -> Message:
    """RTM_NEWQDISC of an ingress qdisc."""
    body = _TCMSG.pack(0, index, _INGRESS_HANDLE, TC_H_INGRESS, 0) + attribute(1, b"ingress\0") + attribute(2, b"")
    return RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, body


def redirect_message(index: int, target: int) -> Message:
    """RTM_NEWTFILTER: whatever comes in is redirected. By u32, which is older than matchall and found everywhere."""
    mirred = _MIRRED.pack(0, 0, _TC_ACT_STOLEN, 0, 0, _EGRESS_REDIRECT, target)
    action = attribute(1, attribute(1, b"mirred\0") + attribute(2, attribute(2, mirred)))
    options = attribute(1, struct.pack("=I", 1)) + attribute(5, _EVERYTHING) + attribute(7, action)
    head = _TCMSG.pack(0, index, 0, _INGRESS_HANDLE, 1 << 16 | _ALL_PROTOCOLS)
    return RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, head + attribute(1, b"u32\0") + attribute(2, options)


def limit(node: Namespace, device: str, index: int, bucket: TokenBucket) -> None:
    """Put a token bucket on a device. UnsupportedError without CONFIG_NET_SCH_TBF."""
    _send(node, bucket_message(index, bucket), f"limit {device}", "the qdisc tbf (CONFIG_NET_SCH_TBF)")


def redirect(node: Namespace, device: str, index: int, target: int) -> None:
    """Have what comes in by a device leave by another. UnsupportedError names what the kernel lacks."""
    doing = f"redirect what comes in by {device}"
    _send(node, ingress_message(index), doing, "the qdisc ingress (CONFIG_NET_SCH_INGRESS)")
    feature = (
        "the classifier u32 with the action mirred (CONFIG_NET_CLS_U32, CONFIG_NET_CLS_ACT, CONFIG_NET_ACT_MIRRED)"
    )
    _send(node, redirect_message(index, target), doing, feature)


def release(node: Namespace, index: int, target: int) -> None:
    """Take away a device's token bucket, and its redirection to ``target`` (or to a device that is gone) with the
    ingress qdisc. Nothing else, and neither has to be there."""
    for each in shown(node, index):
        handle, parent = _ROOT_HANDLE, TC_H_ROOT
        if isinstance(each, Ingress):
            if each.target not in (0, target):
                continue
            handle, parent = _INGRESS_HANDLE, TC_H_INGRESS
        for refusal in node.socket.batch([(RTM_DELQDISC, 0, _TCMSG.pack(0, index, handle, parent, 0))]):
            if refusal.errno not in _ABSENT:
                cause = f"failed to remove the {each}: {os.strerror(refusal.errno)}{refusal.text}"
                raise KernelError(cause, refusal.errno)


def shown(node: Namespace, index: int) -> FrozenSet[Union[TokenBucket, Ingress]]:
    """What a device has of ours. An ingress qdisc that redirects to nothing has target 0, one that does anything
    else -1."""
    found: Set[Union[TokenBucket, Ingress]] = set()
    for _, payload in node.socket.dump(RTM_GETQDISC, _TCMSG.pack(0, index, 0, 0, 0)):
        _, device, handle, parent, _ = _TCMSG.unpack_from(payload)
        if device != index:
            continue
        values = dict(attributes(payload, _TCMSG.size, len(payload)))
        kind = values.get(1, b"").rstrip(b"\0")
        if kind == b"tbf" and parent == TC_H_ROOT and handle == _ROOT_HANDLE:
            found.add(_read_bucket(values.get(2, b"")))
        elif kind == b"ingress":
            found.add(Ingress(_target(node, index)))
    return frozenset(found)


def _read_bucket(options: bytes) -> TokenBucket:
    values = dict(attributes(options, 0, len(options)))
    packed, _, waiting, ticks, _ = _TBF.unpack_from(values[1])
    rate = _RATE.unpack(packed)[5]
    if 4 in values:
        rate = struct.unpack("=Q", values[4])[0]
    # A tick is 64 ns (PSCHED_SHIFT); the kernel tells the burst as the time that it takes.
    return TokenBucket(rate, ticks * 64 * rate // 1_000_000_000, waiting)


def _target(node: Namespace, index: int) -> int:
    found = 0
    for _, payload in node.socket.dump(RTM_GETTFILTER, _TCMSG.pack(0, index, 0, _INGRESS_HANDLE, 0)):
        # TCA_OPTIONS, TCA_U32_ACT, the first action, TCA_ACT_OPTIONS, TCA_MIRRED_PARMS
        mirred = _inside(payload[_TCMSG.size :], 2, 7, 1, 2, 2)
        if len(mirred) == _MIRRED.size:
            return int(_MIRRED.unpack(mirred)[6])
        found = -1
    return found


def _inside(data: bytes, *path: int) -> bytes:
    """An attribute within attributes; nothing if it is not there."""
    for kind in path:
        data = dict(attributes(data, 0, len(data))).get(kind, b"")
    return data


def _send(node: Namespace, message: Message, doing: str, feature: str) -> None:
    for refusal in node.socket.batch([message]):
        cause = f"failed to {doing}: {os.strerror(refusal.errno)}{refusal.text}"
        if refusal.errno in _UNKNOWN:
            raise UnsupportedError(cause, refusal.errno, f"this kernel lacks {feature}")
        raise KernelError(cause, refusal.errno)
