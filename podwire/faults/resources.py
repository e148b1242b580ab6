"""Cells: pieces of a node that a State does not hold, each with a value that can be read and written.

A cell's value is plain JSON, None for nothing there. Writing is idempotent, so that an undo may be repeated: a cell
that has the value already is left alone by ``engine``. Cells of files belong to the node whatever their place.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from difflib import ndiff
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Protocol, Sequence

from ..errors import FaultError, KernelError
from ..files import replace_file
from ..kernel import commands, rulesets

if TYPE_CHECKING:
    from ..kernel import Namespace


#: Changed lines of a file that are shown.
_MOST_LINES = 2


class Cell(Protocol):
    """What all cells can do."""

    def read(self, namespace: Namespace) -> Any:
        """The value now."""

    def write(self, namespace: Namespace, value: Any) -> None:
        """Give it a value. FaultError."""

    def told(self, value: Any) -> str:
        """``cell: value`` for people."""


def run(namespace: Namespace, command: Sequence[str], stdin: str = "") -> str:
    """A command's standard output, run in a network namespace. FaultError if it fails or is not there."""
    try:
        return commands.run(namespace, command, stdin)
    except KernelError as error:
        raise FaultError(error.message) from None


class FileText(NamedTuple):
    """A file: ``{"text", "mode"}``. Bytes that are no UTF-8 survive."""

    path: str

    def read(self, namespace: Namespace) -> Any:
        try:
            with open(self.path, "rb") as file:
                text = file.read().decode(errors="surrogateescape")
                return {"text": text, "mode": os.fstat(file.fileno()).st_mode & 0o7777}
        except FileNotFoundError:
            return None

    def write(self, namespace: Namespace, value: Any) -> None:
        if value is None:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
            return
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        replace_file(self.path, value["text"].encode(errors="surrogateescape"), value["mode"])

    def told(self, value: Any) -> str:
        return f"file {self.path}: " + ("removed" if value is None else f"{len(value['text'])} bytes")

    def __str__(self) -> str:
        return f"file {self.path}"


class NftTable(NamedTuple):
    """A whole nftables table: its text."""

    family: str
    name: str

    def read(self, namespace: Namespace) -> Any:
        return rulesets.nft_table(namespace, self.family, self.name)

    def write(self, namespace: Namespace, value: Any) -> None:
        rulesets.replace_nft_table(namespace, self.family, self.name, value or "")

    def told(self, value: Any) -> str:
        return f"{self}: " + ("removed" if value is None else " ".join(value.split()))

    def __str__(self) -> str:
        return f"nftables table {self.family} {self.name}"


class PolicyRule(NamedTuple):
    """An ``ip rule`` with a preference of its own: whether it is there."""

    preference: int
    selector: str

    def read(self, namespace: Namespace) -> Any:
        rules = json.loads(run(namespace, ("ip", "-j", "rule", "show", "pref", str(self.preference))) or "[]")
        return True if rules else None

    def write(self, namespace: Namespace, value: Any) -> None:
        verb = "del" if value is None else "add"
        words = () if value is None else self.selector.split()
        run(namespace, ("ip", "rule", verb, *words, "pref", str(self.preference)))

    def told(self, value: Any) -> str:
        return f"{self}: {'removed' if value is None else 'added'}"

    def __str__(self) -> str:
        return f"rule {self.preference}: {self.selector}"


#: Flags of a bridge port as ``ip -d -j link`` calls them and as ``bridge link set`` does, with its values.
_STATES = ("disabled", "listening", "learning", "forwarding", "blocking")
_FLAGS = {"state": "state", "learning": "learning", "flood": "flood"}


class PortFlag(NamedTuple):
    """``state`` (a number of the spanning tree's), ``learning`` or ``flood`` of a bridge port."""

    device: str
    flag: str

    def read(self, namespace: Namespace) -> Any:
        shown = json.loads(run(namespace, ("ip", "-d", "-j", "link", "show", "dev", self.device)))[0]
        data: Dict[str, Any] = shown.get("linkinfo", {}).get("info_slave_data", {})
        value = data.get(self.flag)
        return _STATES.index(value) if self.flag == "state" and value in _STATES else value

    def write(self, namespace: Namespace, value: Any) -> None:
        text = str(value) if self.flag == "state" else "on" if value else "off"
        run(namespace, ("bridge", "link", "set", "dev", self.device, _FLAGS[self.flag], text))

    def told(self, value: Any) -> str:
        return f"{self}: {value}"

    def __str__(self) -> str:
        return f"bridge port {self.device} {self.flag}"


