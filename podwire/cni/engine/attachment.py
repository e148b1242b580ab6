"""What makes a projection executable: ADD, CHECK, DEL, GC and STATUS of one plugin for one attachment.

ADD reserves, then builds, and leaves nothing when it fails: converge goes back, and IPAM gets its DEL. DEL removes
devices and rules, then releases; everything is found by names and comments that follow from the attachment, so
that no namespace, cached result or address is needed.
"""

from __future__ import annotations

import fcntl  # noqa: TID251  one line of it; kernel.lock makes files
import os
from ipaddress import ip_address, ip_interface

from ...converge import Target, converge
from ...errors import (
    CNI_CONFLICT,
    CNI_INVALID_NETNS,
    CNI_INVALID_NETWORK_CONFIG,
    CNI_KERNEL_FAILURE,
    CNI_UNSUPPORTED_FIELD,
    CniError,
    ConflictError,
    KernelError,
    PodwireError,
    UnsupportedError,
)
from ...kernel import Namespace, Reader, execute, link_of
from ...kernel.announce import announce, stale_neighbours, wait_for_dad
from ...kernel.netlink.link_removal import remove_links
from ...kernel.show import addresses_of
from ...model.objects import Route
from ...model.state import EMPTY, Scope, State
from ...plan import REMOVE, Operation
from ...startup_typing import TYPE_CHECKING
from ..skel import CmdArgs
from ..spec.result import Result, ResultIp
from . import delegate
from .background import beside
from .plugin import NODE, Plugin, Projection

if TYPE_CHECKING:
    from typing import Any, FrozenSet, List, Optional

#: No rtm_protocol: whose routes they are is told by their device.
_NONE = -1


