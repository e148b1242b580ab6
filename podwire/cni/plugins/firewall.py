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

from ...errors import CNI_INVALID_NETWORK_CONFIG, CNI_KERNEL_FAILURE, CNI_UNSUPPORTED_FIELD, CniError, PodwireError
from ...kernel import Namespace
from ...kernel.iptables import tables
from ...kernel.nftables import expressions as nft
from ...model.objects import Chain
from ...model.state import State
from ...startup_typing import TYPE_CHECKING
from ..engine.attachment import Attaching, alone_in
from ..engine.plugin import NODE, Projection
from ..skel import CmdArgs
from ..spec.netconf import is_name
from ..spec.result import Result
from . import owned

if TYPE_CHECKING:
    from typing import FrozenSet, List, Optional, Set, Tuple, Union

    from ...ipam.allocator import Reservation
    from ...model.objects import Rule
    from ..spec.netconf import Attachment, NetConf
    from .chains import Kind

_ACCEPTING = Chain("inet", owned.TABLE, "forward", "filter", 2, 0)
#: Before the accepting chain of this table and of iptables: whoever drops has the last word.
_ISOLATING = Chain("inet", owned.TABLE, "isolation", "filter", 2, -10)
_ISOLATED = Chain("inet", owned.TABLE, "isolation-bridges")
_FORWARD = "CNI-FORWARD"
_POLICIES = ("", "open", "same-bridge", "isolated")


class Firewall:
    """The plugin, as far as nftables goes."""

    type = "firewall"
    interface = False

    def project(
        self,
        conf: NetConf,
        attachment: Attachment,
        reservation: Union[Reservation, Result, None],
        previous: Optional[Result],
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

    def devices(self, conf: NetConf, attachment: Attachment) -> FrozenSet[str]:
        """None: others make them."""
        return frozenset()

    def chains(self, conf: NetConf) -> Tuple[Chain, ...]:
        """Where attachments may have rules."""
        return (_ACCEPTING, _ISOLATING, _ISOLATED)

    def iptables_chains(self, conf: NetConf) -> Tuple[Kind, ...]:
        """None of the nat table."""
        return ()


_NFTABLES = Attaching(Firewall())


def add(call: CmdArgs) -> Result:
    """nftables' rules, then iptables' if need be."""
    result = _NFTABLES.add(call)
    try:
        with Namespace.current(NODE) as node:
            for version in _versions(result):
                if _needs_iptables(call.conf, node, version):
                    with alone_in(node):
                        _open(call, result, version)
    except BaseException:
        _NFTABLES.delete(call)
        raise
    return result


def check(call: CmdArgs) -> None:
    """All rules are there."""
    previous = call.require_previous()
    _NFTABLES.check(call)
    with Namespace.current(NODE) as node:
        for version in _versions(previous):
            if _needs_iptables(call.conf, node, version):
                present = [_bare(line) for line in _table(version).saved()]
                lacking = [line for line in _accepting(call, previous, version) if _bare(line) not in present]
                if lacking or not any(line.startswith("-A FORWARD ") and f"-j {_FORWARD}" in line for line in present):
                    raise CniError(
                        CNI_KERNEL_FAILURE,
                        f"iptables lacks rules of container {call.attachment.container_id}",
                        "; ".join(lacking) or f"FORWARD does not jump to {_FORWARD}",
                    )


def delete(call: CmdArgs) -> None:
    """All rules of the attachment, whatever backend they were made by."""
    _NFTABLES.delete(call)
    name = owned.owner(call.conf.name, call.attachment.container_id, call.attachment.ifname)
    _close([name])


def collect(call: CmdArgs) -> None:
    """The rules of this network's attachments that are not listed."""
    valid = call.valid_attachments()
    if valid is None:
        return
    _NFTABLES.collect(call)
    prefix = owned.prefix(call.conf.name)
    kept = {owned.owner(call.conf.name, *each) for each in valid}
    _close([prefix], kept)


def status(call: CmdArgs) -> None:
    """Ready if the configuration makes sense."""
    _validate(call.conf)


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


def _accepting(call: CmdArgs, result: Result, version: int) -> List[str]:
    name = owned.owner(call.conf.name, call.attachment.container_id, call.attachment.ifname)
    lines = []
    for ip in result.ips:
        if ip.address.version == version:
            own = ip_network(ip.address.ip)
            states = "-m conntrack --ctstate RELATED,ESTABLISHED,DNAT"
            lines.append(f"-A {_FORWARD} -d {own} {states} -m comment --comment {name} -j ACCEPT")
            lines.append(f"-A {_FORWARD} -s {own} -m comment --comment {name} -j ACCEPT")
    return lines


def _open(call: CmdArgs, result: Result, version: int) -> None:
    admin = _admin(call.conf)
    present = _table(version).saved()
    rules = [_bare(line) for line in present]
    lines = [f"-N {chain}" for chain in (admin, _FORWARD) if not any(line.startswith(f":{chain} ") for line in present)]
    for chain, target, said in (
        ("FORWARD", _FORWARD, "CNI firewall plugin rules"),
        (_FORWARD, admin, "CNI firewall plugin admin overrides"),
    ):
        if not any(rule.startswith(f"-A {chain} ") and rule.endswith(f"-j {target}") for rule in rules):
            lines.append(f'-I {chain} 1 -m comment --comment "{said}" -j {target}')
    lines += [line for line in _accepting(call, result, version) if _bare(line) not in rules]
    _table(version).restore(lines)


def _close(owners: List[str], kept: Union[Set[str], FrozenSet[str]] = frozenset()) -> None:
    """Remove the rules whose comment begins with one of these words."""
    errors: List[PodwireError] = []
    with Namespace.current(NODE) as node:
        for version in (4, 6):
            try:
                if tables.has_chain(node, version, "filter", _FORWARD):
                    with alone_in(node):
                        mine = [line for line in _table(version).saved() if _is_of(line, owners, kept)]
                        _table(version).restore(["-D" + line[2:] for line in mine])
            except PodwireError as error:
                errors.append(error)
    if errors:
        raise errors[0]


def _is_of(line: str, owners: List[str], kept: Union[Set[str], FrozenSet[str]]) -> bool:
    if not line.startswith(f"-A {_FORWARD} ") or " --comment " not in line:
        return False
    name = line.partition(" --comment ")[2].split()[0].strip('"')
    return name not in kept and any(name.startswith(owner) for owner in owners)


def _bare(line: str) -> str:
    """A rule as its set of words: iptables-save has its own order of the states."""
    return " ".join(",".join(sorted(word.strip('"').split(","))) for word in line.split())
