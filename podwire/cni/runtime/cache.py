"""Results of ADD, kept in libcni's format (libcni/api.go, cacheAdd) so that other runtimes can DEL and CHECK.

``<cache dir>/results/<network>-<container id>-<ifname>``, mode 0600: kind ``cniCacheV1`` with the
configuration in base64 and the result.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode

from ...errors import CNI_IO_FAILURE, CniError
from ...files import remove_file, replace_file
from ...startup_typing import TYPE_CHECKING, NamedTuple
from ..spec.arguments import Arguments
from ..spec.netconf import Attachment
from ..spec.netlist import NetConfList
from ..spec.result import Result

if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional, Tuple

CACHE_DIR = "/var/lib/cni"
_KIND = "cniCacheV1"


class Origin(NamedTuple):
    """What ADD was done with."""

    network: NetConfList
    arguments: Arguments = Arguments()
    plugin_dirs: Tuple[str, ...] = ()


class Cached(NamedTuple):
    """A cached ADD. ``config`` is the text of the NetConfList that it was made with.

    ``plugin_dirs`` is podwire's own addition, for a DEL by the plugins that did the ADD; libcni does not look at it.
    """

    network: str
    attachment: Attachment
    config: str
    result: Result
    arguments: Arguments = Arguments()
    plugin_dirs: Tuple[str, ...] = ()


def cached_of_all_networks(cache_dir: str) -> List[Cached]:
    """Everything kept that can be read. Names of files are ambiguous (dashes): what is in them decides."""
    folder = os.path.join(cache_dir, "results")
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))  # being written
    except FileNotFoundError:
        return []
    return [each for each in (_load(os.path.join(folder, name)) for name in names) if each is not None]


class Cache:
    """The cached results of one network."""

    def __init__(self, cache_dir: str, network: str) -> None:
        self._dir = cache_dir
        self._folder = os.path.join(cache_dir, "results")
        self._network = network

    def write(self, origin: Origin, results: Mapping[Attachment, Result]) -> Dict[Attachment, CniError]:
        """Keep results, each whole or not at all; errors for those that could not be kept."""
        errors: Dict[Attachment, CniError] = {}
        if not results:
            return errors
        for attachment, result in results.items():
            path = self._path(attachment)
            try:
                os.makedirs(self._folder, 0o700, exist_ok=True)
                replace_file(path, _dump(origin, attachment, result), 0o600, fsync=False)
            except OSError as error:
                errors[attachment] = CniError(CNI_IO_FAILURE, f"failed to cache a result at {path}: {error.strerror}")
            except CniError as error:  # a version that cannot say what there is
                errors[attachment] = error
        return errors

    def read(self, attachment: Attachment) -> Optional[Cached]:
        """What is kept of an attachment; None if nothing that can be read."""
        return _load(self._path(attachment))

    def remove(self, attachment: Attachment) -> None:
        """Forget an attachment."""
        remove_file(self._path(attachment))

    def all(self) -> List[Cached]:
        """Everything kept of this network."""
        return [each for each in cached_of_all_networks(self._dir) if each.network == self._network]

    def _path(self, attachment: Attachment) -> str:
        return os.path.join(self._folder, f"{self._network}-{attachment.container_id}-{attachment.ifname}")


def _dump(origin: Origin, attachment: Attachment, result: Result) -> bytes:
    network, arguments = origin.network, origin.arguments
    content: Dict[str, Any] = {
        "kind": _KIND,
        "containerId": attachment.container_id,
        "config": b64encode(network.source.encode()).decode(),
        "ifName": attachment.ifname,
        "networkName": network.name,
        "netns": attachment.netns,
        "result": result.to_json(network.cni_version),
    }
    if arguments.pairs:
        content["cniArgs"] = arguments.pairs
    if arguments.capabilities:
        content["capabilityArgs"] = arguments.capabilities
    if origin.plugin_dirs:
        content["pluginDirs"] = origin.plugin_dirs
    return json.dumps(content, separators=(",", ":")).encode()


def _load(path: str) -> Optional[Cached]:
    try:
        with open(path, encoding="utf-8") as file:
            data: Dict[str, Any] = json.load(file)
        if data["kind"] != _KIND:
            return None
        return Cached(
            data["networkName"],
            Attachment(data["containerId"], data["ifName"], data.get("netns") or ""),
            b64decode(data["config"]).decode(),
            Result.from_json(data["result"]),
            Arguments(
                tuple((str(key), str(value)) for key, value in data.get("cniArgs") or ()),
                dict(data.get("capabilityArgs") or {}),
            ),
            tuple(data.get("pluginDirs") or ()),
        )
    except (OSError, ValueError, KeyError, TypeError, CniError):
        return None
