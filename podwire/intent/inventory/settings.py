"""Variables that describe the whole cluster."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from ipaddress import ip_network
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ...backend import BACKENDS, BackendSettings, backend_of
from ...model.device_name import is_device_name
from ...model.objects import IPNetwork
from ..cluster import CniSettings, Segment
from .cni import read_cni
from .field import ALL, Field, Problems
from .names import CLUSTER_VARIABLES
from .underlay import RouterIntent, read_underlay

#: The longest prefix from which host-local can give an address (it wants two host bits).
LONGEST = {4: 30, 6: 126}
_FAMILY = {4: "IPv4", 6: "IPv6"}
_CLUSTER = {4: "10.244.0.0/16", 6: "fd00:10:244::/56"}
_SERVICE = {4: "10.96.0.0/16", 6: "fd00:10:96::/112"}
_PREFIX_LENGTH = {4: 24, 6: 64}


@dataclass
class Settings:
    """What all hosts share. ``pods`` and ``checks`` are left for who knows the nodes."""

    cluster_cidrs: List[IPNetwork] = field(default_factory=lambda: [ip_network(_CLUSTER[4])])
    service_cidrs: List[IPNetwork] = field(default_factory=list)
    node_prefix_lengths: List[int] = field(default_factory=list)
    backend: BackendSettings = BackendSettings()
    masquerade: bool = True
    cni: CniSettings = CniSettings()
    pods: Optional[Field] = None
    checks: Optional[Field] = None
    segments: List[Segment] = field(default_factory=list)
    routers: List[RouterIntent] = field(default_factory=list)

    @property
    def versions(self) -> Tuple[int, ...]:
        """IP versions of the pods, in order."""
        return tuple(cidr.version for cidr in self.cluster_cidrs)


def shared(hosts: Mapping[str, Mapping[str, Any]], problems: Problems) -> Dict[str, Field]:
    """The cluster-wide variables that are set. A variable that is not the same on all hosts is a problem."""
    fields = {}
    first_host = next(iter(hosts))
    for name in CLUSTER_VARIABLES:
        value = hosts[first_host].get(name)
        for host, variables in hosts.items():
            other = variables.get(name)
            if other is not value and other != value:
                how = f"not set here, but on {first_host}" if other is None else f"differs from {first_host}"
                cause = f"{how}, and it describes the whole cluster"
                problems.add(host, name, other, cause, "set it once, for all hosts")
        if value is not None:
            fields[name] = Field(problems, ALL, name, value)
    return fields


def read_settings(fields: Mapping[str, Field], problems: Problems, source: str) -> Settings:
    """Read every cluster-wide variable; what is wrong or missing becomes its default. ``source`` is the
    inventory's path."""
    settings = Settings(pods=fields.get("pods"), checks=fields.get("checks"))
    if "cluster_cidrs" in fields:
        settings.cluster_cidrs = _cidrs(fields["cluster_cidrs"], _CLUSTER) or settings.cluster_cidrs
    settings.service_cidrs = [ip_network(_SERVICE[version]) for version in settings.versions]
    if "service_cidrs" in fields:
        settings.service_cidrs = _cidrs(fields["service_cidrs"], _SERVICE) or settings.service_cidrs
    settings.node_prefix_lengths = _prefix_lengths(fields.get("node_prefix_length"), settings, problems)
    if "backend" in fields:
        settings.backend = _backend(fields["backend"], settings.versions)
    if "masquerade" in fields:
        settings.masquerade = fields["masquerade"].boolean(True)
    if "cni" in fields:
        settings.cni = read_cni(fields["cni"], settings.backend, source)
    settings.segments, settings.routers = read_underlay(fields.get("underlay"), settings.versions, problems)
    return settings


def _cidrs(variable: Field, examples: Mapping[int, str]) -> List[IPNetwork]:
    """One CIDR, or two of different families."""
    networks: List[IPNetwork] = []
    items = variable.items(f"[{examples[4]}]")
    if not items and isinstance(variable.value, (list, tuple)):
        variable.fail("empty", f"write one CIDR, or two for dual stack: [{examples[4]}, {examples[6]}]")
    for item in items:
        cidr = item.cidr(examples[4])
        if cidr is None:
            continue
        if any(cidr.version == other.version for other in networks):
            item.fail(f"a second {_FAMILY[cidr.version]} CIDR", "write one CIDR a family")
        else:
            networks.append(cidr)
    return networks


def _prefix_lengths(variable: Optional[Field], settings: Settings, problems: Problems) -> List[int]:
    """The prefix length of a node's pod CIDR, for each cluster CIDR."""
    declared: Dict[str, Field] = {}
    if variable is not None and isinstance(variable.value, Mapping):
        declared = variable.mapping(("ipv4", "ipv6"))
    elif variable is not None and len(settings.cluster_cidrs) == 1:
        declared = {_FAMILY[settings.versions[0]].lower(): variable}
    elif variable is not None:
        variable.fail("one number for two families", "write {ipv4: 24, ipv6: 64}")
    lengths = []
    for cidr in settings.cluster_cidrs:
        low, high = cidr.prefixlen, LONGEST[cidr.version]
        default = min(max(_PREFIX_LENGTH[cidr.version], low), high)
        length = declared.get(_FAMILY[cidr.version].lower())
        lengths.append((length and length.integer(low, high, default)) or default)
        if low > high:
            cause = f"no room for a node's pod CIDR, which is a /{high} at the longest"
            problems.add(ALL, "cluster_cidrs", str(cidr), cause, f"write a CIDR of /{_CLUSTER[cidr.version][-2:]}")
    return lengths


def _backend(variable: Field, versions: Tuple[int, ...]) -> BackendSettings:
    default = BackendSettings()
    fields = variable.mapping(("type", "vni", "port", "direct_routing", "mtu"))
    kind = fields["type"].choice(tuple(BACKENDS), default.type) if "type" in fields else default.type
    direct = fields["direct_routing"].boolean(False) if "direct_routing" in fields else False
    settings = BackendSettings(
        type=kind,
        vni=(fields["vni"].integer(1, 2**24 - 1, default.vni) if "vni" in fields else None) or default.vni,
        port=(fields["port"].integer(1, 65535, default.port) if "port" in fields else None) or default.port,
        direct_routing=direct and BACKENDS[kind].offers_direct_routing,
        mtu=_mtu(fields["mtu"], 1280 if 6 in versions else 576) if "mtu" in fields else None,
    )
    for version in versions:
        device = backend_of(settings).device(version)
        if device and not is_device_name(device):
            cause = f"the {_FAMILY[version]} device {device} would have {len(device)} characters, and Linux has 15"
            digits = 16 - len(backend_of(replace(settings, vni=1)).device(version))
            fields["vni"].fail(cause, f"write a number up to {10**digits - 1}")
    return settings


def _mtu(variable: Field, low: int) -> Optional[int]:
    return None if variable.value == "auto" else variable.integer(low, 65535, 1450)
