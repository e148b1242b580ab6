"""What a case is, and the table of all cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, List, NamedTuple, Sequence, Tuple

if TYPE_CHECKING:
    from .subject import Subject
    from .trial import Trial

#: The word of the specification that a failure breaks. ``quality``: no rule, but users suffer.
MUST, SHOULD, QUALITY = "MUST", "SHOULD", "quality"
SEVERITIES = (MUST, SHOULD, QUALITY)

#: What plugins are: those that make an interface, those that hand out addresses, those in a chain.
MAIN, IPAM, META = "main", "ipam", "meta"
KINDS = (MAIN, IPAM, META)

#: For ``each``: one case a version that the plugin announces.
ANNOUNCED = ("<announced>",)


class Failed(Exception):
    """The plugin did not do what the case expects."""

    def __init__(self, expected: str, seen: str, evidence: str = "") -> None:
        super().__init__(f"expected {expected}; seen {seen}")
        self.expected = expected
        self.seen = seen
        self.evidence = evidence


class Hung(Failed):
    """It did not end, and was killed."""


class Skipped(Exception):
    """The case says nothing here; the message is the reason."""


class Case(NamedTuple):
    """One thing that a plugin promises. ``id`` is stable; ``needs`` names features of probe.py."""

    id: str
    title: str
    section: str
    severity: str
    run: Callable[[Trial], None]
    kinds: Tuple[str, ...]
    plugins: Tuple[str, ...]
    excluded: Tuple[str, ...]
    since: str
    needs: Tuple[str, ...]
    each: Tuple[str, ...]
    timed: bool
    parameter: str = ""

    @property
    def full_id(self) -> str:
        return f"{self.id}.{self.parameter}" if self.parameter else self.id

    def concerns(self, subject: Subject) -> bool:
        """Whether the case says anything about this plugin."""
        if subject.name in self.excluded:
            return False
        return subject.type in self.plugins if self.plugins else subject.kind in self.kinds

    def expanded(self, subject: Subject) -> List[Case]:
        """One case a parameter."""
        if not self.each:
            return [self]
        each = subject.versions if self.each == ANNOUNCED else self.each
        return [self._replace(parameter=parameter) for parameter in each]


CASES: List[Case] = []


def case(
    id: str,
    title: str,
    section: str,
    severity: str,
    *,
    kinds: Sequence[str] = KINDS,
    plugins: Sequence[str] = (),
    excluded: Sequence[str] = (),
    since: str = "",
    needs: Sequence[str] = (),
    each: Sequence[str] = (),
    timed: bool = False,
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Register a function as a case.

    ``plugins`` names the types it is about, else it is about all of ``kinds`` but ``excluded``.
    ``since``: the lowest version that a plugin must announce. ``timed``: a failure is tried once more
    alone, so that a busy machine is not blamed on the plugin.
    """

    def register(run: Callable[[Trial], None]) -> Callable[[Trial], None]:
        CASES.append(
            Case(
                id,
                title,
                section,
                severity,
                run,
                tuple(kinds),
                tuple(plugins),
                tuple(excluded),
                since,
                tuple(needs),
                tuple(each),
                timed,
            )
        )
        return run

    return register
