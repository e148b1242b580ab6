"""One plugin of a list, run attachment by attachment: a foreign one is executed, one of podwire's is called."""

from __future__ import annotations

import json

from ...errors import CNI_DECODING_FAILURE, CniError
from ...startup_typing import TYPE_CHECKING
from .. import skel
from ..spec import invoke
from ..spec.netconf import Attachment, NetConf, parse_object
from ..spec.result import Result

if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Mapping, Optional, Sequence

#: Where podwire's own plugins look for delegates if no directory is named.
_DIRECTORIES = ("/opt/cni/bin",)


class Executed:
    """The plugin of ``conf``, which is configured with the capabilities' arguments already.

    path:        its executable; None for podwire's own, which run in this process as they do in one of their own.
    directories: what it finds its delegates in.
    arguments:   CNI_ARGS.
    timeout:     seconds until an executable is killed.
    """

    def __init__(
        self,
        conf: NetConf,
        path: Optional[str],
        directories: Sequence[str],
        arguments: str = "",
        timeout: Optional[float] = None,
    ) -> None:
        self._conf = conf
        self._path = path
        self._directories = directories or _DIRECTORIES
        self._arguments = arguments
        self._timeout = timeout

    def add(self, attachment: Attachment, previous: Optional[Result]) -> Result:
        """ADD. CniError, the plugin's own if it has one."""
        said = self._call("ADD", attachment, previous)
        if said is None:
            raise CniError(CNI_DECODING_FAILURE, f"plugin {self._conf.type} gave no result")
        return Result.from_json(said)

    def check(self, attachment: Attachment, previous: Result) -> None:
        """CHECK."""
        self._call("CHECK", attachment, previous)

    def remove(self, attachment: Attachment, previous: Optional[Result]) -> None:
        """DEL."""
        self._call("DEL", attachment, previous)

    def collect(self, valid: Iterable[Attachment]) -> None:
        """GC: everything but these is stale. The second key is the one that the specification once named."""
        listed = [{"containerID": each.container_id, "ifname": each.ifname} for each in valid]
        self._call("GC", None, None, {"cni.dev/valid-attachments": listed, "cni.dev/attachments": listed})

    def status(self) -> None:
        """STATUS."""
        self._call("STATUS", None, None)

    def _call(
        self,
        command: str,
        attachment: Optional[Attachment],
        previous: Optional[Result],
        more: Optional[Mapping[str, Any]] = None,
    ) -> Optional[Mapping[str, Any]]:
        """What the plugin answers, as JSON objects; None for nothing."""
        conf: Dict[str, Any] = {**self._conf.data, **(more or {})}
        conf.update(name=self._conf.name, cniVersion=self._conf.cni_version)
        if previous is not None:
            conf["prevResult"] = previous.to_json(self._conf.cni_version)
        environ = invoke.environment(command, attachment, self._directories, self._arguments)
        stdin = json.dumps(conf).encode()
        if self._path is None:
            try:
                return skel.run(self._conf.type, environ, stdin)
            except Exception as error:
                raise skel.as_cni_error(error) from error
        said = invoke.call(self._path, environ, stdin, self._timeout)
        if command != "ADD":  # some plugins print a result after DEL
            return None
        return parse_object(said.decode(errors="replace"), f"result of {self._path}")
