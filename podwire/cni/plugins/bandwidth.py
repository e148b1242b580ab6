"""bandwidth: token buckets on the node's end of a container's veth pair.

::

    to the container:    node ── tbf on veth1a2b3c4d ══ eth0
    from the container:  eth0 ══ veth1a2b3c4d ── ingress, redirected ── bwp0123456789ab with tbf ── node

Rates are bits a second and bursts bits; the configuration's own outrank those of ``runtimeConfig.bandwidth``. The node's
end is found by asking the container's for its peer, so that neither ADD nor DEL depends on what a result says. The
ifb device's alias says whose it is, for GC.
"""

from __future__ import annotations

import struct
import sys

from ...errors import (
    CNI_DECODING_FAILURE,
    CNI_INVALID_NETNS,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_KERNEL_FAILURE,
    CniError,
    KernelError,
    PodwireError,
)
from ...kernel import Namespace, execute, link_of, rtnl, tc
from ...kernel.netlink import attributes
from ...lean import TYPE_CHECKING, NamedTuple, sha256
from ...model import Link
from ...plan import ADD, REMOVE, Operation
from ..result import Interface, Result

if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..skel import CmdArgs

NODE = "the node"
#: What may wait, in the time that it takes to leave.
_LATENCY_MS = 25
_LARGEST = 0xFFFFFFFF


class Limits(NamedTuple):
    """Token buckets for what goes to the container, and for what comes from it."""

    ingress: Optional[tc.TokenBucket]
    egress: Optional[tc.TokenBucket]


class End(NamedTuple):
    """A device as the kernel knows it."""

    index: int
    peer: int
    link: Link


def add(call: CmdArgs) -> Result:
    """Limit; prevResult with the ifb device, if there is one."""
    previous = call.require_previous()
    limits = _limits(call)
    if limits == (None, None):
        return previous
    with Namespace.current(NODE) as node:
        end = _node_end(call, node)
        try:
            if limits.ingress is not None:
                tc.limit(node, end.link.name, end.index, limits.ingress)
            if limits.egress is None:
                return previous
            ifb = _make_ifb(call, node, end, limits.egress)
        except BaseException:
            _undo(call, node, end)
            raise
    own = Interface(ifb.name, ifb.mac, "", ifb.mtu or 0)
    return previous._replace(interfaces=(*previous.interfaces, own))


def check(call: CmdArgs) -> None:
    """Both buckets are as ADD made them, and what the container sends goes through its own."""
    call.require_previous()
    limits = _limits(call)
    if limits == (None, None):
        return
    with Namespace.current(NODE) as node:
        end = _node_end(call, node)
        found = tc.shown(node, end.index)
        lacking = []
        if limits.ingress is not None and not any(_alike(each, limits.ingress) for each in found):
            lacking.append(f"{limits.ingress} on {end.link.name}")
        if limits.egress is not None:
            name = ifb_name(call.conf.name, call.attachment.container_id, call.attachment.ifname)
            ifb = _end(node, name)
            if ifb is None or not ifb.link.up:
                lacking.append(f"device {name}, up")
            elif not any(_alike(each, limits.egress) for each in tc.shown(node, ifb.index)):
                lacking.append(f"{limits.egress} on {name}")
            elif tc.Ingress(ifb.index) not in found:
                lacking.append(f"redirection from {end.link.name} to {name}")
    if lacking:
        raise CniError(
            CNI_KERNEL_FAILURE,
            f"container {call.attachment.container_id} interface {call.attachment.ifname} is not limited as configured",
            "lacking: " + "; ".join(lacking),
        )


def delete(call: CmdArgs) -> None:
    """Remove buckets and the ifb device. Where the container's namespace is gone, so is the veth pair."""
    with Namespace.current(NODE) as node:
        end = None
        if call.attachment.netns:
            try:
                end = _node_end(call, node)
            except CniError:
                end = None
        if end is not None:
            tc.release(node, end.index)
        name = ifb_name(call.conf.name, call.attachment.container_id, call.attachment.ifname)
        execute([(node, Operation(REMOVE, Link(name, "ifb")))], {})


def collect(call: CmdArgs) -> None:
    """Remove the ifb devices of this network's attachments that are not listed."""
    valid = call.valid_attachments()
    if valid is None:
        return
    kept = {ifb_name(call.conf.name, *each) for each in valid}
    mark = _mark(call.conf.name)
    with Namespace.current(NODE) as node:
        stale = []
        for _, payload in node.socket.dump(rtnl.RTM_GETLINK, bytes(16)):
            name = rtnl.read_link_name(payload)[1]
            if name.startswith("bwp") and name not in kept and (rtnl.read_alias(payload) or "").startswith(mark):
                stale.append(Operation(REMOVE, Link(name, "ifb")))
        if stale:
            execute([(node, each) for each in stale], {})


def status(call: CmdArgs) -> None:
    """Always ready, if the configuration makes sense."""
    _limits(call)


def ifb_name(network: str, container_id: str, ifname: str) -> str:
    """``bwp`` and 12 hex digits."""
    return "bwp" + sha256(f"{network}/{container_id}/{ifname}".encode()).hexdigest()[:12]


