"""Variables that describe one host."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple, TypeVar

from ...model.objects import IPAddress, IPInterface, IPNetwork
from ..leases import External
from .external import Facts, check_choice, choose
from .field import Field, Problems
from .names import NODE_VARIABLES, is_hostname, misspelt
from .settings import LONGEST, Settings
from .underlay import interface, on_segment

KINDS = ("netns", "docker", "ssh")
#: The device of a lab node's first port.
FIRST_DEVICE = "eth0"


@dataclass
class NodeIntent:
    """What one host declares.

    segments:   the lab's segments that it has ports on, the external interface's first; none for an SSH node.
    explicit:   addresses on the first segment, by IP version.
    addresses:  of an SSH node's external interface.
    """

    name: str
    kind: str = "netns"
    segments: Tuple[str, ...] = ()
    interface: str = FIRST_DEVICE
    mtu: int = 1500
    explicit: Dict[int, Tuple[Field, IPAddress]] = field(default_factory=dict)
    addresses: Tuple[IPInterface, ...] = ()
    public_ips: Dict[int, Tuple[Field, IPAddress]] = field(default_factory=dict)
    pod_cidrs: Dict[int, Tuple[Field, IPNetwork]] = field(default_factory=dict)
    pods: Optional[Field] = None


class Known(NamedTuple):
    """What is known of a node that exists: what it said now, what an earlier run found, ansible_host, and whether this
    run tried in vain to reach it."""

    facts: Optional[Mapping[str, Any]] = None
    earlier: Optional[External] = None
    host: object = None
    lost: bool = False


_UNKNOWN = Known()


def read_node(
    name: str, variables: Mapping[str, Any], settings: Settings, problems: Problems, known: Known = _UNKNOWN
) -> NodeIntent:
    """Read the variables of one host; what is wrong or missing becomes its default."""
    if not is_hostname(name):
        right = "write letters, digits and '-', at most 63 characters, e.g. node-1"
        problems.add(name, "inventory_hostname", name, "not a hostname (RFC 1123)", right)
    for variable in variables:
        reason = misspelt(variable)
        if reason is not None:
            problems.add(name, variable, variables[variable], "unknown variable", reason)
    fields = {
        variable: Field(problems, name, variable, variables[variable])
        for variable in NODE_VARIABLES
        if variables.get(variable) is not None
    }
    node = NodeIntent(name, segments=(settings.segments[0].name,), mtu=settings.segments[0].mtu)
    if not fields:
        return node
    if "node_kind" in fields:
        node.kind = fields["node_kind"].choice(KINDS, node.kind)
    node.pods = fields.get("node_pods")
    if "node_pod_cidrs" in fields:
        node.pod_cidrs = _pod_cidrs(fields["node_pod_cidrs"], settings)
    node.public_ips = _public_ips(fields)
    if node.kind == "ssh":
        _read_ssh(node, fields, settings, problems, known._replace(host=variables.get("ansible_host")))
    else:
        _read_lab(node, fields, settings)
    return node


def _read_lab(node: NodeIntent, fields: Mapping[str, Field], settings: Settings) -> None:
    if "node_segment" in fields:
        node.segments = _segments(fields["node_segment"], settings) or node.segments
    first = next(segment for segment in settings.segments if segment.name == node.segments[0])
    node.mtu = first.mtu
    explicit = []
    for item in _items(fields, "node_address", "node_addresses", "172.30.0.11"):
        address = on_segment(item, first)
        if address is not None:
            explicit.append((item, address))
    node.explicit = _one_a_family(explicit)
    for variable in ("node_interface_regex", "node_interface_cidr"):
        if variable in fields:
            fields[variable].fail(f"a {node.kind} node's external interface is {FIRST_DEVICE}", "leave it out")
    if "node_interface" in fields and fields["node_interface"].value != FIRST_DEVICE:
        right = f"leave it out, or write {FIRST_DEVICE}; the first of node_segment is the external interface"
        fields["node_interface"].fail(f"the ports of a {node.kind} node are eth0, eth1, ...", right)
    if "node_mtu" in fields:
        right = f"set underlay.segments.{first.name}.mtu"
        fields["node_mtu"].fail(f"a {node.kind} node has the MTU of its segment", right)


def _segments(variable: Field, settings: Settings) -> Tuple[str, ...]:
    known = [segment.name for segment in settings.segments]
    items = [variable] if isinstance(variable.value, str) else variable.items("[rack-a, rack-b]")
    names: List[str] = []
    for item in items:
        if item.value not in known:
            item.fail("no such segment", f"declared are {', '.join(known)}")
        elif item.value in names:
            item.fail("named twice", "name each segment of a node once")
        else:
            names.append(str(item.value))
    return tuple(names)


def _read_ssh(node: NodeIntent, fields: Dict[str, Field], settings: Settings, problems: Problems, known: Known) -> None:
    """An SSH node exists already: what a lab works out is declared for it, or was found on it."""
    node.segments = ()
    if "node_segment" in fields:
        fields["node_segment"].fail("an ssh node stands on no segment of a lab", "leave it out")
    check_choice(fields)
    declared = _one_a_family(_addresses(fields))
    node.addresses = tuple(address for _, address in declared.values())
    if "node_mtu" in fields:
        node.mtu = fields["node_mtu"].integer(1280 if 6 in settings.versions else 576, 65535, 1500) or node.mtu
    external = known.earlier
    if known.facts is not None:
        facts = Facts.from_json(known.facts, settings.cluster_cidrs)
        external = choose(node.name, fields, facts, node.addresses, problems)
    elif external is None:
        _without_facts(node, fields, known, problems)
    if "node_interface" in fields:
        node.interface = str(fields["node_interface"].value)
    elif external is not None:
        node.interface = external.interface
    if external is not None:
        node.addresses = _completed(declared, external, settings.versions)
        if not node.addresses:
            families = " or ".join(f"IPv{version}" for version in settings.versions)
            cause = f"the external interface {external.interface} has no {families} address"
            problems.add(node.name, "node_interface", None, cause, "write one that has")
        node.mtu = node.mtu if "node_mtu" in fields else external.mtu


def _without_facts(node: NodeIntent, fields: Mapping[str, Field], known: Known, problems: Problems) -> None:
    """Nobody has seen the node yet: the inventory has to say it all. One that this run lost is not kept from the others
    for that, as long as they have an address to send to."""
    if "node_interface" not in fields and not known.lost:
        right = "write the external interface's name, e.g. eth0"
        problems.add(node.name, "node_interface", None, "not set, and the node has not been reached yet", right)
    if "node_address" in fields or "node_addresses" in fields:
        return
    if _is_address(known.host):
        address = ip_address(str(known.host))
        node.addresses = (interface(address, address.max_prefixlen),)
    else:
        right = "write the address of its external interface with prefix length, e.g. 192.0.2.11/24"
        problems.add(node.name, "node_address", None, "not set, and ansible_host is not an IP address", right)


def _addresses(fields: Mapping[str, Field]) -> List[Tuple[Field, IPInterface]]:
    addresses = []
    for variable in _items(fields, "node_address", "node_addresses", "192.0.2.11/24"):
        parsed = variable.address("192.0.2.11/24")
        if parsed is not None:
            address, length = parsed
            addresses.append((variable, interface(address, address.max_prefixlen if length is None else length)))
    return addresses


def _completed(
    declared: Mapping[int, Tuple[Field, IPInterface]], external: External, versions: Iterable[int]
) -> Tuple[IPInterface, ...]:
    """Declared addresses, with the interface's prefix length where none is written; where none is declared at all,
    the interface's own of the pods' families."""
    by_version = {address.version: address for address in external.addresses}
    if not declared:
        return tuple(by_version[version] for version in versions if version in by_version)
    return tuple(
        by_version[version]
        if version in by_version and by_version[version].ip == address.ip and "/" not in str(field.value)
        else address
        for version, (field, address) in declared.items()
    )


def _is_address(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(ip_address(value))
    except ValueError:
        return False


def _public_ips(fields: Mapping[str, Field]) -> Dict[int, Tuple[Field, IPAddress]]:
    addresses = []
    for variable in _items(fields, "node_public_ip", "node_public_ips", "198.51.100.7"):
        parsed = variable.address("198.51.100.7")
        if parsed is not None and parsed[1] is not None:
            variable.fail("a public IP has no prefix length", f"write {parsed[0]}")
        elif parsed is not None:
            addresses.append((variable, parsed[0]))
    return _one_a_family(addresses)


def _pod_cidrs(variable: Field, settings: Settings) -> Dict[int, Tuple[Field, IPNetwork]]:
    pod_cidrs = []
    for item in variable.items("[10.244.7.0/24]"):
        cidr = item.cidr("10.244.7.0/24")
        if cidr is None:
            continue
        cluster = next(
            (cluster_cidr for cluster_cidr in settings.cluster_cidrs if cluster_cidr.version == cidr.version), None
        )
        if cluster is None or not _inside(cidr, cluster):
            ranges = ", ".join(map(str, settings.cluster_cidrs))
            item.fail(f"outside the cluster's {ranges}", "write a pod CIDR inside, or widen cluster_cidrs")
        elif cidr.prefixlen > LONGEST[cidr.version]:
            item.fail("too small for a pod", f"write a pod CIDR of /{LONGEST[cidr.version]} or shorter")
        else:
            pod_cidrs.append((item, cidr))
    return _one_a_family(pod_cidrs)


def _inside(cidr: IPNetwork, cluster: IPNetwork) -> bool:
    return cidr.prefixlen >= cluster.prefixlen and cidr.network_address in cluster


def _items(fields: Mapping[str, Field], single: str, several: str, example: str) -> List[Field]:
    """The values of a pair of variables, one for a single address and one for a list."""
    if single in fields and several in fields:
        fields[single].fail(f"{several} is set as well", f"write all addresses in {several}")
    items = [fields[single]] if single in fields else []
    return items + (fields[several].items(f"[{example}]") if several in fields else [])


_Versioned = TypeVar("_Versioned", IPAddress, IPInterface, IPNetwork)


def _one_a_family(values: Iterable[Tuple[Field, _Versioned]]) -> Dict[int, Tuple[Field, _Versioned]]:
    families: Dict[int, Tuple[Field, _Versioned]] = {}
    for variable, value in values:
        if value.version in families:
            variable.fail(f"a second one of IPv{value.version}", "write one a family")
        else:
            families[value.version] = (variable, value)
    return families
