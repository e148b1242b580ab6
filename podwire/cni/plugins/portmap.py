"""portmap: ports of the node that lead to ports of the container.

::

    hostports         prerouting   fib daddr type local tcp dport 8080 dnat ip to 10.1.0.2:80
    hostports-local   output       the same, for the node's own connections
    hostports-source  postrouting  what would find no way back: the container's own network, and 127.0.0.1

Connections from elsewhere keep their source, unless ``masqAll``; with ``snat: false`` all do.

``backend`` chooses between these and iptables' (see portmap_iptables). Without it, what only iptables understands asks
for that: ``markMasqBit``, ``externalSetMarkChain``, and conditions in iptables' words other than -s, -d and -i.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from ...errors import CNI_INVALID_NETWORK_CONFIG, CNI_UNSUPPORTED_FIELD, CniError
from ...kernel.nftables import expressions as nft
from ...model.objects import Chain, Sysctl
from ...model.state import EMPTY, State
from ...startup_typing import TYPE_CHECKING
from ..spec.netconf import is_name
from ..spec.result import Result, ResultIp
from . import chains, owned, portmap_iptables
from .base import PluginBase
from .plugin import Plugin, Projection
from .port_mapping import Mapping

if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, List, Optional, Sequence, Set, Tuple

    from ...kernel import Namespace
    from ...model.objects import Rule
    from ..spec.netconf import Attachment, NetConf
    from .chains import Kind

_INCOMING = Chain("inet", owned.TABLE, "hostports", "nat", 0, -100)
_OUTGOING = Chain("inet", owned.TABLE, "hostports-local", "nat", 3, -100)
#: Before every other source translation, as what comes from 127.0.0.1 would not survive another.
_SOURCE = Chain("inet", owned.TABLE, "hostports-source", "nat", 4, 95)
_LOOPBACK = ip_network("127.0.0.1/32")


class Portmap(PluginBase):
    """The plugin."""

    type = "portmap"
    makes_interface = False

    def project(
        self, conf: NetConf, attachment: Attachment, ipam: Optional[Result], previous: Optional[Result]
    ) -> Projection:
        """The result as it was, and the rules for the container's first address of each family."""
        result = previous or Result()
        mappings = mappings_of(conf)
        snat = conf.data.get("snat") is not False
        if not mappings:
            return Projection(result)
        by_iptables = backend_of(conf) == "iptables"
        node = shared = EMPTY
        devices: List[str] = []
        for ip in _first_ips(result):
            mine = [
                mapping
                for mapping in mappings
                if mapping.host_ip is None or mapping.host_ip.version == ip.address.version
            ]
            if not mine:
                continue
            if by_iptables:
                node |= State(iptables=portmap_iptables.rules(conf, attachment, ip, mine, snat=snat))
                shared |= State(iptables=portmap_iptables.shared(conf, ip.address.version, snat=snat))
            else:
                returning = _returning(conf, attachment, ip) if snat else set()
                node |= State(rules=frozenset(_redirecting(conf, attachment, ip, mine) | returning))
            if snat and ip.address.version == 4:
                devices = _outside(result)
        localnet = frozenset(Sysctl(f"net/ipv4/conf/{name}/route_localnet", "1") for name in devices)
        return Projection(result, node=node, shared=shared | State(sysctls=localnet))

    def chains(self, conf: NetConf) -> Tuple[Chain, ...]:
        """Where attachments may have rules."""
        return (_INCOMING, _OUTGOING, _SOURCE)

    def iptables_chains(self, conf: NetConf) -> Tuple[Kind, ...]:
        """Chains of ports."""
        return (chains.PORTS,)

    def after_add(self, conf: NetConf, attachment: Attachment, result: Result, node: Namespace) -> None:
        """Connections of UDP would go where they went before."""
        _forget_connections(conf, node)

    def after_delete(self, conf: NetConf, attachment: Attachment, node: Namespace) -> None:
        """Likewise."""
        _forget_connections(conf, node)


PLUGIN: Plugin = Portmap()


def _forget_connections(conf: NetConf, node: Namespace) -> None:
    ports = udp_ports(conf)
    if ports:
        from ...kernel.conntrack import forget_udp

        forget_udp(node, ports)


