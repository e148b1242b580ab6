"""One call of a plugin by the protocol of executables, and what answers it (CNI spec 1.1.0, section 2)."""

from __future__ import annotations

import sys

from ...errors import CNI_INVALID_ENVIRONMENT, CNI_INVALID_NETWORK_CONFIG, CniError
from ...startup_typing import TYPE_CHECKING, Callable, NamedTuple, Protocol
from .netconf import Attachment, NetConf
from .result import Result

if TYPE_CHECKING:
    from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Tuple

    from ...ipam.store import Claim

_ARGUMENTS = frozenset({"IgnoreUnknown", "IP", "MAC", "GATEWAY"})


class CmdArgs(NamedTuple):
    """The environment, what came on stdin, and what it means.

    ``attachment`` is empty for GC and STATUS. ``previous`` is the configuration's prevResult. ``load`` gives plugins
    of podwire's own by type, for those that delegate to one.
    """

    command: str
    attachment: Attachment
    conf: NetConf
    previous: Optional[Result]
    environ: Mapping[str, str]
    stdin: bytes
    load: Callable[[str], Commands]

    @property
    def search_path(self) -> List[str]:
        """CNI_PATH."""
        return [directory for directory in self.environ.get("CNI_PATH", "").split(":") if directory]

    def argument(self, key: str) -> str:
        """A value of CNI_ARGS, "" if it is not there. CniError 4 for arguments that no plugin knows.

        ``IP=`` is no error for bridge: it is meant for the IPAM plugin that gets the same environment.
        """
        return parse_arguments(self.environ.get("CNI_ARGS", "")).get(key, "")

    def require_previous(self) -> Result:
        """The prevResult; CniError 7 without."""
        if self.previous is None:
            raise lacks_previous(self.conf, self.command)
        return self.previous

    def valid_attachments(self) -> Optional[FrozenSet[Tuple[str, str]]]:
        """GC's (container id, interface name) that stay. None if the runtime does not say: nothing goes then."""
        listed = self.conf.data.get("cni.dev/valid-attachments")
        if listed is None:
            print(
                f"{self.conf.type}: no cni.dev/valid-attachments in network {self.conf.name}: nothing is collected",
                file=sys.stderr,
            )
            return None
        if not isinstance(listed, list):
            raise _malformed(listed)
        return frozenset(map(_valid_attachment, listed))


def lacks_previous(conf: NetConf, command: str) -> CniError:
    """The error for a chained plugin that comes first."""
    return CniError(
        CNI_INVALID_NETWORK_CONFIG,
        f"network {conf.name}, plugin {conf.type}: {command} needs a prevResult",
        "a chained plugin comes behind one that makes an interface",
    )


def _valid_attachment(data: Any) -> Tuple[str, str]:
    container_id, ifname = (data.get("containerID"), data.get("ifname")) if isinstance(data, dict) else ("", "")
    if not (isinstance(container_id, str) and container_id and isinstance(ifname, str) and ifname):
        raise _malformed(data)
    return container_id, ifname


def _malformed(value: Any) -> CniError:
    return CniError(
        CNI_INVALID_NETWORK_CONFIG,
        f"invalid cni.dev/valid-attachments: {value!r}",
        'it must be a list of {"containerID": ..., "ifname": ...}',
    )


def parse_arguments(text: str) -> Dict[str, str]:
    """CNI_ARGS (``K=V;K=V``); CniError 4 for what is malformed, or unknown without IgnoreUnknown=1."""
    values: Dict[str, str] = {}
    for pair in text.split(";") if text else ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CniError(CNI_INVALID_ENVIRONMENT, f"invalid CNI_ARGS: {pair!r} is not KEY=VALUE")
        values[key] = value
    ignore = values.get("IgnoreUnknown", "0").lower()
    if ignore not in ("0", "1", "true", "false"):
        raise CniError(CNI_INVALID_ENVIRONMENT, f"invalid CNI_ARGS: IgnoreUnknown={ignore!r}", "it must be 0 or 1")
    unknown = [key for key in values if key not in _ARGUMENTS]
    if unknown and ignore in ("0", "false"):
        raise CniError(
            CNI_INVALID_ENVIRONMENT, f"invalid CNI_ARGS: unknown {', '.join(unknown)}", "add IgnoreUnknown=1"
        )
    return values


class Commands(Protocol):
    """The commands of one plugin for one attachment. All raise PodwireError."""

    def add(self, call: CmdArgs) -> Result:
        """ADD."""

    def check(self, call: CmdArgs) -> None:
        """CHECK."""

    def delete(self, call: CmdArgs) -> None:
        """DEL."""

    def prepare_delete(self, call: CmdArgs) -> Callable[[], None]:
        """What does the DEL, with everything done that needs no order: for those who wait for something else."""

    def collect(self, call: CmdArgs) -> None:
        """GC."""

    def status(self, call: CmdArgs) -> None:
        """STATUS."""

    def stale(self, call: CmdArgs) -> List[Claim]:
        """Who holds addresses and is not listed as valid: what GC is going to release."""


class CommandsBase:
    """What most plugins have in common."""

    def add(self, call: CmdArgs) -> Result:
        """ADD."""
        raise NotImplementedError

    def check(self, call: CmdArgs) -> None:
        """Nothing is kept that could have changed."""

    def delete(self, call: CmdArgs) -> None:
        """Nothing is kept."""

    def prepare_delete(self, call: CmdArgs) -> Callable[[], None]:
        """All of it later."""
        return lambda: self.delete(call)

    def collect(self, call: CmdArgs) -> None:
        """Nothing is kept; what the runtime lists has to make sense all the same."""
        call.valid_attachments()

    def status(self, call: CmdArgs) -> None:
        """Always ready."""

    def stale(self, call: CmdArgs) -> List[Claim]:
        """None: it holds no addresses."""
        return []
