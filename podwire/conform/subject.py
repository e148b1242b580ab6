"""The plugins under test: what they are, what they announce, and a configuration that works for each."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..errors import PodwireError
from .call import Reply, begin
from .case import IPAM, MAIN, META, Failed
from .shape import VERSIONS, number
from .tools import PATH

#: The network of all containers, and the second family.
SUBNET, SUBNET6 = "10.22.0.0/24", "fd00:22::/64"
GATEWAY, GATEWAY6 = "10.22.0.1", "fd00:22::1"

KNOWN: Dict[str, str] = {
    "bridge": MAIN,
    "ptp": MAIN,
    "loopback": MAIN,
    "flannel": MAIN,
    "host-local": IPAM,
    "static": IPAM,
    "portmap": META,
    "firewall": META,
    "tuning": META,
    "bandwidth": META,
}

_ROUTES = [{"dst": "0.0.0.0/0"}]
_HOST_LOCAL: Dict[str, Any] = {"type": "host-local", "ranges": [[{"subnet": SUBNET}]], "routes": _ROUTES}
_CONFIGURATIONS: Dict[str, Dict[str, Any]] = {
    "bridge": {"bridge": "cni0", "isGateway": True, "ipam": _HOST_LOCAL},
    "ptp": {"ipam": _HOST_LOCAL},
    "loopback": {},
    "flannel": {"delegate": {"isDefaultGateway": True}},
    "host-local": {"ipam": _HOST_LOCAL},
    "static": {
        "ipam": {
            "type": "static",
            "addresses": [{"address": "10.22.0.5/24", "gateway": GATEWAY}],
            "routes": _ROUTES,
        }
    },
    "portmap": {"runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]}},
    "firewall": {"backend": "iptables"},
    "tuning": {"sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}},
    "bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000},
}


class Subject(NamedTuple):
    """A plugin under test. ``configuration`` lacks cniVersion and name; ``versions`` is what it announces."""

    name: str
    type: str
    kind: str
    directory: str
    configuration: Mapping[str, Any]
    versions: Tuple[str, ...]

    @property
    def program(self) -> str:
        return os.path.join(self.directory, self.name)

    @property
    def version(self) -> str:
        """The newest version that both sides know; 1.0.0 if the plugin announces none."""
        known = [version for version in self.versions if version in VERSIONS]
        return max(known, key=number) if known else "1.0.0"

    def beside(self, name: str) -> bool:
        """Whether another plugin stands in the same directory."""
        return os.access(os.path.join(self.directory, name), os.X_OK)


def discover(directory: str, names: Sequence[str], config: Optional[Mapping[str, Any]]) -> List[Subject]:
    """The plugins to test, known ones first. PodwireError when there is none or one is missing."""
    directory = os.path.realpath(directory)
    if not os.path.isdir(directory):
        raise PodwireError(f"failed to read {directory}: there is no such directory", "name a directory of CNI plugins")
    if config is not None:
        return [_from_config(directory, config, names)]
    for name in names:
        if not os.access(os.path.join(directory, name), os.X_OK):
            raise PodwireError(f"failed to test {name}: {directory} has no executable {name}", "see its --list")
        if name not in KNOWN:
            raise PodwireError(
                f"failed to test {name}: the suite has no configuration for it", "give one: --config FILE"
            )
    chosen = names or [name for name in KNOWN if os.access(os.path.join(directory, name), os.X_OK)]
    if not chosen:
        raise PodwireError(
            f"failed to find plugins in {directory}: it has none of {', '.join(KNOWN)}", "name one with --config FILE"
        )
    return [_subject(directory, name, KNOWN[name], _CONFIGURATIONS[name]) for name in chosen]


def _from_config(directory: str, config: Mapping[str, Any], names: Sequence[str]) -> Subject:
    if isinstance(config.get("plugins"), list) and len(config["plugins"]) == 1:
        config = config["plugins"][0]
    ipam = config.get("ipam", {}).get("type") if isinstance(config.get("ipam"), dict) else None
    name = names[0] if names else config.get("type")
    if len(names) > 1 or not isinstance(name, str) or "/" in name or name not in (config.get("type"), ipam):
        raise PodwireError(
            "failed to test the plugin of --config: the file configures another plugin, or none",
            'it holds one plugin configuration with "type"; --plugin may name its type or its ipam.type',
        )
    if not os.access(os.path.join(directory, name), os.X_OK):
        raise PodwireError(f"failed to test {name}: {directory} has no executable {name}")
    kind = KNOWN.get(name) or (IPAM if name == ipam != config.get("type") else META if "prevResult" in config else MAIN)
    kept = {key: value for key, value in config.items() if key not in ("cniVersion", "name", "prevResult", "type")}
    return _subject(directory, name, kind, kept)


def _subject(directory: str, name: str, kind: str, configuration: Mapping[str, Any]) -> Subject:
    subject = Subject(name, name if name in KNOWN else "", kind, directory, configuration, ())
    try:
        versions = announced(ask(subject, b'{"cniVersion": "1.0.0"}'))
    except Failed:  # version.list will tell
        versions = ()
    return subject._replace(versions=versions)


def ask(subject: Subject, stdin: bytes) -> Reply:
    """VERSION, which touches nothing and so needs no node."""
    return begin(subject.program, {"CNI_COMMAND": "VERSION", "PATH": PATH}, stdin).reply()


def announced(reply: Reply) -> Tuple[str, ...]:
    """The versions of an answer to VERSION, none if it makes no sense."""
    try:
        found = json.loads(reply.stdout)["supportedVersions"]
        return tuple(version for version in found if isinstance(version, str))
    except (ValueError, TypeError, KeyError):
        return ()
