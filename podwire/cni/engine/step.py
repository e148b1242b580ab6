"""A step of a list of plugins: what the runtime asks of it, whoever does it, and what it answers."""

from __future__ import annotations

from ...plan import Operation
from ...startup_typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Mapping, Sequence, Set

    from ...errors import CniError
    from ...ipam.store import Claim
    from ..spec.netconf import Attachment
    from ..spec.result import Result

Operations = tuple[tuple[str, Operation], ...]


class Answers(NamedTuple):
    """What came of each attachment (its result, or its error), and the operations that were needed."""

    results: Dict[Attachment, Result]
    errors: Dict[Attachment, CniError]
    operations: Operations = ()

    def with_errors(self, errors: Mapping[Attachment, CniError]) -> Answers:
        """With more errors, and without the results of attachments that have one."""
        errors = {**self.errors, **errors}
        good = {attachment: result for attachment, result in self.results.items() if attachment not in errors}
        return Answers(good, errors, self.operations)


class Step(Protocol):
    """One plugin, or several that run together. ``previous`` are the results of the steps before it."""

    def add(self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]) -> Answers:
        """ADD. Of attachments that fail nothing is left that this call made; of all, when it raises."""

    def check(self, previous: Mapping[Attachment, Result]) -> Dict[Attachment, CniError]:
        """CHECK: the errors of attachments that are not as ADD left them."""

    def delete(
        self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]
    ) -> Dict[Attachment, CniError]:
        """DEL: the errors of those that failed. What is not there is none, and neither is a namespace that is gone."""

    def collect(self, valid: Sequence[Attachment]) -> None:
        """GC: remove what belongs to none of these."""

    def status(self) -> None:
        """STATUS: CniError if the next ADD would fail, as far as is known."""

    def devices(self, attachment: Attachment) -> Set[str]:
        """The node's devices that belong to the attachment alone, as far as podwire's own plugins made them."""

    def stale(self, valid: Iterable[Claim]) -> List[Claim]:
        """Who holds addresses and is none of these, as far as podwire's own IPAM gave them."""