def udp_ports(conf: NetConf) -> FrozenSet[int]:
    """UDP ports of the node. None of a configuration that no ADD takes: its DEL has nothing to do, and must not keep
    others from theirs."""
    try:
        return frozenset(mapping.host_port for mapping in mappings_of(conf) if mapping.protocol == "udp")
    except CniError:
        return frozenset()


def mappings_of(conf: NetConf) -> List[Mapping]:
    """Parse, each once; CniError 7 for what makes no sense. A host port of 0 is no mapping for kubelet, but an error
    here."""
    backend = conf.text("backend")
    if backend not in ("", "nftables", "iptables"):
        raise _invalid(conf, f"unknown backend {backend!r}")
    chain = conf.text("externalSetMarkChain")
    if conf.data.get("markMasqBit") is not None and chain:
        raise _invalid(conf, "cannot specify both externalSetMarkChain and markMasqBit")
    if not 0 <= _whole(conf.data.get("markMasqBit") or 0) <= 31:
        raise _invalid(conf, "markMasqBit must be between 0 and 31")
    if chain and not (is_name(chain) and len(chain) <= chains.NAME_LENGTH):
        raise _invalid(conf, f"externalSetMarkChain {chain!r} is no name of a chain")
    listed = (conf.data.get("runtimeConfig") or {}).get("portMappings") or []
    if not isinstance(listed, list):
        raise _invalid(conf, f"portMappings is {listed!r}")
    return list(dict.fromkeys(_mapping(conf, each) for each in listed))


def backend_of(conf: NetConf) -> str:
    """``nftables`` or ``iptables``; CniError 2 for keys that are the other one's."""
    asked = conf.text("backend")
    marks = [key for key in ("markMasqBit", "externalSetMarkChain") if conf.data.get(key) not in (None, "")]
    if asked == "nftables" and marks:
        why = f"{marks[0]} {conf.data[marks[0]]!r} means nothing to backend nftables, which needs no mark"
        raise _unsupported(conf, why, f"leave out {marks[0]}, or set backend to iptables")
    if not asked and (marks or any(_only_iptables_knows(conf, version) for version in (4, 6))):
        asked = "iptables"
    for version in (4, 6) if asked == "iptables" else ():
        words = _words(conf, version)
        if words and not _of_iptables(words):
            why = f"conditionsV{version} {words!r} are words of nft"
            raise _unsupported(conf, why, "use those of iptables, or set backend to nftables")
        if any(word.startswith(("-M", "--mo")) for word in words):  # the one word by which iptables executes a path
            raise _unsupported(conf, f"conditionsV{version} {words!r}: --modprobe is not supported", "leave it out")
    return asked or "nftables"


def _of_iptables(words: Sequence[str]) -> bool:
    return words[0] == "!" or words[0].startswith("-")


def _only_iptables_knows(conf: NetConf, version: int) -> bool:
    words = _words(conf, version)
    try:
        _conditions(conf, version)
    except CniError as error:
        return error.code == CNI_UNSUPPORTED_FIELD and _of_iptables(words)
    return False


def _mapping(conf: NetConf, data: Any) -> Mapping:
    if not isinstance(data, dict):
        raise _invalid(conf, f"port mapping {data!r}")
    host, container = _whole(data.get("hostPort")), _whole(data.get("containerPort"))
    for word, number in (("hostPort", host), ("containerPort", container)):
        if not 1 <= number <= 65535:
            raise _invalid(conf, f"{word} {data.get(word)!r} is not in 1 to 65535")
    protocol = str(data.get("protocol") or "tcp").lower()
    if protocol not in nft.PROTOCOLS:
        raise _invalid(conf, f"protocol {data.get('protocol')!r} is none of {', '.join(nft.PROTOCOLS)}")
    try:
        host_ip = ip_address(data["hostIP"]) if data.get("hostIP") else None
    except ValueError as error:
        raise _invalid(conf, f"hostIP: {error}") from error
    return Mapping(host, container, protocol, host_ip)


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _invalid(conf: NetConf, problem: str) -> CniError:
    return CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}, plugin portmap: {problem}")


def _unsupported(conf: NetConf, problem: str, hint: str) -> CniError:
    return CniError(CNI_UNSUPPORTED_FIELD, f"network {conf.name}, plugin portmap: {problem}", hint)


