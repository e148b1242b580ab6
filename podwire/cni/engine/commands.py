"""A plugin that is a projection, as an executable has it: the engine with one attachment."""

from __future__ import annotations

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...startup_typing import TYPE_CHECKING
from ..spec.cmdargs import CmdArgs, CommandsBase
from .ipam import DelegateIpam, NoIpam

if TYPE_CHECKING:
    from typing import Dict

    from ..plugins.plugin import Plugin
    from ..spec.netconf import Attachment, NetConf
    from ..spec.result import Result
    from .engine import Engine
    from .ipam import Ipam
    from .removal import Removal


class EngineCommands(CommandsBase):
    """The commands of one plugin."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def add(self, call: CmdArgs) -> Result:
        """The result, with everything in the kernel."""
        answers = self._engine(call).add([call.attachment], _previous(call))
        _raise(answers.errors)
        return answers.results[call.attachment]

    def check(self, call: CmdArgs) -> None:
        """What ADD made is still there."""
        call.require_previous()
        _raise(self._engine(call).check(_previous(call)))

    def delete(self, call: CmdArgs) -> None:
        """Whatever there is of it, goes."""
        _raise(self._removal(call).delete([call.attachment], _previous(call)))

    def collect(self, call: CmdArgs) -> None:
        """What belongs to attachments that are not listed goes."""
        valid = call.valid_attachments()
        if valid is not None:
            from ..spec.netconf import Attachment

            self._removal(call).collect([Attachment(*pair) for pair in sorted(valid)])

    def status(self, call: CmdArgs) -> None:
        """As ready as IPAM is."""
        self._removal(call).status()

    def _engine(self, call: CmdArgs) -> Engine:
        from .engine import Engine

        return Engine(call.conf.name, [(self._with_mac(call), self._plugin)], self._ipam(call))

    def _removal(self, call: CmdArgs) -> Removal:
        from .removal import Removal

        return Removal(call.conf.name, [(call.conf, self._plugin)], self._ipam(call))

    def _with_mac(self, call: CmdArgs) -> NetConf:
        """The configuration with what only the environment has (CNI_ARGS)."""
        mac = call.argument("MAC") if self._plugin.makes_interface else ""
        if not mac:
            return call.conf
        args = dict(call.conf.data.get("args") or {})
        args["cni"] = {"mac": mac, **(args.get("cni") or {})}
        return call.conf.with_data({**call.conf.data, "args": args})

    def _ipam(self, call: CmdArgs) -> Ipam:
        kind = _ipam_type(call.conf) if self._plugin.makes_interface else ""
        return DelegateIpam(call, kind) if kind else NoIpam()


def _ipam_type(conf: NetConf) -> str:
    """The configuration's ``ipam.type``, "" without ipam; CniError 7 if it is none."""
    data = conf.data.get("ipam")
    kind = data.get("type") if isinstance(data, dict) else None
    if not data or (not kind and isinstance(data, dict)):
        return ""
    if not isinstance(kind, str):
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {conf.name}: invalid ipam: {data!r}")
    return kind


def _previous(call: CmdArgs) -> Dict[Attachment, Result]:
    return {} if call.previous is None else {call.attachment: call.previous}


def _raise(errors: Dict[Attachment, CniError]) -> None:
    for error in errors.values():
        raise error
