"""Where the engine has addresses from: nowhere, podwire's host-local for many at once, or a delegate for one."""

from __future__ import annotations

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError, PodwireError
from ...startup_typing import TYPE_CHECKING, Callable, NamedTuple, Protocol
from ..spec import delegate
from ..spec.cmdargs import CmdArgs
from ..spec.failure import as_cni_error
from ..spec.netconf import Attachment

if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Sequence, Union

    from ...ipam.store import Claim
    from ..plugins.host_local import Ranges
    from ..spec.result import Result


class Ipam(Protocol):
    """IPAM of a list of plugins."""

    def reserve(self, attachments: Sequence[Attachment]) -> Dict[Attachment, Union[Optional[Result], CniError]]:
        """Addresses for each, or an error; None where none are wanted."""

    def prepare_release(self, attachments: Sequence[Attachment]) -> Callable[[], None]:
        """What releases the addresses, with everything done that needs no order."""

    def check(self, attachments: Sequence[Attachment]) -> Dict[Attachment, CniError]:
        """The errors of those whose addresses are not reserved."""

    def held(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Optional[Result]]:
        """What each holds; None for nothing, or for what is not of this configuration."""

    def preview(self, count: int) -> List[Result]:
        """What the next ones would get, as far as that is known."""

    def stale(self, valid: Iterable[Claim]) -> List[Claim]:
        """Who holds addresses and is none of these, as far as that is known."""

    def collect(self, valid: Iterable[Claim]) -> None:
        """Release what belongs to none of these."""

    def status(self) -> None:
        """CniError if the next reservation would fail."""


class NoIpam:
    """A layer-2 network, or plugins behind one that has addresses."""

    def reserve(self, attachments: Sequence[Attachment]) -> Dict[Attachment, Union[Optional[Result], CniError]]:
        return dict.fromkeys(attachments)

    def prepare_release(self, attachments: Sequence[Attachment]) -> Callable[[], None]:
        return _nothing

    def check(self, attachments: Sequence[Attachment]) -> Dict[Attachment, CniError]:
        return {}

    def held(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Optional[Result]]:
        from ..spec.result import Result

        return {attachment: Result() for attachment in attachments}

    def preview(self, count: int) -> List[Result]:
        from ..spec.result import Result

        return [Result()] * count

    def stale(self, valid: Iterable[Claim]) -> List[Claim]:
        return []

    def collect(self, valid: Iterable[Claim]) -> None:
        pass

    def status(self) -> None:
        pass


def _nothing() -> None:
    pass


class OwnIpam:
    """podwire's host-local, for many attachments at once."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges

    def reserve(self, attachments: Sequence[Attachment]) -> Dict[Attachment, Union[Optional[Result], CniError]]:
        if not attachments:
            return {}
        answers = self._ranges.reserve([attachment.claim for attachment in attachments])
        return {attachment: answers[attachment.claim] for attachment in attachments}

    def prepare_release(self, attachments: Sequence[Attachment]) -> Callable[[], None]:
        return lambda: self._ranges.release(attachment.claim for attachment in attachments)

    def check(self, attachments: Sequence[Attachment]) -> Dict[Attachment, CniError]:
        held = self.held(attachments)
        return {attachment: self._ranges.lost(attachment.claim) for attachment in attachments if not held[attachment]}

    def held(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Optional[Result]]:
        claims = {attachment: attachment.claim for attachment in attachments}
        held = self._ranges.held(claims.values())
        return {attachment: held[claim] for attachment, claim in claims.items()}

    def preview(self, count: int) -> List[Result]:
        return self._ranges.preview(count) if count else []

    def stale(self, valid: Iterable[Claim]) -> List[Claim]:
        return self._ranges.stale(set(valid))

    def collect(self, valid: Iterable[Claim]) -> None:
        self._ranges.collect(set(valid))

    def status(self) -> None:
        self._ranges.require_address()


class DelegateIpam(NamedTuple):
    """The IPAM plugin ``type``, called for the one attachment of a call."""

    call: CmdArgs
    type: str

    def reserve(self, attachments: Sequence[Attachment]) -> Dict[Attachment, Union[Optional[Result], CniError]]:
        result = delegate.add(self.call, self.type)
        if not result.ips:
            self._release_after_error()
            raise CniError(CNI_INVALID_NETWORK_CONFIG, f"IPAM plugin {self.type} returned missing IP config")
        return {self.call.attachment: result}

    def prepare_release(self, attachments: Sequence[Attachment]) -> Callable[[], None]:
        return delegate.prepare_delete(self.call, self.type)

    def _release_after_error(self) -> None:
        try:
            delegate.delete(self.call, self.type)
        except PodwireError as error:
            import sys

            print(f"{self.call.conf.type}: {error}", file=sys.stderr)

    def check(self, attachments: Sequence[Attachment]) -> Dict[Attachment, CniError]:
        try:
            delegate.check(self.call, self.type)
        except PodwireError as error:
            return {self.call.attachment: as_cni_error(error)}
        return {}

    def held(self, attachments: Iterable[Attachment]) -> Dict[Attachment, Optional[Result]]:
        return dict.fromkeys(attachments)

    def preview(self, count: int) -> List[Result]:
        return []

    def stale(self, valid: Iterable[Claim]) -> List[Claim]:
        return delegate.stale(self.call, self.type)

    def collect(self, valid: Iterable[Claim]) -> None:
        delegate.collect(self.call, self.type)

    def status(self) -> None:
        delegate.status(self.call, self.type)
