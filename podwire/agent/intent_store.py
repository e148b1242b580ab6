"""What a node keeps in /etc/podwire, so that ``podwire apply`` needs nobody to tell it anything.

``intent.json`` is the cluster as this node needs it: all peers, its own pods, its own network configuration list.
It is a File of the node's desired State, so that plan, diff and rollback have it like all else, and it is
written last: whoever reads it under the node's lock reads what the kernel was converged to.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any, Dict, Optional, Tuple

from ..errors import IntentError, PodwireError
from ..files import replace_file
from ..intent.cluster import Cluster
from ..intent.cluster_json import cluster_from_json, cluster_to_json
from ..kernel.lock import locked
from ..model.objects import File
from ..sandbox import conflist

INTENT = "/etc/podwire/intent.json"
#: The list and plugins that pods were last attached by, where the stage was given others than the inventory's.
OVERRIDE = "/etc/podwire/override.json"
LOCK = "/run/podwire/node.lock"


def node_lock() -> locked:
    """The node's lock: the controller's stages and ``podwire apply`` take turns."""
    return locked(LOCK)


def intent_file(cluster: Cluster, node: str) -> File:
    """The file for one node. The list is written out, because how it is chosen needs the pods of all nodes."""
    cni = replace(cluster.cni, conflist=conflist.declared(cluster, node).source)
    own_part = replace(cluster, pods=cluster.pods_of(node), cni=cni)
    return File(INTENT, json.dumps({**cluster_to_json(own_part), "here": node}) + "\n", 0o600)


def load() -> Tuple[Cluster, str]:
    """The cluster that is kept, as pods are attached by it, and this node's name. PodwireError without one."""
    try:
        cluster, node = _read()
    except FileNotFoundError:
        raise PodwireError(
            f"failed to apply {INTENT}: there is none", "this machine is no node yet: run site.yml for it"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, IntentError) as error:
        raise PodwireError(f"failed to apply {INTENT}: {error}", "run site.yml for this node") from error
    given = _override()
    return conflist.override(cluster, given.get("conflist"), given.get("plugin_dirs")), node


def taken(intent: str, node: str) -> Tuple[Cluster, str]:
    """The cluster in a file of the controller's, and this node's name: the given one, or what it has been so far."""
    try:
        with open(intent, encoding="utf-8") as file:
            cluster = cluster_from_json(json.load(file))
    except (OSError, ValueError, IntentError) as error:
        raise PodwireError(f"failed to apply {intent}: {error}", "give the intent.json of the controller") from error
    known = remembered()
    name = node or (known[1] if known else os.uname().nodename.partition(".")[0])
    if name not in cluster.by_name:
        raise PodwireError(f"failed to apply {intent}: it has no node {name}", "say which node this is: --node NAME")
    given = _override()
    return conflist.override(cluster, given.get("conflist"), given.get("plugin_dirs")), name


def remembered() -> Optional[Tuple[Cluster, str]]:
    """Likewise, without any override; None if nothing is kept that can be read."""
    try:
        return _read()
    except (OSError, ValueError, KeyError, TypeError, IntentError):
        return None


def _read() -> Tuple[Cluster, str]:
    with open(INTENT, encoding="utf-8") as file:
        data = json.load(file)
    cluster, node = cluster_from_json(data), str(data["here"])
    cluster.node(node)
    return cluster, node


def keep_override(given: Any, plugin_dirs: Any) -> None:
    """Remember what the attach stage was given instead of the inventory's list; nothing to forget it."""
    options = {key: value for key, value in (("conflist", given), ("plugin_dirs", plugin_dirs)) if value}
    if options == _override():
        return
    if options:
        os.makedirs(os.path.dirname(OVERRIDE), exist_ok=True)
        replace_file(OVERRIDE, json.dumps(options).encode(), 0o644)
    else:
        os.unlink(OVERRIDE)


def _override() -> Dict[str, Any]:
    try:
        with open(OVERRIDE, encoding="utf-8") as file:
            options: Dict[str, Any] = json.load(file)
            return options
    except FileNotFoundError:
        return {}
