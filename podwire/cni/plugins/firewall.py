"""firewall: containers may send and get answers, and ``ingressPolicy`` keeps networks of one node apart.

Rules are nftables' own, unless ``backend`` says ``iptables``, or iptables' FORWARD chain drops what nothing accepts
(as Docker sets it): no other table can allow what that one drops, so they stand there then, as the reference has them::

    FORWARD       1: -j CNI-FORWARD
    CNI-FORWARD   1: -j CNI-ADMIN (iptablesAdminChainName)
                  -d 10.1.0.2 ctstate RELATED,ESTABLISHED,DNAT -j ACCEPT
                  -s 10.1.0.2 -j ACCEPT

DNAT: connections to a port that portmap redirected here. Isolation is always nftables': every table may drop.
"""

from __future__ import annotations

from ipaddress import ip_network

from ...errors import CNI_INVALID_NETWORK_CONFIG, CNI_UNSUPPORTED_FIELD, CniError, PodwireError
from ...kernel.iptables import tables
from ...kernel.lock import namespace_lock
from ...kernel.nftables import expressions as nft
from ...model.objects import Chain
from ...model.state import State
from ...startup_typing import TYPE_CHECKING
from ..spec.netconf import is_name
from ..spec.result import Result
from . import owned
from .base import PluginBase
from .plugin import Plugin, Projection

if TYPE_CHECKING:
    from typing import FrozenSet, List, Optional, Set, Tuple

    from ...kernel import Namespace
    from ...model.objects import Rule
    from ..spec.netconf import Attachment, NetConf

_ACCEPTING = Chain("inet", owned.TABLE, "forward", "filter", 2, 0)
#: Before the accepting chain of this table and of iptables: whoever drops has the last word.
_ISOLATING = Chain("inet", owned.TABLE, "isolation", "filter", 2, -10)
_ISOLATED = Chain("inet", owned.TABLE, "isolation-bridges")
_FORWARD = "CNI-FORWARD"
_POLICIES = ("", "open", "same-bridge", "isolated")


class Firewall(PluginBase):
    """The plugin: a projection as far as nftables goes."""

    type = "firewall"
    makes_interface = False

    def project(
        self, conf: NetConf, attachment: Attachment, ipam: Optional[Result], previous: Optional[Result]
    ) -> Projection:
        """The result as it was, and the rules for all addresses of the container."""
        _validate(conf)
        result = previous or Result()
        rules: Set[Rule] = set()
        for ip in result.ips:
            own, version = ip_network(ip.address.ip), nft.family(ip.address.version)
            answers = (version, nft.destination(own), nft.answering(), nft.accept())
            rules.add(owned.rule(conf, attachment, _ACCEPTING, *answers))
            rules.add(owned.rule(conf, attachment, _ACCEPTING, version, nft.source(own), nft.accept()))
        policy = conf.text("ingressPolicy")
        if policy in ("same-bridge", "isolated"):
            rules |= self._isolation(conf, attachment, result, policy)
        return Projection(result, node=State(rules=frozenset(rules)))

    def _isolation(self, conf: NetConf, attachment: Attachment, result: Result, policy: str) -> Set[Rule]:
        """What goes from one isolated bridge to another is dropped; from elsewhere it is not."""
        bridge = next((interface.name for interface in result.interfaces if not interface.sandbox), "")
        if not bridge:
            raise CniError(
                CNI_INVALID_NETWORK_CONFIG,
                f"network {conf.name}: ingressPolicy {policy} needs a bridge, and prevResult has none",
                "put firewall behind bridge",
            )
        comes, leaves = nft.comes_by(bridge), nft.leaves_by(bridge)
        away = (comes, nft.leaves_by(bridge, negated=True), nft.jump(_ISOLATED.name))
        rules = {
            owned.rule(conf, attachment, _ISOLATED, leaves, nft.drop()),
            owned.rule(conf, attachment, _ISOLATING, *away),
        }
        if policy == "isolated":
            rules.add(owned.rule(conf, attachment, _ISOLATING, comes, leaves, nft.drop()))
        return rules

    def chains(self, conf: NetConf) -> Tuple[Chain, ...]:
        """Where attachments may have rules."""
        return (_ACCEPTING, _ISOLATING, _ISOLATED)

    def validate(self, conf: NetConf) -> None:
        """All keys make sense."""
        _validate(conf)

    # --- iptables' rules -----------------------------------------------------------------------------

    def after_add(self, conf: NetConf, attachment: Attachment, result: Result, node: Namespace) -> None:
        """Accept in iptables as well, where that would drop."""
        for version in _versions(result):
            if _needs_iptables(conf, node, version):
                with namespace_lock(node):
                    _open(conf, attachment, result, version)

    def lacking(self, conf: NetConf, attachment: Attachment, result: Result, node: Namespace) -> List[str]:
        """iptables' rules that are not there."""
        lacking: List[str] = []
        for version in _versions(result):
            if _needs_iptables(conf, node, version):
                present = [_bare(line) for line in _table(version).saved()]
                wanted = _accepting(conf, attachment, result, version)
                lacking += [line for line in wanted if _bare(line) not in present]
                if not any(line.startswith("-A FORWARD ") and f"-j {_FORWARD}" in line for line in present):
                    lacking.append(f"FORWARD does not jump to {_FORWARD}")
        return lacking

    def after_delete(self, conf: NetConf, attachment: Attachment, node: Namespace) -> None:
        """iptables' rules, whatever backend is configured now."""
        _close(node, owned.owner(conf.name, attachment.container_id, attachment.ifname), frozenset())

    def after_collect(self, conf: NetConf, valid: FrozenSet[Tuple[str, str]], node: Namespace) -> None:
        """The rules of this network's attachments that are not listed."""
        _close(node, owned.prefix(conf.name), frozenset(owned.owner(conf.name, *pair) for pair in valid))