class FdbPin(NamedTuple):
    """A static, sticky entry of a bridge: whether it is there. What the bridge learns by itself counts as nothing."""

    device: str
    mac: str

    def read(self, namespace: Namespace) -> Any:
        shown = json.loads(run(namespace, ("bridge", "-j", "fdb", "show", "brport", self.device)) or "[]")
        held = any(each["mac"] == self.mac and each.get("state") == "static" for each in shown)
        return True if held else None

    def write(self, namespace: Namespace, value: Any) -> None:
        if value is None:
            run(namespace, ("bridge", "fdb", "del", self.mac, "dev", self.device, "master"))
            return
        run(namespace, ("bridge", "fdb", "replace", self.mac, "dev", self.device, "master", "static", "sticky"))

    def told(self, value: Any) -> str:
        return f"{self}: {'removed' if value is None else 'added'}"

    def __str__(self) -> str:
        return f"fdb {self.mac} dev {self.device} master static sticky"


class Qdisc(NamedTuple):
    """The root queueing discipline that somebody set: ``tc``'s words for it."""

    device: str

    def read(self, namespace: Namespace) -> Any:
        shown: List[Dict[str, Any]] = json.loads(
            run(namespace, ("tc", "-j", "qdisc", "show", "dev", self.device, "root")) or "[]"
        )
        kinds = [each["kind"] for each in shown if each.get("handle", "0:") != "0:"]
        return kinds[0] if kinds else None

    def write(self, namespace: Namespace, value: Any) -> None:
        if value is None:
            run(namespace, ("tc", "qdisc", "del", "dev", self.device, "root"))
            return
        run(namespace, ("tc", "qdisc", "replace", "dev", self.device, "root", "handle", "70:", *value.split()))

    def told(self, value: Any) -> str:
        return f"{self}: {value or 'the default'}"

    def __str__(self) -> str:
        return f"qdisc of {self.device}"


def change(cell: Cell, before: Any, value: Any) -> str:
    """A cell that gets another value, for people; of a file the lines that differ, as far as they are few."""
    if not isinstance(cell, FileText) or value is None:
        return cell.told(value)
    if before is None:
        return f"{cell}: new, {len(value['text'])} bytes"
    if before["text"] == value["text"]:
        return f"{cell}: mode {value['mode']:04o}"
    marks = ndiff(before["text"].splitlines(), value["text"].splitlines())
    lines = [f"{line[0]} {line[2:].strip()}" for line in marks if line[0] in "+-"]
    more = [f"and {len(lines) - _MOST_LINES} more lines"] if len(lines) > _MOST_LINES else []
    return f"{cell}: " + "; ".join(lines[:_MOST_LINES] + more)


def of_kernel(cell: Cell) -> bool:
    """Whether a cell is of its place's namespace, and goes with it; the others are the node's files and processes."""
    return isinstance(cell, (NftTable, PolicyRule, PortFlag, FdbPin, Qdisc))


def same(cell: Cell, one: Any, other: Any) -> bool:
    """Whether two values of a cell are one. What kernels print of a table or a discipline is not what was written."""
    if isinstance(cell, (NftTable, Qdisc)):
        return (one is None) == (other is None)
    return bool(one == other)


def to_json(cell: Any) -> List[Any]:
    """A cell as plain JSON."""
    return [type(cell).__name__, *cell]


def from_json(data: Sequence[Any]) -> Cell:
    """Read what ``to_json`` gave."""
    from . import files, processes

    kinds: Dict[str, Any] = {each.__name__: each for each in (FileText, NftTable, PolicyRule, PortFlag, FdbPin, Qdisc)}
    kinds.update(Plugin=files.Plugin, Ghost=processes.Ghost, PodServer=processes.PodServer)
    name, *values = data
    made: Cell = kinds[name](*values)
    return made
