"""From a network's list to the steps of its chain: which plugins run here, and which are executed."""

from __future__ import annotations

from ...startup_typing import TYPE_CHECKING, Union
from .. import skel
from ..engine.batch import Batch
from ..engine.plugin import Plugin
from ..spec import invoke
from ..spec.arguments import Arguments
from ..spec.invoke import is_ours
from ..spec.netconf import NetConf
from ..spec.netlist import NetConfList
from .external import Executed

if TYPE_CHECKING:
    from typing import List, Mapping, Optional, Sequence, Tuple

Chain = tuple[Union[Batch, Executed], ...]


def make_chain(
    network: NetConfList,
    plugins: Mapping[str, Plugin],
    directories: Sequence[str],
    arguments: Arguments,
    lock: str,
    timeout: Optional[float],
) -> Chain:
    """The steps, in the order of ADD. CniError for a plugin that is neither here nor in the directories."""
    steps: List[Union[Batch, Executed]] = []
    together: List[Tuple[NetConf, Plugin]] = []
    for declared in network.plugins:
        conf = arguments.configure(declared)
        if _runs_here(conf, plugins, directories, arguments):
            together.append((conf, plugins[conf.type]))
            continue
        if together:
            steps.append(Batch(network.name, together, lock))
            together = []
        path = invoke.find(conf.type, directories)
        if path is not None and conf.type in skel.PLUGINS and is_ours(path):
            path = None
        elif path is None and conf.type not in skel.PLUGINS:
            raise invoke.missing(conf.type, directories)
        steps.append(Executed(conf, path, directories, arguments.text, timeout))
    if together:
        steps.append(Batch(network.name, together, lock))
    return tuple(steps)


def _runs_here(conf: NetConf, plugins: Mapping[str, Plugin], directories: Sequence[str], arguments: Arguments) -> bool:
    """Whether a plugin and its IPAM are podwire's own, and there is nothing that only an execution takes:
    arguments of one attachment, which a batch of many has no place for."""
    if conf.type not in plugins or arguments.pairs or conf.data.get("runtimeConfig"):
        return False
    ipam = conf.data.get("ipam")
    kinds = [conf.type]
    if isinstance(ipam, dict) and isinstance(ipam.get("type"), str):
        kinds.append(ipam["type"])
    paths = [invoke.find(kind, directories) for kind in kinds]
    return all(path is None or is_ours(path) for path in paths)
