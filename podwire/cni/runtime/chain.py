"""From a network's list to the steps of its chain: which plugins run in this process for many attachments, and which
are called attachment by attachment."""

from __future__ import annotations

from ...errors import CNI_INVALID_NETWORK_CONFIG, CniError
from ...startup_typing import TYPE_CHECKING
from ..engine.engine import Engine
from ..engine.ipam import NoIpam, OwnIpam
from ..plugins.host_local import Ranges
from ..plugins.plugin import Plugin
from ..spec import invoke
from ..spec.arguments import Arguments
from ..spec.invoke import is_ours
from ..spec.keys import canonical
from ..spec.netconf import NetConf
from ..spec.netlist import NetConfList
from ..spec.registry import PLUGINS
from .external import External

if TYPE_CHECKING:
    from typing import List, Mapping, Optional, Sequence, Tuple

    from ..engine.ipam import Ipam
    from ..engine.step import Step


def make_chain(
    network: NetConfList,
    plugins: Mapping[str, Plugin],
    directories: Sequence[str],
    arguments: Arguments,
    timeout: Optional[float],
    *,
    exact: bool = False,
) -> Tuple[Step, ...]:
    """The steps, in the order of ADD. CniError for a plugin that is neither here nor in the directories."""
    steps: List[Step] = []
    together: List[Tuple[NetConf, Plugin]] = []
    for declared in network.plugins:
        conf = arguments.configure(declared)
        if _runs_here(conf, plugins, directories, arguments):
            together.append((conf.with_data(canonical(conf.data)), plugins[conf.type]))
            continue
        if together:
            steps.append(_engine(network.name, together, exact))
            together = []
        path = invoke.find(conf.type, directories)
        if path is not None and conf.type in PLUGINS and is_ours(path):
            path = None
        elif path is None and conf.type not in PLUGINS:
            raise invoke.missing(conf.type, directories)
        steps.append(External(conf, path, directories, arguments.text, timeout))
    if together:
        steps.append(_engine(network.name, together, exact))
    return tuple(steps)


def _engine(name: str, chain: Sequence[Tuple[NetConf, Plugin]], exact: bool) -> Engine:
    with_ipam = [conf for conf, _ in chain if conf.data.get("ipam")]
    if len(with_ipam) > 1:
        raise CniError(CNI_INVALID_NETWORK_CONFIG, f"network {name}: more than one plugin has ipam")
    ipam: Ipam = OwnIpam(Ranges(with_ipam[0])) if with_ipam else NoIpam()
    return Engine(name, chain, ipam, exact=exact)


def _runs_here(conf: NetConf, plugins: Mapping[str, Plugin], directories: Sequence[str], arguments: Arguments) -> bool:
    """Whether a plugin and its IPAM are podwire's own, and there is nothing that is for one attachment alone."""
    if conf.type not in plugins or arguments.pairs or conf.data.get("runtimeConfig") or conf.data.get("args"):
        return False
    ipam = conf.data.get("ipam")
    kinds = [conf.type]
    if ipam:
        if not isinstance(ipam, dict) or ipam.get("type") != "host-local":
            return False
        kinds.append("host-local")
    paths = [invoke.find(kind, directories) for kind in kinds]
    return all(path is None or is_ours(path) for path in paths)
