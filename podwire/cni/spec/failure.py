"""Error results (CNI spec 1.1.0, section 5)."""

from __future__ import annotations

from ...errors import (
    CNI_CONFLICT,
    CNI_IO_FAILURE,
    CNI_KERNEL_FAILURE,
    CNI_NOT_AVAILABLE,
    CniError,
    ConflictError,
    ExhaustedError,
    IpamError,
    PodwireError,
)
from ...startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, Dict


def as_cni_error(error: Exception) -> CniError:
    """Which error result an exception is."""
    if isinstance(error, CniError):
        return error
    if isinstance(error, OSError):
        return CniError(CNI_IO_FAILURE, f"input or output failed: {error}")
    if not isinstance(error, PodwireError):
        return CniError(CNI_KERNEL_FAILURE, f"unexpected {type(error).__name__}: {error}", "this is a bug in podwire")
    code = CNI_KERNEL_FAILURE
    if isinstance(error, ExhaustedError):
        code = CNI_NOT_AVAILABLE
    elif isinstance(error, ConflictError):
        code = CNI_CONFLICT
    elif isinstance(error, IpamError):
        code = CNI_IO_FAILURE if isinstance(error.__cause__, OSError) else CNI_CONFLICT
    return CniError(code, error.message, error.hint)


def failure_json(error: CniError, version: str) -> Dict[str, Any]:
    """An error result as JSON objects."""
    data: Dict[str, Any] = {"cniVersion": version, "code": error.code, "msg": error.message}
    if error.details:
        data["details"] = error.details
    return data
