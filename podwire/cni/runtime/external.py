"""One plugin of a list, called attachment by attachment: a foreign one is executed, one of podwire's runs in this
process as it does in one of its own."""

from __future__ import annotations

import json

from ...errors import CNI_DECODING_FAILURE, CniError, PodwireError
from ...kernel import Namespace, execute, link_of
from ...plan import CHANGE, Operation
from ...startup_typing import TYPE_CHECKING
from .. import skel
from ..engine.step import Answers
from ..plugins.base import NODE
from ..plugins.naming import ALIAS
from ..spec import invoke
from ..spec.failure import as_cni_error
from ..spec.netconf import Attachment, NetConf, parse_object
from ..spec.result import Result

if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Set

    from ...ipam.store import Claim

#: Where podwire's own plugins look for delegates if no directory is named.
_DIRECTORIES = ("/opt/cni/bin",)


class External:
    """The plugin of ``conf``, which is configured with the capabilities' arguments already.

    path:        its executable; None for podwire's own.
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

    # --- for many ------------------------------------------------------------------------------------

    def add(self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]) -> Answers:
        """ADD, one after the other. A foreign plugin that fails or is interrupted gets a DEL, unless the interface was
        there before: then it is another's, and not what this ADD made."""
        answers = Answers({}, {})
        begun: List[Attachment] = []
        bridge = self._bridge_to_come()
        try:
            for attachment in attachments:
                if attachment in previous or is_vacant(attachment):
                    begun.append(attachment)
                try:
                    answers.results[attachment] = self.add_one(attachment, previous.get(attachment))
                except CniError as error:
                    answers.errors[attachment] = error
                    self._undo([attachment] if attachment in begun else [])
        except BaseException:
            self._undo([attachment for attachment in begun if attachment not in answers.errors])
            raise
        if bridge and answers.results:
            _mark(bridge)
        return answers

    def check(self, previous: Mapping[Attachment, Result]) -> Dict[Attachment, CniError]:
        """CHECK."""
        return self._for_each("CHECK", list(previous), previous)

    def delete(
        self, attachments: Sequence[Attachment], previous: Mapping[Attachment, Result]
    ) -> Dict[Attachment, CniError]:
        """DEL."""
        return self._for_each("DEL", attachments, previous)

    def _for_each(
        self, command: str, attachments: Iterable[Attachment], previous: Mapping[Attachment, Result]
    ) -> Dict[Attachment, CniError]:
        errors: Dict[Attachment, CniError] = {}
        for attachment in attachments:
            try:
                self._call(command, attachment, previous.get(attachment))
            except CniError as error:
                errors[attachment] = error
        return errors

    def _undo(self, attachments: Sequence[Attachment]) -> None:
        """What goes wrong here is left to the DEL that the specification wants of whoever asked for the ADD; podwire's
        own plugins have undone what they did."""
        if self._path is not None:
            self._for_each("DEL", attachments, {})

    def collect(self, valid: Sequence[Attachment]) -> None:
        """GC: everything but these is stale. The second key is the one that the specification once named."""
        listed = [{"containerID": each.container_id, "ifname": each.ifname} for each in valid]
        self._call("GC", None, None, {"cni.dev/valid-attachments": listed, "cni.dev/attachments": listed})

    def status(self) -> None:
        """STATUS."""
        self._call("STATUS", None, None)

    def devices(self, attachment: Attachment) -> Set[str]:
        """Nobody knows."""
        return set()

    def stale(self, valid: Iterable[Claim]) -> List[Claim]:
        """Nobody knows."""
        return []

    # --- for one -------------------------------------------------------------------------------------

    def add_one(self, attachment: Attachment, previous: Optional[Result]) -> Result:
        """ADD. CniError, the plugin's own if it has one."""
        answer = self._call("ADD", attachment, previous)
        if answer is None:
            raise CniError(CNI_DECODING_FAILURE, f"plugin {self._conf.type} gave no result")
        return Result.from_json(answer)

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
                raise as_cni_error(error) from error
        answer = invoke.call(self._path, environ, stdin, self._timeout)
        if command != "ADD":  # some plugins print a result after DEL
            return None
        return parse_object(answer.decode(errors="replace"), f"result of {self._path}")

    # --- a bridge that it makes ----------------------------------------------------------------------

    def _bridge_to_come(self) -> str:
        """The bridge that a foreign plugin is going to make for podwire; "" for none, or one that is there."""
        name = self._conf.data.get("bridge") or "cni0"
        if self._conf.type != "bridge" or self._path is None or not isinstance(name, str):
            return ""
        with Namespace.current(NODE) as node:
            return name if link_of(node, name) is None else ""


def _mark(name: str) -> None:
    """Have a bridge known as podwire's own, so that it is removed with the lab."""
    with Namespace.current(NODE) as node:
        link = link_of(node, name)
        if link is not None and link.kind == "bridge" and link.alias is None:
            execute([(node, Operation(CHANGE, link._replace(alias=ALIAS), link))], {})


def is_vacant(attachment: Attachment) -> bool:
    """Whether the container has no interface of that name."""
    try:
        with Namespace.open(attachment.netns, attachment.name) as pod:
            return link_of(pod, attachment.ifname) is None
    except (PodwireError, ValueError):
        return True