class Attaching:
    """One projecting plugin as an executable. A plugin that makes an interface (``interface``) may have IPAM."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin
        self._makes_interface = getattr(plugin, "interface", True)

    # --- ADD ------------------------------------------------------------------------------------------

    def add(self, call: CmdArgs) -> Result:
        """The result, with everything in the kernel."""
        if not self._makes_interface:
            call.require_previous()
        with Namespace.current(NODE) as node, _open(call) as pod:
            if self._makes_interface:
                self._require_vacant(call, node, pod)
            given = self._reserve(call)
            try:
                return self._build(call, given, node, pod)
            except BaseException:
                self._release(call, given)
                raise

    def _require_vacant(self, call: CmdArgs, node: Namespace, pod: Namespace) -> None:
        name = call.attachment.ifname
        try:
            taken = link_of(pod, name)
        except KernelError as error:
            raise _no_namespace(call, error) from error
        if taken is not None:
            raise CniError(CNI_CONFLICT, f"{name} already exists in {call.attachment.netns}", "detach it first (DEL)")
        for device in self._plugin.devices(call.conf, call.attachment):
            if link_of(node, device) is not None:
                raise CniError(
                    CNI_CONFLICT,
                    f"{device} of container {call.attachment.container_id} interface {name} already exists on the node",
                    "detach it first (DEL)",
                )

    def _reserve(self, call: CmdArgs) -> Optional[Result]:
        kind = ipam_type(call)
        if not self._makes_interface or not kind:
            return None
        sample = Result((), (ResultIp(ip_interface("192.0.2.2/24"), ip_address("192.0.2.1")),))
        self.project(call, sample)  # pure: what makes no sense is refused before anything is done
        given = delegate.add(call, kind)
        if not given.ips:
            self._release(call, given)
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"IPAM plugin {kind} returned missing IP config")
        return given

    def _release(self, call: CmdArgs, given: Optional[Result]) -> None:
        """On the way back from an error, which is what matters."""
        if given is not None:
            try:
                delegate.delete(call, ipam_type(call))
            except PodwireError as error:
                import sys

                print(f"{call.conf.type}: {error}", file=sys.stderr)

    def _build(self, call: CmdArgs, given: Optional[Result], node: Namespace, pod: Namespace) -> Result:
        projection = self.project(call, given)
        with alone_in(node):
            if self._makes_interface:  # another ADD of the same may have come first since
                self._require_vacant(call, node, pod)
            projection = self._adopt(call, projection, node)
            try:
                converge(_targets(projection, node, pod))
            except UnsupportedError as error:
                raise self._unsupported(call, error) from error
            except (ConflictError, KernelError) as error:
                without = _without_rivals(projection, pod)
                if without == projection:
                    raise error
                converge(_targets(without, node, pod))
        try:
            self._settle(call, projection, node, pod)
        except BaseException:
            self._remove(call, node)
            raise
        return projection.result

    def _unsupported(self, call: CmdArgs, error: UnsupportedError) -> PodwireError:
        """What the kernel lacks, in the words of whoever asked for it."""
        optional_features: Any = getattr(self._plugin, "optional_features", None)
        words = optional_features(call.conf) if optional_features else ""
        if not words:
            return error
        conf = call.conf
        message = f"network {conf.name}, plugin {conf.type}: {words} is not supported: {error.message}"
        return CniError(CNI_UNSUPPORTED_FIELD, message, error.hint)

    def project(self, call: CmdArgs, given: Optional[Result]) -> Projection:
        """The plugin's projection, with what only executables are told (CNI_ARGS)."""
        conf = call.conf
        mac = call.argument("MAC") if self._makes_interface else ""
        if mac:
            args = dict(conf.data.get("args") or {})
            args["cni"] = {"mac": mac, **(args.get("cni") or {})}
            conf = conf.with_data({**conf.data, "args": args})
        return self._plugin.project(conf, call.attachment, given, call.previous)

    def _adopt(self, call: CmdArgs, projection: Projection, node: Namespace, *, checking: bool = False) -> Projection:
        """A shared device that exists already keeps its MAC address and MTU, and what others put on it."""
        for link in projection.shared.links:
            found = link_of(node, link.name)
            if found is None:
                continue
            if found.kind != link.kind:
                raise CniError(
                    CNI_CONFLICT, f"{link.name} already exists but is not a {link.kind}", "choose another name"
                )
            kept = link._replace(mac=None, mtu=None)
            result = projection.result
            interfaces = tuple(
                interface._replace(mac=found.mac, mtu=found.mtu or 0)
                if (interface.name, interface.sandbox) == (link.name, "")
                else interface
                for interface in result.interfaces
            )
            shared = projection.shared._replace(links=projection.shared.links - {link} | {kept})
            pins = frozenset(
                neighbour._replace(mac=found.mac) if found.mac and neighbour.mac == link.mac else neighbour
                for neighbour in projection.pod.neighbours
            )
            projection = projection._replace(
                result=result._replace(interfaces=interfaces),
                shared=shared,
                pod=projection.pod._replace(neighbours=pins),
            )
            shown = State(links=frozenset({found}), addresses=addresses_of(node, link.name))
            projection = self._plugin.adopt(call.conf, projection, shown)  # type: ignore[attr-defined]
            if not checking:  # a first address takes along those that came behind it, so it goes before
                doomed = sorted(shown.addresses - projection.shared.addresses, key=str)
                execute([(node, Operation(REMOVE, each)) for each in doomed], {})
        return projection

    def _settle(self, call: CmdArgs, projection: Projection, node: Namespace, pod: Namespace) -> None:
        self._forget_flows(call, node)
        addresses = projection.pod.addresses
        if not addresses:
            return
        if any(address.interface.version == 6 and not address.nodad for address in addresses):
            wait_for_dad(pod, addresses)
        places = {address.interface.ip: link.mac for link in projection.pod.links for address in addresses if link.mac}
        moved = stale_neighbours(node, places, [link.name for link in projection.shared.links])
        if moved:
            announce(pod, projection.pod.links)

    def _forget_flows(self, call: CmdArgs, node: Namespace) -> None:
        ports: Any = getattr(self._plugin, "udp_ports", None)
        if ports is not None and ports(call.conf):
            from ...kernel.conntrack import forget_udp

            forget_udp(node, ports(call.conf))

    # --- CHECK ----------------------------------------------------------------------------------------

    def check(self, call: CmdArgs) -> None:
        """What ADD made is still there. More than that is no error: later plugins add to it."""
        previous = call.require_previous()
        kind = ipam_type(call) if self._makes_interface else ""
        if kind:
            delegate.check(call, kind)
        with Namespace.current(NODE) as node, _open(call) as pod:
            projection = _as_left(self.project(call, _own_part(call, previous)), previous, call)
            projection = self._adopt(call, projection, node, checking=True)
            try:
                lacking = self._lacking(projection, node, pod)
            except ConflictError:
                lacking = self._lacking(_without_rivals(projection, pod), node, pod)
            except KernelError as error:
                raise _no_namespace(call, error) from error
        if lacking:
            raise CniError(
                CNI_KERNEL_FAILURE,
                f"container {call.attachment.container_id} interface {call.attachment.ifname} is not as ADD left it",
                "lacking: " + "; ".join(lacking[:5]),
            )

    def _lacking(self, projection: Projection, node: Namespace, pod: Namespace) -> List[str]:
        found = converge(_targets(projection, node, pod), check=True).operations
        return [
            f"{operation} ({where})"
            for where, operation in found
            if operation.action != REMOVE and not (where != NODE and type(operation.object).__name__ == "Sysctl")
        ]

    # --- DEL, GC, STATUS ------------------------------------------------------------------------------

    def delete(self, call: CmdArgs) -> None:
        """Devices and rules, then addresses. Nothing of it has to be there, nor the namespace."""
        kind = ipam_type(call) if self._makes_interface else ""
        with Namespace.current(NODE) as node, beside(lambda: self._unbind(call, node, kind)) as rest:
            whole = self._remove_devices(call, node)
        if self._makes_interface and not whole:
            self._remove_inside(call)
        if kind:
            rest.result()

    def _unbind(self, call: CmdArgs, node: Namespace, kind: str) -> Any:
        """What can be done while the kernel waits for the devices' last users. Addresses are released after that:
        the call that does so comes back."""
        self._remove_rules(call, node)
        return delegate.deletion(call, kind) if kind else None

    def _remove(self, call: CmdArgs, node: Namespace) -> None:
        self._remove_rules(call, node)
        self._remove_devices(call, node)

    def _remove_rules(self, call: CmdArgs, node: Namespace) -> None:
        scope = self._rule_scope(call)
        if scope.chains:
            converge([Target(node, EMPTY, scope)])
        self._forget_flows(call, node)

    def _remove_devices(self, call: CmdArgs, node: Namespace) -> bool:
        """Whether there was a device on the node: the container's end is gone with it."""
        devices = sorted(self._plugin.devices(call.conf, call.attachment))
        return bool(devices) and remove_links(node, devices)

    def _remove_inside(self, call: CmdArgs) -> None:
        """The container's end of an attachment that another bridge plugin made: its host end has another name."""
        if not call.attachment.netns:
            return
        try:
            with Namespace.open(call.attachment.netns, call.attachment.name) as pod:
                found = link_of(pod, call.attachment.ifname)
                if found is not None and found.kind == "veth":
                    remove_links(pod, [found.name])
        except KernelError:
            return  # no namespace, or none any more

    def _rule_scope(self, call: CmdArgs) -> Scope:
        if not self._plugin.chains(call.conf):
            return Scope()
        from ..plugins import owned

        known = frozenset(ip.address.ip for ip in _own_part(call, call.previous).ips) if call.previous else None
        return owned.scope(call.conf, call.attachment, self._plugin, known or None)

    def collect(self, call: CmdArgs) -> None:
        """GC: devices and rules of attachments that are not listed, then IPAM's turn."""
        valid = call.valid_attachments()
        if valid is None:
            return
        errors: List[PodwireError] = []
        kind = ipam_type(call) if self._makes_interface else ""
        try:
            with Namespace.current(NODE) as node:
                self._collect_node(call, node, valid, kind)
        except PodwireError as error:
            errors.append(error)
        if kind:
            delegate.collect(call, kind)
        if errors:
            raise errors[0]

    def _collect_node(self, call: CmdArgs, node: Namespace, valid: FrozenSet[Any], kind: str) -> None:
        if kind == "host-local" and delegate.is_own(call, kind):
            from ..plugins.host_local import stale

            names = {
                name
                for claim in stale(call)
                for name in self._plugin.devices(
                    call.conf, call.attachment._replace(container_id=claim.container_id, ifname=claim.ifname)
                )
            }
            converge([Target(node, EMPTY, Scope(links=frozenset(names), routes=False))])
        if self._plugin.chains(call.conf):
            from ..plugins import owned

            scope = owned.stale(call.conf, node, valid, self._plugin)
            if scope.owners or scope.iptables:
                converge([Target(node, EMPTY, scope)])

    def status(self, call: CmdArgs) -> None:
        """As ready as IPAM is."""
        kind = ipam_type(call) if self._makes_interface else ""
        if kind:
            delegate.status(call, kind)


