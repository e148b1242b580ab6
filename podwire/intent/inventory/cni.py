"""How pods are attached: the variable ``cni``."""

from __future__ import annotations

import json
import os
from typing import Any, List, Mapping, Tuple

from ...backend import BackendSettings, device_names
from ...model.device_name import is_device_name
from ..cluster import CniSettings
from .field import Field
from .names import is_network

_OWN = ("type", "name", "bridge", "hairpin")


def read_cni(variable: Field, backend: BackendSettings, source: str) -> CniSettings:
    """The settings; those that a ``conflist`` has are its own. ``source`` is the inventory's path."""
    fields = variable.mapping((*_OWN, "conflist", "plugin_dirs"))
    directories = _directories(fields["plugin_dirs"]) if "plugin_dirs" in fields else ()
    if "conflist" in fields:
        for key in _OWN:
            if key in fields:
                fields[key].fail("declared beside conflist", "write it in the conflist")
        return _of_list(fields["conflist"], source, directories)
    settings = _of_fields(fields, backend)
    return CniSettings(settings.type, settings.name, settings.bridge, settings.hairpin, plugin_dirs=directories)


def _of_fields(fields: Mapping[str, Field], backend: BackendSettings) -> CniSettings:
    default = CniSettings()
    name = (fields["name"].text(default.name) if "name" in fields else None) or default.name
    if not is_network(name):
        right = "write letters, digits, '.', '_' and '-' after a first letter or digit"
        fields["name"].fail("not a network name of the CNI specification", right)
    bridge = (fields["bridge"].text(default.bridge) if "bridge" in fields else None) or default.bridge
    if not is_device_name(bridge):
        fields["bridge"].fail(
            "not a device name", "write up to 15 characters without space, '/', ':' and '%', e.g. cni0"
        )
    if bridge in device_names(backend) or bridge == "lo" or (bridge.startswith("eth") and bridge[3:].isdigit()):
        fields["bridge"].fail("the name of another device of the node", "write a name of its own, e.g. cni0")
    return CniSettings(
        type=fields["type"].choice(("bridge", "ptp"), default.type) if "type" in fields else default.type,
        name=name,
        bridge=bridge,
        hairpin=fields["hairpin"].boolean(default.hairpin) if "hairpin" in fields else default.hairpin,
    )


def _directories(variable: Field) -> Tuple[str, ...]:
    paths: List[str] = []
    for item in variable.items("[/usr/lib/cni]"):
        path = item.text("/usr/lib/cni")
        if path is not None and not path.startswith("/"):
            item.fail("not an absolute path", "write where it is on the nodes, e.g. /usr/lib/cni")
        elif path is not None:
            paths.append(path)
    return tuple(paths)


def _of_list(variable: Field, source: str, directories: Tuple[str, ...]) -> CniSettings:
    """What a network configuration list says: a path beside the inventory, or the list itself."""
    default = CniSettings(plugin_dirs=directories)
    data: Any = variable.value
    if isinstance(data, str):
        folder = source if os.path.isdir(source) else os.path.dirname(source)
        path = os.path.join(folder, data)
        try:
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
        except OSError as error:
            variable.fail(f"failed to read {path}: {error.strerror}", "write its path from the inventory's directory")
            return default
        except ValueError as error:
            variable.fail(f"{path} is not JSON: {error}", "write a network configuration list of the CNI specification")
            return default
    right = "write {cniVersion: 1.0.0, name: mynet, plugins: [{type: bridge}]}"
    if not isinstance(data, Mapping):
        variable.fail("not a network configuration list", right)
        return default
    plugins = data.get("plugins")
    if not isinstance(plugins, list) or not plugins or not all(_is_plugin(plugin) for plugin in plugins):
        variable.fail("plugins is not a list of mappings with a type", right)
        return default
    name = data.get("name")
    if not isinstance(name, str) or not is_network(name):
        variable.fail(f"name {name!r} is not a network name of the CNI specification", right)
        return default
    bridge = next((plugin for plugin in plugins if plugin["type"] == "bridge"), None)
    device = str((bridge or {}).get("bridge") or default.bridge)
    if not is_device_name(device):
        variable.fail(f"bridge {device!r} is not a device name", "write up to 15 characters, e.g. cni0")
        return default
    kind = "ptp" if bridge is None and plugins[0]["type"] != "flannel" else "bridge"
    return CniSettings(kind, name, device, conflist=json.dumps(data, indent=2, default=str), plugin_dirs=directories)


def _is_plugin(data: Any) -> bool:
    return isinstance(data, Mapping) and isinstance(data.get("type"), str) and "/" not in data["type"]
