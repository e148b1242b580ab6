"""Resources of the kernel: nftables tables, rules, flags of bridge ports, pinned FDB entries, queueing disciplines."""

from __future__ import annotations

import json
from typing import Any, Dict, List, NamedTuple

from ..kernel import Namespace, rulesets
from .resource import run


class NftTable(NamedTuple):
    """A whole nftables table: its text."""

    family: str
    name: str

    def read(self, namespace: Namespace) -> Any:
        return rulesets.nft_table(namespace, self.family, self.name)

    def write(self, namespace: Namespace, value: Any) -> None:
        rulesets.replace_nft_table(namespace, self.family, self.name, value or "")

    def describe(self, value: Any) -> str:
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

    def describe(self, value: Any) -> str:
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

    def describe(self, value: Any) -> str:
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

    def describe(self, value: Any) -> str:
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

    def describe(self, value: Any) -> str:
        return f"{self}: {value or 'the default'}"

    def __str__(self) -> str:
        return f"qdisc of {self.device}"
