"""A node as people look at it: links, addresses, routes, packet rules and files, as lines that can be compared."""

from __future__ import annotations

import os
import re
from typing import Dict, Iterable, List

from .node import HOME, LAYERS, Container
from .tools import find, ip, run

Snapshot = Dict[str, List[str]]
"""Section, such as ``node links`` or ``files``, to its sorted lines."""

#: What changes by itself, and what tells nobody anything.
_PAIRS = (
    r"\w+_timer|bridge_id|designated_\w+|root_\w+|topology_change\w*|fdb_n_learned|port_\w+|mcast_\w+|group_\w+"
    r"|nf_call_\w+|addrgenmode|ageing_time|max_age|hello_time|forward_delay|m(?:in|ax)mtu|mode|group|state|pref"
    r"|link-netns(?:id)?|num[tr]xqueues|(?:gso|tso|gro)_\w+|(?:valid|preferred)_lft|expires|config_pending"
)
_VOLATILE = re.compile(rf"\s+(?:(?:{_PAIRS})\s+\S+|qdisc (?:noop|noqueue)|tentative|brd ff:ff:ff:ff:ff:ff)")
_INDEX = re.compile(r"^\d+: ")
#: What the kernel makes by itself, now or a moment later: it follows from links and addresses that are shown.
_DERIVED = re.compile(r"\blo\s+inet6? (?:127\.0\.0\.1/8|::1/128)|\sproto kernel\s|\sinet6 fe80::")
_PEER = re.compile(r"@if\d+|NO-CARRIER,|,LOWER_UP")
_DIRECTORIES = ("/run", *(f"{LAYERS}{each}/upper" for each in ("/etc", "/var/lib", "/var/log")))
_OURS = (HOME, "/run/netns", "/run/xtables.lock")
_LONGEST = 160


def take(containers: Iterable[Container] = ()) -> Snapshot:
    """The node now, and those of its containers that still exist."""
    snapshot = {**_network("node"), "node rules": rules()}
    for container in containers:
        if container.namespace.fd >= 0:
            with container.entered():
                snapshot.update(_network(container.name))
    snapshot["files"] = sorted(_files())
    return snapshot


def difference(before: Snapshot, after: Snapshot) -> List[str]:
    """Lines with ``-`` are gone and lines with ``+`` are new, each with its section."""
    lines = []
    for section in sorted({*before, *after}):
        old, new = before.get(section, []), after.get(section, [])
        lines += [f"- {section}: {line}" for line in old if line not in new]
        lines += [f"+ {section}: {line}" for line in new if line not in old]
    return lines


def _network(name: str) -> Snapshot:
    links, addresses, routes = [], [], []
    for line in ip("link show", "address show", "route show table all"):
        if _DERIVED.search(line):
            continue
        text = " ".join(_PEER.sub("", _VOLATILE.sub("", _INDEX.sub("", line))).replace("\\", " ").split())
        if not _INDEX.match(line):
            routes.append(text)
        elif re.match(r"\S+ inet6? ", text):
            addresses.append(text)
        else:
            links.append(text)
    return {
        f"{name} links": sorted(links),
        f"{name} addresses": sorted(addresses),
        f"{name} routes": sorted(routes),
    }


def rules() -> List[str]:
    """The packet rules of the current namespace, each with its table and chain."""
    lines: List[str] = []
    place: List[str] = []
    if find("nft"):
        for line in run("nft", "-s", "list", "ruleset").splitlines():
            text = line.strip()
            if text.endswith("{"):
                place.append(text[:-1].strip())
                lines.append(" ".join(place))
            elif text == "}":
                place.pop()
            elif text and not text.startswith("#"):
                lines.append(f"{' '.join(place)}: {text}")
    for family, save in (("ip", "iptables-legacy-save"), ("ip6", "ip6tables-legacy-save")):
        if _legacy(family) and find(save):
            lines += [f"{save} {line}" for line in run(save).splitlines() if line[0] not in "#:" and line != "COMMIT"]
    return lines


def _legacy(family: str) -> bool:
    try:
        with open(f"/proc/net/{family}_tables_names") as file:
            return bool(file.read().strip())
    except FileNotFoundError:
        return False


def _files() -> Iterable[str]:
    for top in _DIRECTORIES:
        for directory, directories, names in os.walk(top):
            directories[:] = [each for each in directories if os.path.join(directory, each) not in _OURS]
            for name in names + directories:
                path = os.path.join(directory, name)
                if path not in _OURS:
                    yield f"{_real(top, path)}{'/' if os.path.isdir(path) else _content(path)}"


def _real(top: str, path: str) -> str:
    return path if top == "/run" else path[len(LAYERS) :].replace("/upper", "", 1)


def _content(path: str) -> str:
    if os.path.basename(path).startswith("last_reserved_ip") or not os.path.isfile(path) or os.path.islink(path):
        return ""
    with open(path, "rb") as file:
        data = file.read(_LONGEST + 1)
    return f" {data[:_LONGEST]!r}{'...' if len(data) > _LONGEST else ''}"
