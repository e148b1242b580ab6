"""bandwidth: how fast a container receives and sends.

::

    ingress  the node's end of the veth pair lets no more out than a token bucket allows
    egress   what comes in by the node's end goes out by an ifb device with a token bucket first

Rates are bits a second, bursts bits. Keys of the configuration come before ``runtimeConfig.bandwidth``.
"""

from __future__ import annotations

from ...errors import (
    CNI_INVALID_NETNS,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_KERNEL_FAILURE,
    CNI_UNSUPPORTED_FIELD,
    CniError,
    KernelError,
    PodwireError,
)
from ...kernel import Namespace, execute, link_of, shaping
from ...kernel.devices import index_of
from ...kernel.shaping import Bucket
from ...model.objects import Link
from ...plan import ADD, REMOVE, Operation
from ...startup_typing import TYPE_CHECKING, NamedTuple, sha256
from ..spec.cmdargs import CmdArgs, Commands, CommandsBase
from ..spec.result import Interface, Result
from .base import NODE

if TYPE_CHECKING:
    from typing import Any, Mapping, Optional

_KEYS = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")

#: As the reference has it: math.MaxUint32 bits.
_MOST_BURST = 0xFFFFFFFF


class Limits(NamedTuple):
    """None: as fast as it goes."""

    ingress: Optional[Bucket]
    egress: Optional[Bucket]


class Bandwidth(CommandsBase):
    """The commands."""

    def add(self, call: CmdArgs) -> Result:
        """Both limits, or none of them; the result with the ifb device."""
        previous, limits = call.require_previous(), limits_of(call)
        if limits == Limits(None, None):
            return previous
        with Namespace.current(NODE) as node:
            device = _device(call, node)
            try:
                if limits.ingress is not None:
                    shaping.set_bucket(node, device, limits.ingress)
                if limits.egress is None:
                    return previous
                return previous._replace(
                    interfaces=(*previous.interfaces, _limit_egress(call, node, device, limits.egress))
                )
            except BaseException:
                _remove(call, node, device)
                raise

    def check(self, call: CmdArgs) -> None:
        """Both limits are there, as configured."""
        call.require_previous()
        limits = limits_of(call)
        with Namespace.current(NODE) as node:
            if limits.ingress is not None:
                _check_bucket(node, _device(call, node), limits.ingress, "ingress")
            if limits.egress is not None:
                ifb = link_of(node, ifb_name(call))
                if ifb is None or not ifb.up:
                    raise _lacking("egress", f"there is no device {ifb_name(call)}, or it is down")
                index = index_of(node, ifb.name)
                if shaping.target_of(node, _device(call, node)) != index:
                    raise _lacking("egress", f"what the container sends is not redirected to {ifb.name}")
                _check_bucket(node, index, limits.egress, "egress")

    def delete(self, call: CmdArgs) -> None:
        """The ifb device goes; what is on the veth pair too, if that is still there."""
        with Namespace.current(NODE) as node:
            try:
                device = _device(call, node)
            except PodwireError:  # no container, no veth pair
                device = 0
            _remove(call, node, device)

    def collect(self, call: CmdArgs) -> None:
        """ifb devices of this network whose attachments are not listed."""
        valid = call.valid_attachments()
        if valid is None:
            return
        from ...kernel import devices

        kept = {_name(call.conf.name, *pair) for pair in valid}
        prefix = _prefix(call.conf.name)
        with Namespace.current(NODE) as node:
            names = devices.names(node).values()
            stale = [name for name in names if name.startswith(prefix) and name not in kept]
            execute([(node, Operation(REMOVE, Link(name, "ifb"))) for name in stale], {})

    def status(self, call: CmdArgs) -> None:
        """Ready if the configuration makes sense."""
        limits_of(call)


COMMANDS: Commands = Bandwidth()


