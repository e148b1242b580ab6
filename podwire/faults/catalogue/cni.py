"""Configuration, plugins and the lease's file: what an ADD needs. Pods that are attached do not notice."""

from __future__ import annotations

import json
import os
from typing import List

from ...cni.spec.invoke import find
from ...errors import FaultError
from ...intent.projection import SUBNET_ENV
from ...sandbox.conflist import CONF_DIR
from .. import requirements
from ..context import Context
from ..edit import Edit, SetResource
from ..fault import Fault
from ..files import MISSING, NOT_EXECUTABLE, FileText, Plugin
from ..places import NODE
from ..symptom import Symptom

_MODE = 0o644


def _lists() -> List[str]:
    names = sorted(os.listdir(CONF_DIR)) if os.path.isdir(CONF_DIR) else []
    found = [os.path.join(CONF_DIR, name) for name in names if name.endswith(".conflist")]
    if not found:
        raise FaultError(f"failed to find a network configuration list in {CONF_DIR}: there is none")
    return found


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _write(path: str, text: str) -> SetResource:
    return SetResource(NODE, FileText(path), {"text": text, "mode": _MODE})


def _conf_missing(context: Context) -> List[Edit]:
    return [SetResource(NODE, FileText(path), None) for path in _lists()]


def _conf_malformed(context: Context) -> List[Edit]:
    path = _lists()[0]
    text = _text(path)
    return [_write(path, text[: len(text) // 2])]


def _version_unsupported(context: Context) -> List[Edit]:
    path = _lists()[0]
    return [_write(path, json.dumps({**json.loads(_text(path)), "cniVersion": "9.9.9"}, indent=2) + "\n")]


def _no_version(context: Context) -> List[Edit]:
    path = _lists()[0]
    data = json.loads(_text(path))
    del data["cniVersion"]
    return [_write(path, json.dumps(data, indent=2) + "\n")]


def _shadowed(context: Context) -> List[Edit]:
    ipam = {"type": "host-local", "subnet": "192.168.222.0/24", "routes": [{"dst": "0.0.0.0/0"}]}
    plugin = {"type": "ptp", "ipMasq": False, "ipam": ipam}
    text = json.dumps({"cniVersion": "1.0.0", "name": "leftover", "plugins": [plugin]}, indent=2) + "\n"
    return [_write(f"{CONF_DIR}/00-leftover.conflist", text)]


def _main_plugin(context: Context) -> Plugin:
    kind = str(json.loads(_text(_lists()[0]))["plugins"][0]["type"])
    path = find(kind, context.plugin_dirs)
    if path is None:
        raise FaultError(f"failed to find plugin {kind} in {', '.join(context.plugin_dirs)}")
    return Plugin(path)


def _lease_missing(context: Context) -> List[Edit]:
    return [SetResource(NODE, FileText(SUBNET_ENV), None)]


def _lease_stale(context: Context) -> List[Edit]:
    mine, theirs = context.block(context.node), context.block(context.peer)
    return [_write(SUBNET_ENV, _text(SUBNET_ENV).replace(str(mine[1]), str(theirs[1])))]


def _add(*after: str, probe: str = "add") -> Symptom:
    return Symptom(probe, "node", "gateway", frozenset(after))


_REQUIRED = (requirements.PLUGINS, requirements.POD)
FAULTS = (
    Fault(
        "cni_conf_missing", 1, "cni", "no network configuration list: runtimes say the network is not ready",
        "mv /etc/cni/net.d/*.conflist /root", _conf_missing, _add("failed"), requires=_REQUIRED,
    ),
    Fault(
        "cni_conf_malformed", 2, "cni", "the network configuration list is cut off in the middle",
        "truncate -s 100 /etc/cni/net.d/10-podwire.conflist", _conf_malformed, _add("failed"), requires=_REQUIRED,
    ),
    Fault(
        "cni_binary_missing", 3, "cni", "the plugin that the list names is not installed",
        "mv /opt/cni/bin/bridge /root", lambda g: [SetResource(NODE, _main_plugin(g), MISSING)], _add("failed"),
        requires=_REQUIRED,
    ),
    Fault(
        "cni_binary_not_executable", 4, "cni", "the plugin is not executable",
        "chmod -x /opt/cni/bin/bridge", lambda g: [SetResource(NODE, _main_plugin(g), NOT_EXECUTABLE)],
        _add("failed"), requires=_REQUIRED,
    ),
    Fault(
        "cni_conf_shadowed", 5, "cni", "a leftover list sorts first: new pods join another network",
        "cp old.conflist /etc/cni/net.d/00-leftover.conflist", _shadowed, _add("foreign address"),
        requires=(*_REQUIRED, requirements.IPV4),
    ),
    Fault(
        "subnet_env_missing", 6, "cni", "flannel's lease file is gone: its plugin cannot ADD",
        "rm /run/flannel/subnet.env", _lease_missing, _add("failed", probe="flannel"),
        requires=(requirements.PLUGINS, requirements.IPV4),
    ),
    Fault(
        "subnet_env_stale", 6, "cni", "flannel's lease file has another node's pod CIDR",
        "sed -i s/10.244.0.1/10.244.1.1/ /run/flannel/subnet.env", _lease_stale,
        _add("foreign address", probe="flannel"), requires=(requirements.PLUGINS, requirements.IPV4, requirements.PEER),
        parameters=("peer",),
    ),
    Fault(
        "cni_version_unsupported", 7, "cni", "the list asks for a version that no plugin speaks",
        "sed -i 's/\"cniVersion\": .*/\"cniVersion\": \"9.9.9\",/' /etc/cni/net.d/10-podwire.conflist",
        _version_unsupported, _add("failed"), requires=_REQUIRED,
    ),
    Fault(
        "cni_version_missing", 7, "cni", "the list names no version: it counts as 0.1.0, without CHECK, GC and STATUS",
        "sed -i '/cniVersion/d' /etc/cni/net.d/10-podwire.conflist", _no_version,
        quiet="ADD works with plugins that still speak 0.1.0; what breaks later is not noticed", requires=_REQUIRED,
    ),
)  # fmt: skip