# --- parts ------------------------------------------------------------------------------------------------


def ipam_type(call: CmdArgs) -> str:
    """The configuration's ``ipam.type``, "" without ipam; CniError 7 if it is none."""
    data = call.conf.data.get("ipam")
    if not data:
        return ""
    kind = data.get("type") if isinstance(data, dict) else None
    if not kind and isinstance(data, dict):
        return ""
    if not isinstance(kind, str):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {call.conf.name}: invalid ipam: {data!r}")
    return kind


def _open(call: CmdArgs) -> Namespace:
    try:
        return Namespace.open(call.attachment.netns, call.attachment.name)
    except (KernelError, ValueError) as error:
        raise _no_namespace(call, error) from error


def _no_namespace(call: CmdArgs, error: Exception) -> CniError:
    return CniError(CNI_INVALID_NETNS, f"failed to open netns {call.attachment.netns!r}: {error}")


class alone_in:
    """One ADD at a time in a network namespace: the namespace itself is the lock, so there is no file to leave."""

    def __init__(self, namespace: Namespace) -> None:
        self._lock = os.open(f"/proc/self/fd/{namespace.fd}", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> None:
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


def _targets(projection: Projection, node: Namespace, pod: Namespace) -> List[Target]:
    outside = projection.node | projection.shared
    own = frozenset(link.name for link in outside.links)
    scope = _scope(outside, own)._replace(routes=not projection.shared.links)
    inside = projection.pod
    found = [Target(node, _possible(outside), scope)]
    if inside != EMPTY:
        found.append(Target(pod, _possible(inside), _scope(inside, frozenset(link.name for link in inside.links))))
    return found


def _scope(state: State, links: FrozenSet[str]) -> Scope:
    return Scope(
        links=links,
        prefixes=frozenset(route.destination for route in state.routes),
        sysctls=frozenset(sysctl.key for sysctl in state.sysctls),
        files=frozenset(file.path for file in state.files),
        chains=tuple({rule.chain: None for rule in state.rules}),
        owners=frozenset(rule.owner for rule in state.rules),
        neighbours=bool(state.neighbours),
    )


def _possible(state: State) -> State:
    """A kernel without IPv6 has neither its sysctls nor what they guard against."""
    if os.access("/proc/sys/net/ipv6", os.F_OK):
        return state
    return state._replace(
        sysctls=frozenset(sysctl for sysctl in state.sysctls if not sysctl.key.startswith("net/ipv6/"))
    )


def _without_rivals(projection: Projection, pod: Namespace) -> Projection:
    """A destination to which another interface of the container has a route already stays with that."""
    inside = projection.pod
    scope = _scope(inside, frozenset(link.name for link in inside.links))._replace(protocol=_NONE)
    foreign = Reader(pod, scope).show(frozenset({"routes"})).foreign.routes
    taken = {_place(route) for route in foreign}
    routes = frozenset(route for route in inside.routes if _place(route) not in taken)
    if routes == inside.routes:
        return projection
    return projection._replace(pod=inside._replace(routes=routes))


def _place(route: Route) -> Any:
    return route.destination, route.table, route.metric


def _own_part(call: CmdArgs, previous: Result) -> Result:
    """What of a chain's result is this interface's: later plugins may have added others'."""
    own = [
        index for index, each in enumerate(previous.interfaces) if each.name == call.attachment.ifname and each.sandbox
    ]
    ips = tuple(ip for ip in previous.ips if ip.interface is None or ip.interface in own)
    return previous._replace(ips=ips)


def _as_left(projection: Projection, previous: Result, call: CmdArgs) -> Projection:
    """The projection with MAC addresses as the result tells them. MTU and the like may have been changed since."""
    macs = {interface.name: interface.mac for interface in previous.interfaces if interface.sandbox and interface.mac}
    pod = frozenset(link._replace(mac=macs.get(link.name, link.mac), mtu=None) for link in projection.pod.links)
    node = frozenset(link._replace(mtu=None) for link in projection.node.links)
    return projection._replace(pod=projection.pod._replace(links=pod), node=projection.node._replace(links=node))
