"""``podwire cni``: a drop-in for cnitool (cnitool/cnitool.go of containernetworking/cni).

============  =============================================================================
NETCONFPATH   directory of network configurations; /etc/cni/net.d if unset
CNI_PATH      directories of plugins, which must have all of them; podwire's own plugins if unset
CNI_ARGS      ``K=V;K=V``, for all plugins
CAP_ARGS      JSON object of values for capabilities
CNI_IFNAME    name of the container's interface; eth0 if unset
============  =============================================================================
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha512
from typing import Iterable, Optional, Sequence

from ..cni.plugins import PLUGINS
from ..cni.runtime.runtime import Runtime
from ..cni.spec.arguments import Arguments, parse_pairs
from ..cni.spec.invoke import find, missing, search_path
from ..cni.spec.netconf import Attachment, parse_object
from ..cni.spec.netlist import NetConfList, load
from ..errors import CniError

CONF_DIR = "/etc/cni/net.d"


def cni(command: str, network: str, netns: str, timeout: Optional[float] = None) -> int:
    """Run one command for the namespace at the path ``netns``; the result of ``add`` goes to stdout.

    ``gc`` collects everything, and ``status`` concerns no namespace: both need none. Raises CniError.
    """
    environ = os.environ
    capabilities = environ.get("CAP_ARGS") or "{}"
    declared = load(environ.get("NETCONFPATH") or CONF_DIR, network)
    directories = search_path(environ.get("CNI_PATH", ""))
    _require_all(declared, directories)
    runtime = Runtime(
        declared,
        PLUGINS,
        plugin_dirs=directories,
        arguments=Arguments(parse_pairs(environ.get("CNI_ARGS", "")), parse_object(capabilities, "CAP_ARGS")),
        timeout=timeout,
    )
    if command == "gc":
        _raise_first(runtime.collect([]))
        return 0
    if command == "status":
        runtime.status()
        return 0
    attachment = attachment_of(netns)
    if command == "add":
        answers = runtime.add([attachment])
        _raise_first(answers.errors.values())
        print(json.dumps(answers.results[attachment].to_json(runtime.network.cni_version), indent=4))
    elif command == "check":
        _raise_first(runtime.check([attachment]).values())
    else:
        _raise_first(runtime.delete([attachment]).values())
    return 0


def _require_all(network: NetConfList, directories: Sequence[str]) -> None:
    """With CNI_PATH, a plugin that is not there is missing, as for any runtime: podwire's own is not used instead."""
    for conf in network.plugins if directories else ():
        ipam = conf.data.get("ipam")
        kinds = [conf.type, ipam.get("type") if isinstance(ipam, dict) else None]
        for kind in kinds:
            if isinstance(kind, str) and kind and find(kind, directories) is None:
                raise missing(kind, directories)


def attachment_of(netns: str) -> Attachment:
    """As cnitool does: the container id is a digest of the namespace's path."""
    path = os.path.abspath(netns)
    digest = sha512(path.encode(errors="surrogateescape")).digest()[:10].hex()
    return Attachment(f"cnitool-{digest}", os.environ.get("CNI_IFNAME") or "eth0", path)


def _raise_first(errors: Iterable[CniError]) -> None:
    listed = list(errors)
    for error in listed[1:]:
        print(f"podwire: {error}", file=sys.stderr)
    if listed:
        raise listed[0]