def _first_ips(result: Result) -> List[ResultIp]:
    """The container's first address of each family."""
    inside = [index for index, each in enumerate(result.interfaces) if each.sandbox]
    found: Dict[int, ResultIp] = {}
    for ip in result.ips:
        if ip.interface is None or ip.interface in inside:
            found.setdefault(ip.address.version, ip)
    return list(found.values())


def _outside(result: Result) -> List[str]:
    """The device by which the node reaches the container: the first of its own, or that of a VLAN on it."""
    names = [interface.name for interface in result.interfaces if not interface.sandbox]
    return names[:1] + [each for each in names[1:] if each.startswith(f"{names[0]}.")]


def _redirecting(conf: NetConf, attachment: Attachment, ip: ResultIp, mappings: Sequence[Mapping]) -> Set[Rule]:
    version = ip.address.version
    conditions = _conditions(conf, version)
    rules = set()
    for mapping in mappings:
        anywhere = mapping.host_ip is None or mapping.host_ip.is_unspecified
        where = nft.local() if anywhere or mapping.host_ip is None else nft.destination(ip_network(mapping.host_ip))
        parts = (
            nft.family(version),
            where,
            nft.port(mapping.protocol, mapping.host_port),
            *conditions,
            nft.redirect(ip.address.ip, mapping.container_port),
        )
        rules |= {owned.rule(conf, attachment, chain, *parts) for chain in (_INCOMING, _OUTGOING)}
    return rules


def _returning(conf: NetConf, attachment: Attachment, ip: ResultIp) -> Set[Rule]:
    """Whose answers would not come back by the node: they leave with the node's address."""
    version = ip.address.version
    sources = [nft.source(ip.address.network)] + ([nft.source(_LOOPBACK)] if version == 4 else [])
    if conf.flag("masqAll"):
        sources = []
    target = (nft.destination(ip_network(ip.address.ip)), nft.redirected(), nft.masquerade())
    listed: List[Tuple[nft.Part, ...]] = [(source,) for source in sources] or [()]
    return {owned.rule(conf, attachment, _SOURCE, nft.family(version), *each, *target) for each in listed}


def _conditions(conf: NetConf, version: int) -> List[nft.Part]:
    """``conditionsV4`` and ``conditionsV6``, as words of iptables or of nft; CniError 2 for other words."""
    words = _words(conf, version)
    found: List[nft.Part] = []
    rest = [each for each in words if each not in ("ip", "ip6")]
    while rest:
        negated = rest[0] == "!"
        rest = rest[negated:]
        word, rest = (rest[0] if rest else "!"), rest[1:]
        if rest and rest[0] in ("!=", "!"):
            negated, rest = True, rest[1:]
        if word not in _CONDITIONS or not rest:
            hint = "use -s, -d or -i of iptables, or saddr, daddr or iifname of nft, or set backend to iptables"
            raise _unsupported(conf, f"conditionsV{version} {words!r}: {word!r} is not supported", hint)
        found.append(_condition(conf, version, _CONDITIONS[word], rest[0], negated))
        rest = rest[1:]
    return found


def _words(conf: NetConf, version: int) -> List[str]:
    words = conf.data.get(f"conditionsV{version}") or []
    if not isinstance(words, list) or not all(isinstance(word, str) and word.isprintable() for word in words):
        raise _invalid(conf, f"conditionsV{version} is {words!r}")
    return words


_CONDITIONS = {
    **dict.fromkeys(("-s", "--source", "--src", "saddr"), "source"),
    **dict.fromkeys(("-d", "--destination", "--dst", "daddr"), "destination"),
    **dict.fromkeys(("-i", "--in-interface", "iifname", "iif"), "device"),
}


def _condition(conf: NetConf, version: int, kind: str, value: str, negated: bool) -> nft.Part:
    if kind == "device":
        return nft.comes_by(value.strip('"'), negated=negated)
    try:
        network = ip_network(value, strict=False)
        if network.version != version:
            raise ValueError(f"{value} is not of IPv{version}")
    except ValueError as error:
        raise _invalid(conf, f"conditionsV{version}: {error}") from error
    return (nft.source if kind == "source" else nft.destination)(network, negated=negated)
