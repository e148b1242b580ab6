"""Rules of attachments in iptables' nat table, shown, added and removed as the objects of a State are.

Chains are made with their first rule, and those of attachments go with their last. Rules are compared as words, in
the order in which iptables-save has them.
"""

from __future__ import annotations

from ipaddress import ip_interface

from ...errors import KernelError
from ...model.objects import IptablesRule
from ...plan import REMOVE, Operation
from ...startup_typing import TYPE_CHECKING
from ..namespaces import Namespace
from .tables import Table, flavours, flavours_of

if TYPE_CHECKING:
    from typing import Dict, FrozenSet, Iterable, List, Optional, Sequence, Set, Tuple

    from ...model.objects import IPAddress

    Words = Tuple[str, ...]

_NAT = "nat"
_BUILT_IN = frozenset({"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"})
#: What a word must be quoted for (libxtables, add_param_to_argv).
_SPECIAL = frozenset("\"'\\ \t#")
#: So often a change is tried again if somebody else changed the table meanwhile.
_ATTEMPTS = 5


class Saved:
    """What iptables-save said: the rules of every chain."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.rules: Dict[str, List[Words]] = {}
        for line in lines:
            if line.startswith(":"):
                self.rules[line[1:].partition(" ")[0]] = []
            elif line.startswith("-A "):
                words = split(line)
                self.rules.setdefault(words[1], []).append(words[2:])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Saved) and self.rules == other.rules

    def has(self, table: Table, rule: IptablesRule) -> bool:
        """Whether a rule is there."""
        if rule.chain not in self.rules or rule.words in self.rules[rule.chain]:
            return rule.chain in self.rules
        return rule.free and table.has(rule.chain, rule.words)

    def jumps_to(self, chain: str) -> List[Tuple[str, Words]]:
        """(chain, words) of the rules that go on in a chain."""
        return [(name, words) for name, listed in self.rules.items() for words in listed if target_of(words) == chain]


def show_iptables(
    namespace: Namespace,
    chains: FrozenSet[str],
    addresses: Optional[FrozenSet[IPAddress]],
    desired: FrozenSet[IptablesRule],
) -> FrozenSet[IptablesRule]:
    """Of ``desired`` what is there; of ``chains``, in any flavour, all rules in them, those that jump to them, and
    themselves. A chain that also serves other ``addresses`` stays, with the rules that are not of these."""
    shown: Set[IptablesRule] = set()
    with namespace.entered():
        for version in (4, 6):
            wanted = [rule for rule in desired if rule.version == version]
            if wanted:
                table = Table(version, _NAT)
                saved = Saved(table.saved())
                shown.update(rule for rule in wanted if saved.has(table, rule))
            for flavour in flavours_of(namespace, version, _NAT, chains):
                saved = Saved(Table(version, _NAT, flavour).saved())
                for chain in chains & saved.rules.keys():
                    shown.update(_of_chain(saved, version, flavour, chain, addresses))
    return frozenset(shown)


def commented(namespace: Namespace, prefix: str) -> FrozenSet[str]:
    """The chains of attachments among whose rules, or the rules that jump to them, are some whose comment begins so."""
    chains: Set[str] = set()
    with namespace.entered():
        for version in (4, 6):
            for flavour in flavours(namespace, version, _NAT):
                for chain, listed in Saved(Table(version, _NAT, flavour).saved()).rules.items():
                    for words in listed:
                        if "--comment" in words and words[words.index("--comment") + 1].startswith(prefix):
                            chains.update({chain, target_of(words)})
    return frozenset(
        chain_name
        for chain_name in chains
        if chain_name.startswith("CNI-") and not chain_name.startswith("CNI-HOSTPORT-")
    )


def apply_iptables(namespace: Namespace, operations: Sequence[Operation]) -> None:
    """Add and remove rules, in one transaction a table."""
    tables: Dict[Table, List[Operation]] = {}
    for operation in operations:
        rule = operation.object
        assert isinstance(rule, IptablesRule)
        tables.setdefault(Table(rule.version, _NAT, rule.flavour), []).append(operation)
    with namespace.entered():
        for table, group in tables.items():
            _commit(table, group)


def _commit(table: Table, operations: Sequence[Operation]) -> None:
    """Others change the table too (Go's plugins, Docker): what is refused is tried on what stands there by then."""
    removed = [
        operation.object
        for operation in operations
        if operation.action == REMOVE and isinstance(operation.object, IptablesRule)
    ]
    added = [
        operation.object
        for operation in operations
        if operation.action != REMOVE and isinstance(operation.object, IptablesRule)
    ]
    before = Saved(table.saved())
    for attempt in range(_ATTEMPTS):
        try:
            table.restore(_lines(before, table, removed, added))
            return
        except KernelError:
            now = Saved(table.saved())
            if now == before or attempt == _ATTEMPTS - 1:
                raise
            before = now


def _lines(saved: Saved, table: Table, removed: Sequence[IptablesRule], added: Sequence[IptablesRule]) -> List[str]:
    """The lines for iptables-restore. Neither what is gone already nor what is there already is an error."""
    removing = [rule for rule in removed if rule.words and saved.has(table, rule)]
    adding = sorted((rule for rule in added if not saved.has(table, rule)), key=lambda rule: rule.order)
    made = {rule.chain: None for rule in adding if rule.chain not in saved.rules and rule.chain not in _BUILT_IN}
    lines = [f"-N {chain}" for chain in made]
    for rule in removing:  # as often as it is there
        lines += [f"-D {rule.chain} {join(rule.words)}"] * max(saved.rules[rule.chain].count(rule.words), 1)
    lines += [f"-I {rule.chain} 1 {join(rule.words)}" for rule in reversed(adding) if rule.order < 0]
    lines += [f"-A {rule.chain} {join(rule.words)}" for rule in adding if rule.order >= 0]
    return lines + [f"-X {chain}" for chain in _emptied(saved, removed, removing, adding)]


def _emptied(
    saved: Saved, removed: Sequence[IptablesRule], removing: Sequence[IptablesRule], adding: Sequence[IptablesRule]
) -> List[str]:
    """Chains that lost something, and are empty and jumped to from nowhere after that."""
    gone = {(rule.chain, rule.words) for rule in removing}
    remaining = {name: [words for words in listed if (name, words) not in gone] for name, listed in saved.rules.items()}
    for rule in adding:
        remaining.setdefault(rule.chain, []).append(rule.words)
    targets = {target_of(words) for listed in remaining.values() for words in listed}
    free = {rule.chain for rule in removing if rule.free}  # there may be more of those than words tell
    candidates = {rule.chain: None for rule in removed if rule.chain not in _BUILT_IN | targets | free}
    return [chain for chain in candidates if remaining.get(chain) == []]


def _of_chain(
    saved: Saved, version: int, flavour: str, chain: str, addresses: Optional[FrozenSet[IPAddress]]
) -> List[IptablesRule]:
    placed = [(chain, words) for words in saved.rules[chain]] + saved.jumps_to(chain)
    if addresses is not None:
        about = {(place, words): _about(place, words) for place, words in placed}
        if not frozenset().union(*about.values()) <= addresses:  # another interface of the same container
            placed = [place_and_words for place_and_words in placed if about[place_and_words] & addresses]
            return [IptablesRule(version, place, words, chain, flavour=flavour) for place, words in placed]
    rules = [IptablesRule(version, place, words, chain, flavour=flavour) for place, words in placed]
    return [*rules, IptablesRule(version, chain, (), chain, flavour=flavour)]


def _about(chain: str, words: Words) -> FrozenSet[IPAddress]:
    """The container's address that a rule is for, if it names one."""
    for option, value in zip(words, words[1:]):
        if option == "--to-destination":
            return frozenset({ip_interface(value.rpartition(":")[0].strip("[]")).ip})
        if option == "-s" and chain == "POSTROUTING":
            return frozenset({ip_interface(value).ip})
    return frozenset()


# --- words --------------------------------------------------------------------------------------------


def target_of(words: Words) -> str:
    """The chain or target that a rule jumps to."""
    return next((value for option, value in zip(words, words[1:]) if option in ("-j", "-g")), "")


def split(line: str) -> Words:
    """A line of iptables-save as words: quotes group, a backslash keeps the next character."""
    if '"' not in line:
        return tuple(line.split())
    words: List[str] = []
    word, quoted, begun = "", False, False
    characters = iter(line)
    for character in characters:
        if character == "\\" and quoted:
            word += next(characters, "")
        elif character == '"':
            quoted, begun = not quoted, True
        elif character == " " and not quoted:
            if word or begun:
                words.append(word)
            word, begun = "", False
        else:
            word += character
    return (*words, word) if word or begun else tuple(words)


def join(words: Words) -> str:
    """The words as iptables-restore takes them."""
    return " ".join(_quoted(word) for word in words)


def _quoted(word: str) -> str:
    if word and _SPECIAL.isdisjoint(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
