"""A node's files: CNI configuration, libcni's cache, host-local's leases, flannel's subnet.env."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Dict, List, Optional, Tuple

from ..ipam.store import DATA_DIR, Claim
from .records import Attachment, Conflist, Leases, NodeFiles

CONFIG_DIR = "/etc/cni/net.d"
RESULTS = "/var/lib/cni/results"
SUBNET_ENV = "/run/flannel/subnet.env"


def read() -> NodeFiles:
    """All of them; one that does not exist is empty, one that cannot be read has an error."""
    lists = conflists()
    return {
        "conflists": lists,
        "attachments": attachments(),
        "reservations": reservations(_data_dirs(lists)),
        "subnet_env": subnet_env(),
    }


def conflists() -> List[Conflist]:
    """Network configurations as runtimes read them (libcni ConfFiles: .conf, .conflist, .json), in their order."""
    lists: List[Conflist] = []
    with suppress(OSError):
        for name in sorted(os.listdir(CONFIG_DIR)):
            if not name.endswith((".conf", ".conflist", ".json")):
                continue
            data, error = _json(os.path.join(CONFIG_DIR, name))
            if not isinstance(data, dict):
                lists.append({"file": name, "name": "", "plugins": [], "error": error or "not a JSON object"})
                continue
            plugins = data.get("plugins") or [data]
            named: Conflist = {
                "file": name, "name": data.get("name", ""), "version": data.get("cniVersion"), "plugins": []
            }  # fmt: skip
            if isinstance(plugins, list):
                named["plugins"] = plugins
            else:
                named["error"] = "plugins is not a list"
            lists.append(named)
    return lists


def attachments() -> List[Attachment]:
    """libcni's cached ADDs (libcni/api.go, cachedInfo)."""
    rows: List[Attachment] = []
    with suppress(OSError):
        for name in sorted(os.listdir(RESULTS)):
            data, _ = _json(os.path.join(RESULTS, name))
            if not isinstance(data, dict) or "containerId" not in data:
                continue
            arguments = dict(pair for pair in data.get("cniArgs") or () if len(pair) == 2)
            pod = arguments.get("K8S_POD_NAME", "")
            space = arguments.get("K8S_POD_NAMESPACE", "")
            result = data.get("result") or {}
            ips, interfaces = result.get("ips") or (), result.get("interfaces") or ()
            rows.append(
                {
                    "network": data.get("networkName", ""),
                    "container": data["containerId"],
                    "ifname": data.get("ifName", ""),
                    "netns": data.get("netns") or "",
                    "pod": f"{space}.{pod}" if pod and space else pod,
                    "ips": [ip["address"].partition("/")[0] for ip in ips if "address" in ip],
                    "interfaces": [
                        {"name": it.get("name", ""), "mac": it.get("mac", ""), "sandbox": it.get("sandbox", "")}
                        for it in interfaces
                    ],
                }
            )
    return rows


def reservations(directories: List[str]) -> Leases:
    """Network -> address -> [container id, ifname], of all networks of host-local (and of podwire's IPAM)."""
    leases: Leases = {}
    for directory in directories:
        with suppress(OSError):
            for network in sorted(os.listdir(directory)):
                if not network.startswith("."):
                    leases.setdefault(network, {}).update(_network(os.path.join(directory, network)))
    return leases


def _network(directory: str) -> Dict[str, List[str]]:
    held: Dict[str, List[str]] = {}
    with suppress(OSError):
        for name in sorted(os.listdir(directory)):
            if name[:1] not in "0123456789abcdef:" or not ("." in name or ":" in name):
                continue
            with suppress(OSError), open(os.path.join(directory, name), "rb") as file:
                held[name.replace("_", ":")] = list(Claim.parse(file.read(4096)))
    return held


def subnet_env() -> Dict[str, str]:
    """What flannel leaves for its plugin: FLANNEL_SUBNET and its like."""
    with suppress(OSError), open(SUBNET_ENV, encoding="utf-8", errors="replace") as file:
        return {key.strip(): value.strip() for key, mark, value in (line.partition("=") for line in file) if mark}
    return {}


def _data_dirs(lists: List[Conflist]) -> List[str]:
    """Where the configured host-locals keep their leases."""
    configured = [
        plugin.get("ipam") or {} for conflist in lists for plugin in conflist["plugins"] if isinstance(plugin, dict)
    ]
    named = [str(ipam["dataDir"]) for ipam in configured if isinstance(ipam, dict) and ipam.get("dataDir")]
    return list(dict.fromkeys([DATA_DIR, *named]))


def _json(path: str) -> Tuple[object, Optional[str]]:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file), None
    except (OSError, ValueError) as error:
        return None, str(error)
