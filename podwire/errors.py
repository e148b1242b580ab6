"""Every error that podwire raises on purpose.

::

    PodwireError                 message and hint; a bug is anything else
    ├── IntentError              what was declared cannot be built (the user's words are in it)
    ├── ConflictError            something foreign holds what the intent needs
    ├── KernelError              the kernel refused an operation (errno, extended ack)
    │   ├── UnsupportedError     the kernel lacks the feature
    │   └── RollbackError        something failed, and going back from it as well
    ├── VerificationError        the kernel accepted, and yet shows something else
    ├── LabError                 a node, a sandbox or the underlay could not be made or entered
    ├── IpamError                an address could not be reserved or released
    │   └── ExhaustedError       every address of the ranges is reserved
    ├── ProofError               a probe could not be run (a failed guarantee is a result, not an error)
    ├── FaultError               a fault could not be injected or mended
    ├── ReportError              a report could not be read or written
    └── CniError                 a CNI error result: code, msg, details

Messages read ``failed to <verb> <object>: <cause>``; the hint says what to do about it.
"""

from __future__ import annotations

from .startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Well-known error codes, CNI spec 1.1.0 "Error". 100 and above are the plugin's own.
CNI_INCOMPATIBLE_VERSION = 1
CNI_UNSUPPORTED_FIELD = 2
CNI_UNKNOWN_CONTAINER = 3
CNI_INVALID_ENVIRONMENT = 4
CNI_IO_FAILURE = 5
CNI_DECODING_FAILURE = 6
CNI_INVALID_NETWORK_CONFIG = 7
CNI_INVALID_NETNS = 8
CNI_TRY_AGAIN_LATER = 11
CNI_NOT_AVAILABLE = 50
CNI_LIMITED_CONNECTIVITY = 51
CNI_KERNEL_FAILURE = 100
CNI_CONFLICT = 101


class PodwireError(Exception):
    """The base of all errors raised on purpose: a message for people, and a hint what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors come back from inside nodes by pickle, which would call __init__ with ``args`` alone.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[PodwireError], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> PodwireError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(attributes)
    return error


class IntentError(PodwireError):
    """The inventory declares something that cannot be built. Holds all problems, not the first."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class ConflictError(PodwireError):
    """Something that podwire does not own stands where the intent needs to put an object."""


class KernelError(PodwireError):
    """The kernel refused; ``errno`` is its answer (positive)."""

    def __init__(self, message: str, errno: int = 0, hint: str = "") -> None:
        super().__init__(message, hint)
        self.errno = errno


class UnsupportedError(KernelError):
    """This kernel lacks the feature that an object needs."""


class RollbackError(KernelError):
    """A change failed, and so did its rollback: names both. ``errno`` is the first failure's, 0 if it has none."""


class VerificationError(PodwireError):
    """After execution the kernel does not show what was desired."""


class LabError(PodwireError):
    """A node, a sandbox or the underlay of a lab could not be made, entered or removed."""


class IpamError(PodwireError):
    """An address could not be reserved or released."""


class ExhaustedError(IpamError):
    """Every address of the ranges is reserved."""


class ProofError(PodwireError):
    """A probe could not be run."""


class FaultError(PodwireError):
    """A fault could not be injected, or not be mended."""


class ReportError(PodwireError):
    """A report could not be read or written."""


class CniError(PodwireError):
    """An error result of the CNI specification."""

    def __init__(self, code: int, message: str, details: str | None = None) -> None:
        super().__init__(message, details or "")
        self.code = code
        self.details = details
