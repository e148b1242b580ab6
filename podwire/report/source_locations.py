"""Where objects are written in the inventory: what Ansible remembers of variables, and hosts found by their line."""

from __future__ import annotations

import os
import re
from typing import Dict, Iterable, Iterator, Mapping, NamedTuple, Tuple

#: (host, variable) -> "file:line"; entries of lists that have names are ``variable.name``.
Places = Mapping[Tuple[str, str], str]

# The first word of a line of YAML (a key, an entry) or of INI, quoted or not; [01:50] is a range.
_WORD = re.compile(r"""^\s*(?:-\s+)?["']?((?:[\w.-]|\[\w+:\w+(?::\d+)?\])+)["']?(?=[\s:=]|$)""")
_RANGE = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]")


class Origins(NamedTuple):
    """``file:line`` of hosts, of entries of ``pods``, and of variables. What is not known is empty."""

    hosts: Mapping[str, str] = {}
    pods: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}

    def node(self, name: str) -> str:
        """Where a node is declared."""
        return self.hosts.get(name, "")

    def pod(self, name: str, node: str) -> str:
        """Where a pod is declared: its own entry, the number it comes from, or its node."""
        return self.pods.get(name) or self.variables.get("pods") or self.node(node)


def pack(places: Places) -> Dict[str, Dict[str, str]]:
    """The part of Ansible's places that a report needs, small enough to hand on: 50 hosts share what they have."""
    variables: Dict[str, str] = {}
    pods: Dict[str, str] = {}
    for (_, key), place in places.items():
        name, _, entry = key.partition(".")
        if not entry:
            variables.setdefault(key, place)
        elif name in ("pods", "node_pods"):
            pods.setdefault(entry, place)
    return {"variables": variables, "pods": pods}


def unpack(packed: Mapping[str, Mapping[str, str]], source: str, hosts: Iterable[str]) -> Origins:
    """The other way round, with the lines of hosts looked up in the inventory ``source``."""
    return Origins(hosts_in(source, hosts), packed.get("pods", {}), packed.get("variables", {}))


def hosts_in(source: str, hosts: Iterable[str]) -> Dict[str, str]:
    """Where each host stands first in the inventory's files."""
    wanted = set(hosts)
    found: Dict[str, str] = {}
    for path in _files(source):
        near = os.path.relpath(path)
        shown = path if near.startswith("..") else near
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                word = _WORD.match(line)
                for name in _expanded(word.group(1)) if word else ():
                    if name in wanted:
                        found.setdefault(name, f"{shown}:{number}")
    return found


def _files(source: str) -> Iterator[str]:
    """The inventory's own files, without group_vars and host_vars."""
    for path in [source] if os.path.exists(source) else source.split(","):
        if os.path.isfile(path):
            yield path
        elif os.path.isdir(path):
            yield from (each.path for each in sorted(os.scandir(path), key=lambda each: each.name) if each.is_file())


def _expanded(word: str) -> Iterator[str]:
    """Host names of a pattern such as ``node-[01:50]``, ``rack-[a:c]``."""
    match = _RANGE.search(word)
    if not match:
        yield word
        return
    low, high, step = match.group(1), match.group(2), int(match.group(3) or 1)
    if low.isdigit() and high.isdigit():
        width = len(low) if low.startswith("0") else 0
        values = [str(number).zfill(width) for number in range(int(low), int(high) + 1, step)]
    else:
        values = [chr(number) for number in range(ord(low[0]), ord(high[0]) + 1, step)]
    for value in values:
        yield from _expanded(word[: match.start()] + value + word[match.end() :])
