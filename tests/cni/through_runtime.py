"""A plugin of podwire as an executable that goes by the runtime's chain: the engine as it runs for many attachments.

The environment and stdin are those of the protocol; addresses come from the runtime's own IPAM.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Any, Dict, Iterable, List

from podwire.cni import skel
from podwire.cni.engine.step import Step
from podwire.cni.plugins.bridge import PLUGIN as bridge
from podwire.cni.plugins.firewall import PLUGIN as firewall
from podwire.cni.plugins.portmap import PLUGIN as portmap
from podwire.cni.plugins.ptp import PLUGIN as ptp
from podwire.cni.runtime.chain import make_chain
from podwire.cni.spec.arguments import Arguments, parse_pairs
from podwire.cni.spec.cmdargs import CmdArgs, CommandsBase
from podwire.cni.spec.netconf import Attachment
from podwire.cni.spec.netlist import NetConfList
from podwire.cni.spec.registry import PLUGINS
from podwire.cni.spec.result import Result

ROOT = Path(__file__).resolve().parents[2]


class ThroughRuntime(CommandsBase):
    """The commands of a plugin, each by a step of a list that has this plugin alone."""

    def add(self, call: CmdArgs) -> Result:
        answers = _step(call).add([call.attachment], _previous(call))
        _raise(answers.errors.values())
        return answers.results[call.attachment]

    def check(self, call: CmdArgs) -> None:
        call.require_previous()
        _raise(_step(call).check(_previous(call)).values())

    def delete(self, call: CmdArgs) -> None:
        _raise(_step(call).delete([call.attachment], _previous(call)).values())

    def collect(self, call: CmdArgs) -> None:
        valid = call.valid_attachments()
        if valid is not None:
            _step(call).collect([Attachment(*pair) for pair in valid])

    def status(self, call: CmdArgs) -> None:
        _step(call).status()


def _step(call: CmdArgs) -> Step:
    conf = call.conf
    network = NetConfList(conf.cni_version, conf.name, (conf,), "")
    plugins = {plugin.type: plugin for plugin in (bridge, firewall, portmap, ptp)}
    arguments = Arguments(parse_pairs(call.environ.get("CNI_ARGS", "")))
    [step] = make_chain(network, plugins, call.search_path, arguments, None)
    return step


def _previous(call: CmdArgs) -> Dict[Attachment, Result]:
    return {} if call.previous is None else {call.attachment: call.previous}


def _raise(errors: Iterable[Exception]) -> None:
    for error in errors:
        raise error


def main(plugin: str) -> int:
    """One call. What the step loads itself, such as a delegate, is as it always is."""
    load = skel.load

    def once(_: str) -> Any:
        skel.load = load
        return ThroughRuntime()

    skel.load = once
    return skel.main(plugin, dict(os.environ), sys.stdin.buffer, sys.stdout.buffer)


def install(directory: Path) -> List[str]:
    """Scripts of all plugins in a directory; their names."""
    directory.mkdir()
    for name in PLUGINS:
        script = directory / name
        lines = (
            f"#!{sys.executable}",
            "# podwire's plugin, by the runtime",
            f"import sys; sys.path.insert(0, {str(ROOT)!r})",
            "from tests.cni.through_runtime import main",
            f"sys.exit(main({name!r}))",
            "",
        )
        script.write_text("\n".join(lines))
        script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return list(PLUGINS)
