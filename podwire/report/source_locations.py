"""Source locations in the inventory: of variables as Ansible records them, and of hosts by searching the files."""

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
    """``file:line`` of hosts, of entries of ``pods``, and of variables; empty if unknown."""

    hosts: Mapping[str, str] = {}
    pods: Mapping[str, str] = {}
    variables: Mapping[str, str] = {}

    def node(self, name: str) -> str:
        """Where a node is declared."""
        return self.hosts.get(name, "")

    def pod(self, name: str, node: str) -> str:
        """Where a pod is declared: its entry, the number of pods, or its node."""
        return self.pods.get(name) or self.variables.get("pods") or self.node(node)


def pack(places: Places) -> Dict[str, Dict[str, str]]:
    """The locations that a report needs, once for all hosts, so that they are small enough to pass on."""
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
    """The reverse of ``pack``, with the lines of hosts searched in the inventory ``source``."""
    return Origins(hosts_in(source, hosts), packed.get("pods", {}), packed.get("variables", {}))


def hosts_in(source: str, hosts: Iterable[str]) -> Dict[str, str]:
    """The first occurrence of each host in the inventory's files."""
    wanted = set(hosts)
    places: Dict[str, str] = {}
    for path in _files(source):
        relative = os.path.relpath(path)
        shown = path if relative.startswith("..") else relative
        with open(path, encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                word = _WORD.match(line)
                for name in _expanded(word.group(1)) if word else ():
                    if name in wanted:
                        places.setdefault(name, f"{shown}:{number}")
    return places


def _files(source: str) -> Iterator[str]:
    """The inventory's files, without group_vars and host_vars."""
    for path in [source] if os.path.exists(source) else source.split(","):
        if os.path.isfile(path):
            yield path
        elif os.path.isdir(path):
            yield from (
                entry.path for entry in sorted(os.scandir(path), key=lambda entry: entry.name) if entry.is_file()
            )


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