PLUGIN: Plugin = Firewall()


def _validate(conf: NetConf) -> None:
    backend, policy, admin = conf.text("backend"), conf.text("ingressPolicy"), _admin(conf)
    if backend == "firewalld":
        raise CniError(
            CNI_UNSUPPORTED_FIELD, f"network {conf.name}: backend 'firewalld' is not supported", "leave it out"
        )
    if backend not in ("", "nftables", "iptables"):
        raise _invalid(conf, "backend", backend, "nftables or iptables")
    if policy not in _POLICIES:
        raise _invalid(conf, "ingressPolicy", policy, "open, same-bridge or isolated")
    if not is_name(admin) or len(admin) > 28:
        raise _invalid(conf, "iptablesAdminChainName", admin, "a chain's name of at most 28 characters")


def _invalid(conf: NetConf, key: str, value: str, wanted: str) -> CniError:
    return CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: {key} is {value!r}", f"it must be {wanted}")


# --- iptables -----------------------------------------------------------------------------------------


def _versions(result: Result) -> List[int]:
    return sorted({ip.address.version for ip in result.ips})


def _needs_iptables(conf: NetConf, node: Namespace, version: int) -> bool:
    backend = conf.text("backend")
    return backend == "iptables" or (backend == "" and tables.forward_drops(node, version))


def _table(version: int) -> tables.Table:
    """The one that drops: the kernel's older one, if that is in use."""
    return tables.Table(version, "filter", "legacy" if tables.has_legacy(version, "filter") else "")


def _admin(conf: NetConf) -> str:
    return conf.text("iptablesAdminChainName") or "CNI-ADMIN"


def _accepting(conf: NetConf, attachment: Attachment, result: Result, version: int) -> List[str]:
    name = owned.owner(conf.name, attachment.container_id, attachment.ifname)
    lines = []
    for ip in result.ips:
        if ip.address.version == version:
            own = ip_network(ip.address.ip)
            states = "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT"
            lines.append(f"-A {_FORWARD} -d {own} {states} -m comment --comment {name} -j ACCEPT")
            lines.append(f"-A {_FORWARD} -s {own} -m comment --comment {name} -j ACCEPT")
    return lines


def _open(conf: NetConf, attachment: Attachment, result: Result, version: int) -> None:
    admin = _admin(conf)
    present = _table(version).saved()
    rules = [_bare(line) for line in present]
    lines = [f"-N {chain}" for chain in (admin, _FORWARD) if not any(line.startswith(f":{chain} ") for line in present)]
    for chain, target, said in (
        ("FORWARD", _FORWARD, "CNI firewall plugin rules"),
        (_FORWARD, admin, "CNI firewall plugin admin overrides"),
    ):
        if not any(rule.startswith(f"-A {chain} ") and rule.endswith(f"-j {target}") for rule in rules):
            lines.append(f'-I {chain} 1 -m comment --comment "{said}" -j {target}')
    lines += [line for line in _accepting(conf, attachment, result, version) if _bare(line) not in rules]
    _table(version).restore(lines)


def _close(node: Namespace, owner: str, kept: FrozenSet[str]) -> None:
    """Remove the rules whose comment begins so."""
    errors: List[PodwireError] = []
    for version in (4, 6):
        try:
            if tables.has_chain(node, version, "filter", _FORWARD):
                with namespace_lock(node):
                    removed = [line for line in _table(version).saved() if _is_of(line, owner, kept)]
                    _table(version).restore(["-D" + line[2:] for line in removed])
        except PodwireError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _is_of(line: str, owner: str, kept: FrozenSet[str]) -> bool:
    if not line.startswith(f"-A {_FORWARD} ") or " --comment " not in line:
        return False
    name = line.partition(" --comment ")[2].split()[0].strip('"')
    return name not in kept and name.startswith(owner)


def _bare(line: str) -> str:
    """A rule as its set of words: iptables-save has its own order of the states."""
    return " ".join(",".join(sorted(word.strip('"').split(","))) for word in line.split())