def limits_of(call: CmdArgs) -> Limits:
    """Parse; CniError 7 for a rate without burst, or the other way round."""
    data = call.conf.data
    for key in ("unshapedSubnets", "shapedSubnets"):
        if data.get(key):
            raise CniError(CNI_UNSUPPORTED_FIELD, f"plugin bandwidth does not support {key}: {data[key]!r}")
    source: Mapping[str, Any] = data
    if not any(data.get(key) for key in _KEYS):
        runtime = (data.get("runtimeConfig") or {}).get("bandwidth") or {}
        source = runtime if isinstance(runtime, dict) else {}
    values = [source.get(key) or 0 for key in _KEYS]
    for key, value in zip(_KEYS, values):
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _invalid(call, f"{key} is {value!r}", "it must be a whole number, in bits")
    return Limits(
        _bucket(call, "ingress", values[0], values[1]),
        _bucket(call, "egress", values[2], values[3]),
    )


def _bucket(call: CmdArgs, word: str, rate: int, burst: int) -> Optional[Bucket]:
    if not rate and not burst:
        return None
    if not rate or not burst:
        raise _invalid(call, f"{word}Rate is {rate} and {word}Burst is {burst}", "give both or neither")
    if burst > _MOST_BURST or rate > 1 << 40:
        raise _invalid(call, f"{word}Rate is {rate} and {word}Burst is {burst}", f"a burst is at most {_MOST_BURST}")
    return Bucket(max(rate // 8, 1), max(burst // 8, 1))


def _invalid(call: CmdArgs, problem: str, hint: str) -> CniError:
    return CniError(CNI_INVALID_NETWORK_CONFIG, f"network {call.conf.name}, plugin bandwidth: {problem}", hint)


def _prefix(network: str) -> str:
    return "bwp" + sha256(network.encode()).hexdigest()[:4]


def _name(network: str, container_id: str, ifname: str) -> str:
    return _prefix(network) + sha256(f"{container_id}/{ifname}".encode()).hexdigest()[:8]


def ifb_name(call: CmdArgs) -> str:
    """The attachment's ifb device: ``bwp``, 4 hex digits of the network, 8 of the attachment."""
    return _name(call.conf.name, call.attachment.container_id, call.attachment.ifname)


def _device(call: CmdArgs, node: Namespace) -> int:
    """The ifindex of the node's end of the container's veth pair."""
    try:
        with Namespace.open(call.attachment.netns, call.attachment.name) as pod:
            peer = shaping.peer_index(pod, call.attachment.ifname)
    except (KernelError, ValueError) as error:
        raise CniError(CNI_INVALID_NETNS, f"failed to find {call.attachment.ifname}: {error}") from error
    if not peer:
        raise CniError(CNI_KERNEL_FAILURE, f"{call.attachment.ifname} is no veth device: it has no end on the node")
    return peer


def _limit_egress(call: CmdArgs, node: Namespace, device: int, bucket: Bucket) -> Interface:
    name = ifb_name(call)
    execute([(node, Operation(ADD, Link(name, "ifb")))], {})
    ifb = index_of(node, name)
    shaping.redirect_ingress(node, device, ifb)
    shaping.set_bucket(node, ifb, bucket)
    found = link_of(node, name)
    return Interface(name, found.mac if found else None, mtu=(found.mtu or 0) if found else 0)


def _remove(call: CmdArgs, node: Namespace, device: int) -> None:
    """What is ours on the node's end, if there is one, and the ifb device."""
    name = ifb_name(call)
    if device:
        target = shaping.target_of(node, device)
        ours = {0, index_of(node, name)} if link_of(node, name) is not None else {0}
        if target in ours:
            shaping.clear_ingress(node, device)
        shaping.clear_bucket(node, device)
    execute([(node, Operation(REMOVE, Link(name, "ifb")))], {})


def _check_bucket(node: Namespace, device: int, wanted: Bucket, word: str) -> None:
    found = shaping.bucket_of(node, device)
    if found != wanted:
        raise _lacking(word, f"its token bucket is {found}, not {wanted}")


def _lacking(word: str, why: str) -> CniError:
    return CniError(CNI_KERNEL_FAILURE, f"the {word} limit is not as configured", why)
