"""The external interface of a node that exists already: declared, or found among what the node has.

flannel's options, as variables: an interface by name (``--iface``), by a pattern (``--iface-regex``) or by the
address that it has (``--iface-can-reach`` comes closest); without any, the one by which the node sends to its peers.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_interface
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ...model.device_name import is_device_name
from ...model.objects import IPAddress, IPInterface, IPNetwork
from ..leases import External
from .field import Field, Problems

#: Variables that choose it, of which one is enough.
CHOICES = ("node_interface", "node_interface_regex", "node_interface_cidr")


class Interface(NamedTuple):
    """An interface of the node, MTU in bytes."""

    name: str
    mtu: int
    addresses: Tuple[IPInterface, ...]


class Route(NamedTuple):
    """How the node sends to one of its peers."""

    peer: str
    device: str
    source: IPAddress


class Facts(NamedTuple):
    """What a node said of itself (podwire_node_info)."""

    interfaces: Tuple[Interface, ...]
    routes: Tuple[Route, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any], but: Sequence[IPNetwork]) -> Facts:
        """Read it, without interfaces that have addresses in ``but``: those are podwire's bridges."""
        interfaces = []
        for name, mtu, texts in data["interfaces"]:
            addresses = tuple(map(ip_interface, texts))
            if not any(address.ip in cidr for address in addresses for cidr in but if cidr.version == address.version):
                interfaces.append(Interface(name, int(mtu), addresses))
        routes = (Route(peer, device, ip_address(source)) for peer, device, source in data["routes"])
        return cls(tuple(interfaces), tuple(routes))


def choose(
    name: str, fields: Mapping[str, Field], facts: Facts, declared: Iterable[IPInterface], problems: Problems
) -> Optional[External]:
    """The interface that the variables mean; ``declared`` are the node's addresses as far as the inventory has them.

    Its addresses come with it, one a family: the one that was asked for or is sent from, or else its first.
    None after a problem was noted.
    """
    wanted = [address.ip for address in declared]
    if "node_interface" in fields:
        candidates = [interface for interface in facts.interfaces if interface.name == fields["node_interface"].value]
        fail = fields["node_interface"].fail
        cause = "the node has no such device with an address"
    elif "node_interface_regex" in fields:
        candidates = _matching(fields["node_interface_regex"], facts)
        fail = fields["node_interface_regex"].fail
        cause = "no device of the node has a name like that"
    elif "node_interface_cidr" in fields:
        inside = cidrs(fields["node_interface_cidr"])
        wanted += [a.ip for interface in facts.interfaces for a in interface.addresses if _in(a.ip, inside)]
        candidates = [
            interface for interface in facts.interfaces if any(_in(a.ip, inside) for a in interface.addresses)
        ]
        fail = fields["node_interface_cidr"].fail
        cause = "no device of the node has an address there"
    elif wanted:
        candidates = [interface for interface in facts.interfaces if any(a.ip in wanted for a in interface.addresses)]
        variable = fields.get("node_address") or fields["node_addresses"]
        fail = variable.fail
        cause = "no device of the node has it"
    else:
        return _by_route(name, facts, problems)
    if not candidates:
        fail(cause, f"it has {_devices(facts)}")
        return None
    return _external(candidates[0], wanted)


def cidrs(variable: Field) -> List[IPNetwork]:
    """The value of node_interface_cidr: one, or a list."""
    items = variable.items("[192.0.2.0/24]") if isinstance(variable.value, (list, tuple)) else [variable]
    return [cidr for cidr in (item.cidr("192.0.2.0/24") for item in items) if cidr is not None]


def check_choice(fields: Dict[str, Field]) -> None:
    """Note what is wrong with the variables themselves; wrong ones are taken out."""
    set_ones = [key for key in CHOICES if key in fields]
    for set_one in set_ones[1:]:
        fields.pop(set_one).fail(f"{set_ones[0]} is set as well", "write one of the two")
    name, pattern = fields.get("node_interface"), fields.get("node_interface_regex")
    if name is not None and (not isinstance(name.value, str) or not is_device_name(name.value)):
        fields.pop("node_interface").fail("not a device name", "write the external interface's name, e.g. eth0")
    if pattern is not None and not _compiles(pattern.value):
        fields.pop("node_interface_regex").fail("not a regular expression", 'write one of Python, e.g. "en[ops].*"')
    if "node_interface_cidr" in fields and not cidrs(fields["node_interface_cidr"]):
        fields.pop("node_interface_cidr")


def _compiles(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(re.compile(value))
    except re.error:
        return False


def _matching(variable: Field, facts: Facts) -> List[Interface]:
    return [interface for interface in facts.interfaces if re.fullmatch(variable.value, interface.name)]


def _in(ip: IPAddress, networks: Iterable[IPNetwork]) -> bool:
    return any(ip in network for network in networks if network.version == ip.version)


def _by_route(name: str, facts: Facts, problems: Problems) -> Optional[External]:
    by_name = {interface.name: interface for interface in facts.interfaces}
    by_device = {route.device: route for route in facts.routes if route.device in by_name}
    if not by_device and len(by_name) == 1:  # the only node of its cluster, perhaps
        return _external(facts.interfaces[0], ())
    if len(by_device) == 1:
        ((device, _),) = by_device.items()
        return _external(by_name[device], [route.source for route in facts.routes])
    if by_device:
        paths = " and ".join(f"to {route.peer} by {device}" for device, route in by_device.items())
        cause = f"not set, and the node sends {paths}"
        problems.add(name, "node_interface", None, cause, "write the one that all peers are reached by")
    else:
        right = f"write the external interface's name; it has {_devices(facts)}"
        problems.add(name, "node_interface", None, "not set, and the node has no route to its peers", right)
    return None


def _external(interface: Interface, wanted: Sequence[IPAddress]) -> External:
    ordered = sorted(interface.addresses, key=lambda address: address.ip not in wanted)
    first = {address.version: address for address in reversed(ordered)}
    return External(interface.name, interface.mtu, tuple(first[version] for version in sorted(first)))


def _devices(facts: Facts) -> str:
    return (
        ", ".join(f"{interface.name} ({', '.join(map(str, interface.addresses))})" for interface in facts.interfaces)
        or "none"
    )
