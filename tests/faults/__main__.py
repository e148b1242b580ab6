"""``./run drill``: every fault in labs of its own, injected, explained, and mended by what the explanation says."""

from __future__ import annotations

import argparse
import sys
import time
from random import Random
from typing import Dict, List, NamedTuple, Optional, Tuple

from podwire.errors import FaultError, PodwireError
from podwire.faults.catalogue import CATALOGUE
from podwire.faults.symptom import Expected

from . import by_hand
from .foreign import STYLES, ForeignLab, is_installed
from .labs import KINDS, Lab, differences, kind_for, make, names

NODE = "node-1"


def main() -> int:
    """Run the drill; 1 if any fault was not explained, or not mended by what the explanation said."""
    parser = argparse.ArgumentParser(prog="./run drill", description=__doc__)
    parser.add_argument("fault", nargs="*", help="these only (default: all)")
    parser.add_argument("--pairs", metavar="N", type=int, default=0, help="then N pairs of faults at once")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs (default: %(default)s)")
    parser.add_argument("--foreign", action="store_true", help="on nodes that somebody else wired")
    parser.add_argument(
        "--style", choices=list(STYLES), default="flannel", help="how: %(choices)s (default: %(default)s)"
    )
    parser.add_argument("--healthy", metavar="N", type=int, default=0, help="first N rounds with nothing broken")
    given = parser.parse_args()
    chosen = given.fault or list(CATALOGUE)
    unknown = [name for name in chosen if name not in CATALOGUE]
    if given.foreign and not is_installed():
        parser.error("--foreign needs Go's plugins: apt-get install containernetworking-plugins")
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}")
    with Labs(given.style if given.foreign else "") as labs:
        accused = sum(not _healthy(labs.of("route_missing"), number) for number in range(1, given.healthy + 1))
        print(f"{'FAULT':30}{'CAUSE':8}{'OBJECT':8}{'FIX':8}{'SECONDS':>8}  WHAT WENT WRONG", flush=True)
        tried = [_one(name, labs.of(name)) for name in chosen]
        if given.foreign and not given.fault:
            tried += [_by_hand(name, labs) for name, each in by_hand.FAULTS.items() if given.style in each.styles]
        done = [each for each in tried if each is not None]
        _sum_up(done, len(tried))
        missed = _pairs(labs.of("route_missing"), given.pairs, given.seed) if given.pairs else 0
    # Where intent can only be inferred, a fault in ten may be out of reach.
    wrong = sum(not each.well for each in done)
    allowed = len(done) // 10 if given.foreign else 0
    return 1 if accused or wrong > allowed or missed * 10 > given.pairs else 0


class Labs:
    """A lab of each kind, made at first use; with ``style`` the one that somebody else wired."""

    def __init__(self, style: str) -> None:
        self.style = style
        self._made: Dict[str, Lab] = {}

    def __enter__(self) -> Labs:
        return self

    def __exit__(self, *_: object) -> None:
        for kind in list(self._made):
            self.drop(kind)

    def of(self, name: str) -> Lab:
        """The lab that a fault is injected in."""
        kind = self.style or kind_for(name)
        if kind not in self._made:
            self._made[kind] = ForeignLab(kind) if self.style else make(f"drill-{kind}", **KINDS[kind])
        return self._made[kind]

    def drop(self, kind: str) -> None:
        """Remove a lab; the next use makes another."""
        self._made.pop(kind).close()


class Outcome(NamedTuple):
    """What became of one fault: its own cause came first, with its own object, and its fix mended; ``well`` also says
    that nothing else was accused or left."""

    cause: bool
    object: bool
    fix: bool
    well: bool


def _healthy(lab: Lab, number: int) -> bool:
    found = lab.explain()
    word = ", ".join(f"{each.id} ({each.object} on {each.node})" for each in found.causes)
    word += f" {len(found.failing)} pairs fail" if found.failing else ""
    print(f"healthy, round {number}: {word or 'no cause'}", flush=True)
    return not word


def _sum_up(done: List[Outcome], chosen: int) -> None:
    kinds = ("right cause first", "right object", "mended by the printed fix", "all of it and nothing else")
    counts = [sum(each[number] for each in done) for number in range(len(kinds))]
    told = ", ".join(f"{count} {kind}" for kind, count in zip(kinds, counts))
    print(f"{len(done)} faults injected: {told}; {chosen - len(done)} not here")