def _mark(network: str) -> str:
    return f"podwire bandwidth {sha256(network.encode()).hexdigest()[:16]} "


# --- the configuration -------------------------------------------------------------------------------------

_KEYS = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")


def _limits(call: CmdArgs) -> Limits:
    """CniError 7 for a rate without burst, or the other way round, and for what no bucket can hold."""
    conf = call.conf
    conf.refuse("shapedSubnets", "unshapedSubnets")
    runtime = (conf.data.get("runtimeConfig") or {}).get("bandwidth") or {}
    given = conf.data if any(conf.data.get(key) for key in _KEYS) else runtime
    if not isinstance(given, dict):
        raise CniError(CNI_DECODING_FAILURE, f"network {conf.name}, plugin bandwidth: bandwidth is {given!r}")
    return Limits(_bucket(conf.name, "ingress", given), _bucket(conf.name, "egress", given))


def _bucket(network: str, way: str, given: Dict[str, Any]) -> Optional[tc.TokenBucket]:
    numbers: List[int] = []
    for key in (f"{way}Rate", f"{way}Burst"):
        value = given.get(key) or 0
        if not isinstance(value, int) or isinstance(value, bool):
            raise CniError(
                CNI_DECODING_FAILURE, f"network {network}, plugin bandwidth: {key} is {value!r}", "it must be a number"
            )
        numbers.append(value)
    rate, burst = numbers
    if rate == burst == 0:
        return None
    rate, burst = rate // 8, burst // 8
    waiting = rate * _LATENCY_MS // 1000 + burst
    if rate <= 0 or burst <= 0 or waiting > _LARGEST:
        raise CniError(
            CNI_INVALID_NETWORK_CONFIG,
            f"network {network}, plugin bandwidth: {way}Rate {numbers[0]} and {way}Burst {numbers[1]} make no limit",
            "give both, in bits a second and in bits; a burst is less than 4 GiB",
        )
    return tc.TokenBucket(rate, burst, waiting)


# --- the kernel -----------------------------------------------------------------------------------------------


def _node_end(call: CmdArgs, node: Namespace) -> End:
    """The node's device whose peer is the container's interface."""
    netns, ifname = call.attachment.netns, call.attachment.ifname
    try:
        with Namespace.open(netns, call.attachment.name) as pod:
            inside = _end(pod, ifname)
    except (KernelError, ValueError) as error:
        raise CniError(CNI_INVALID_NETNS, f"failed to open netns {netns!r}: {error}") from error
    if inside is None:
        raise CniError(CNI_KERNEL_FAILURE, f"there is no {ifname} in {netns}")
    outside = _end(node, "", inside.peer) if inside.peer else None
    if inside.link.kind != "veth" or outside is None or outside.peer != inside.index:
        raise CniError(
            CNI_KERNEL_FAILURE, f"{ifname} in {netns} has no other end on the node", "bandwidth limits veth pairs only"
        )
    return outside


def _end(namespace: Namespace, name: str, index: int = 0) -> Optional[End]:
    """By name or by ifindex. ``peer`` is IFLA_LINK, an ifindex of the peer's namespace."""
    request = struct.pack("=BxHiII", 0, 0, index, 0, 0) if index else rtnl.link_request(name)
    payload = namespace.socket.get(rtnl.RTM_GETLINK, request)
    if payload is None:
        return None
    peer = dict(attributes(payload, 16, len(payload))).get(5, bytes(4))
    return End(rtnl.read_link_name(payload)[0], int.from_bytes(peer, sys.byteorder), rtnl.read_link(payload, {}))


def _make_ifb(call: CmdArgs, node: Namespace, end: End, bucket: tc.TokenBucket) -> Link:
    container_id, ifname = call.attachment.container_id, call.attachment.ifname
    name = ifb_name(call.conf.name, container_id, ifname)
    alias = f"{_mark(call.conf.name)}{container_id} {ifname}"[:255]
    execute([(node, Operation(ADD, Link(name, "ifb", end.link.mtu, alias=alias)))], {})
    made = _end(node, name)
    if made is None:
        raise KernelError(f"failed to make {name}: it is gone again")
    tc.limit(node, name, made.index, bucket)
    tc.redirect(node, end.link.name, end.index, made.index)
    return link_of(node, name) or made.link


def _alike(found: object, wanted: tc.TokenBucket) -> bool:
    """The kernel keeps a burst as the time that it takes: what it tells is less exact."""
    if not isinstance(found, tc.TokenBucket):
        return False
    exact = (found.rate, found.limit) == (wanted.rate, wanted.limit)
    return exact and abs(found.burst - wanted.burst) <= 1 + wanted.rate * 64 // 1_000_000_000


def _undo(call: CmdArgs, node: Namespace, end: End) -> None:
    """On the way back from an error, which is what matters."""
    name = ifb_name(call.conf.name, call.attachment.container_id, call.attachment.ifname)
    try:
        tc.release(node, end.index)
        execute([(node, Operation(REMOVE, Link(name, "ifb")))], {})
    except PodwireError as error:
        print(f"bandwidth: {error}", file=sys.stderr)