def _one(name: str, lab: Lab) -> Optional[Outcome]:
    """Inject, explain, mend by what was explained; None where the fault cannot be."""
    lacking = lab.lacking(name, NODE)
    if lacking:
        print(f"{name:30}not here: {lacking}", flush=True)
        return None
    healthy = lab.states(NODE)
    row = _Row(name)
    try:
        expects = lab.inject(name, NODE).expects
        assert expects is not None
        row.explain(lab, expects)
        lab.mend(NODE)
        row.left += differences(healthy, lab.states(NODE))
    except PodwireError as error:
        row.left.append(str(error))
        lab.mend(NODE)
    return row.describe()


def _by_hand(name: str, labs: Labs) -> Outcome:
    """Likewise a fault that no journal knows: the lab goes with it."""
    lab = labs.of(name)
    assert isinstance(lab, ForeignLab)
    row = _Row(f"by hand: {name}")
    row.explain(lab, by_hand.inject(lab, name))
    labs.drop(labs.style)
    return row.describe()


class _Row:
    """A row of the table, while it is being found out."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.left: List[str] = []
        self.cause = self.named = self.mends = False
        self.spent = 0.0

    def explain(self, lab: Lab, expects: Expected) -> None:
        """Explain, and do what is said."""
        began = time.monotonic()
        found = lab.explain()
        self.spent = time.monotonic() - began
        first = found.causes[0] if found.causes else None
        self.cause = first is not None and (first.id, first.node) == (expects.cause, expects.node)
        self.left += [f"{each.id} as well" for each in found.causes[0 if not self.cause else 1 :]]
        self.left += [f"{len(found.unexplained)} pairs unexplained"] if found.unexplained else []
        if first is not None:
            self.named = names(first, expects)
            said = lab.execute(first)
            after = lab.explain()
            self.left += [said] if said else []
            self.left += [f"{each.id} after the fix" for each in after.causes]
            self.mends = self.cause and not said and not after.causes and not after.failing

    def describe(self) -> Outcome:
        """Print it."""
        found = (self.cause, self.named, self.mends)
        words = "".join(f"{'yes' if each else 'NO':8}" for each in found)
        print(f"{self.name:30}{words}{self.spent:7.1f}s  {'; '.join(self.left)}", flush=True)
        return Outcome(*found, all(found) and not self.left)


def _both(lab: Lab, pair: List[Tuple[str, str]]) -> List[Expected]:
    """Inject two faults, the second as far as the first leaves it room: of no free address none can be leaked."""
    injected: List[Expected] = []
    for name, node in pair:
        try:
            expects = lab.inject(name, node, blind=True).expects
        except FaultError:
            if not injected:
                raise
            continue
        injected += [expects] if expects is not None else []
    return injected


def _pairs(lab: Lab, count: int, seed: int) -> int:
    """Two faults at once, drawn at random, on two nodes or (of different layers) on one by turns; how many pairs were
    not both named, each with its object."""
    random = Random(seed)
    possible = [
        name for name in CATALOGUE if kind_for(name) == kind_for("route_missing") and not lab.lacking(name, NODE)
    ]
    missed = 0
    for number in range(count):
        drawn = random.sample(possible, 2)
        while not number % 2 and len({CATALOGUE[name].layer for name in drawn}) == 1:
            drawn = random.sample(possible, 2)
        pair = list(zip(drawn, (NODE, "node-2" if number % 2 else NODE)))
        word = ""
        try:
            injected = _both(lab, pair)
            found = lab.explain()
            if not all(any(names(each, expects) for each in found.causes) for expects in injected):
                word = f"found {', '.join(f'{each.id} ({each.object})' for each in found.causes)}"
        except PodwireError as error:
            word = str(error)
        finally:
            for node in sorted({node for _, node in pair}):
                lab.mend(node)
        missed += bool(word)
        shown = " + ".join(f"{name} ({node})" for name, node in pair)
        print(f"{shown:75}{'NO' if word else 'yes':5}{word}", flush=True)
    print(f"{count} pairs, {missed} not both named")
    return missed


if __name__ == "__main__":
    sys.exit(main())
