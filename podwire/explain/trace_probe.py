"""Traced probes: one at a time, while the kernel traces the packet's path and where it is dropped.

The controller asks for few pairs (probe_selection.py) that are known to fail. Every probe of a node has a length that
no other node's has, which identifies its packets wherever they are::

    {"source": "pod-a", "target": "pod-c", "address": "10.244.2.2", "protocol": "icmp", "length": 226,
     "answered": false,
     "error":    "",                                          the error that the sender got, as text
     "flights":  [{"what": "probe", "way": ["eth0", "vethb2", "cni0", "flannel.1"],
                   "end": "NO_TX_TARGET in vxlan_xmit",       tracefs: devices, and why and where it was dropped
                   "reason": "NO_TX_TARGET", "function": "vxlan_xmit"}],
     "verdicts": [["", "ip hostfw input", 4, true]],          nftables: place, chain, rule (0: policy), whether it drops
     "rules":    ["", "pod-a"],                               where nftables was traced
     "counters": {"": {"flannel.1 tx dropped": 1}}}           increases meanwhile; "" is the node

Leaves nothing behind. What the kernel cannot trace is missing, and ``cannot`` says why.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ..errors import PodwireError
from ..kernel import Namespace
from ..kernel.rulesets import nft_tables
from ..kernel.trace.packets import PacketTrace
from ..kernel.trace.rules import RuleTrace
from ..observe.snapshot import counters, links
from .packet_paths import certain, flights, framed
from .records import Ask, Look, Looks, PacketPath, VerdictRow
from .single_probe import send

#: An ARP request, a neighbour solicitation (with its option), from the IP header on or as a whole.
_NEIGHBOUR = (28, 72)
_SYN = {4: 60, 6: 80}
#: Counters of losses.
_LOSSES = (
    "Discards", "Errors", "Errs", "NoRoutes", "Fails", "RPFilter", "NoPorts", "Drop", "FragCreates", "InUnknown",
)  # fmt: skip


def look(node: str, asks: Sequence[Ask]) -> Looks:
    """``{"looks": [...], "cannot": [...]}``, from the node that this process runs in."""
    looks: List[Look] = []
    cannot: List[str] = []
    try:
        with _cleanup_on_signals(), ExitStack() as stack:
            spaces = {"": stack.enter_context(Namespace.current(node))}
            for ask in asks:
                for pod, path in ask["places"].items():
                    if pod not in spaces:
                        spaces[pod] = stack.enter_context(Namespace.open(path, pod)) if path else spaces[""]
            tracer = _Tracer(stack, spaces, {length for ask in asks for length in _lengths(ask)}, cannot)
            for number, ask in enumerate(asks):
                looks.append(tracer.probe(number, ask))
    except PodwireError as error:  # evidence is there without it: a pod that went meanwhile is no reason to fail
        cannot.append(error.message)
    except OSError as error:
        cannot.append(f"failed to trace probes: {error.strerror}")
    return {"looks": looks, "cannot": cannot}


@contextmanager
def _cleanup_on_signals() -> Iterator[None]:
    """Signals that end the process unwind the stack first: an instance of tracefs outlives its process."""

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _lengths(ask: Ask) -> Tuple[int, ...]:
    version = ip_address(ask["address"]).version
    length = _SYN[version] if ask["protocol"] == "tcp" else ask["length"]
    return (length, length + ask["outer"]) if ask["outer"] else (length,)


class _Tracer:
    """Traces of packets and rules, open while probes are sent."""

    def __init__(self, stack: ExitStack, spaces: Mapping[str, Namespace], lengths: Set[int], cannot: List[str]) -> None:
        self.spaces = spaces
        self.run = int.from_bytes(os.urandom(4), "big")
        self.rules: Dict[str, RuleTrace] = {}
        self.packets: Optional[PacketTrace] = None
        try:
            self.packets = stack.enter_context(PacketTrace(framed([*lengths, *_NEIGHBOUR])))
        except PodwireError as error:
            cannot.append(error.message)
        inodes: Set[int] = set()
        for place, space in spaces.items():
            inode = os.fstat(space.fd).st_ino
            if inode in inodes or not nft_tables(space):
                continue
            inodes.add(inode)
            try:
                self.rules[place] = stack.enter_context(RuleTrace(space, lengths))
            except PodwireError as error:
                cannot.append(f"{error.message} ({place or 'the node'})")

    def probe(self, number: int, ask: Ask) -> Look:
        """Send one probe."""
        source = self.spaces.get(ask["source"], self.spaces[""])
        before = {place: _counters(space) for place, space in self.spaces.items()}
        if self.packets is not None:
            self.packets.begin()
        answered, error = source.call(send, ask, self.run, number, lambda: self._is_dropped(ask))
        return {
            "source": ask["source"],
            "target": ask["target"],
            "address": ask["address"],
            "protocol": ask["protocol"],
            "length": ask["length"],
            "answered": answered,
            "error": error,
            "flights": self._flights(ask, answered),
            "verdicts": self._verdicts(ask),
            "rules": sorted(self.rules),
            "counters": self._increases(before),
        }

    def _verdicts(self, ask: Ask) -> List[VerdictRow]:
        rows: List[VerdictRow] = []
        for place, trace in self.rules.items():
            for verdict in trace.verdicts():
                known = (ask["address"], *(ask["tunnel"] if verdict.length == _lengths(ask)[-1] else ()))
                if set(known) & set(verdict.ends) or (ask["alone"] and not verdict.ends):
                    chain = f"{verdict.family} {verdict.table} {verdict.chain}"
                    rows.append((place, chain, verdict.handle, verdict.drops))
        return list(dict.fromkeys(rows))

    def _increases(self, before: Mapping[str, Mapping[str, int]]) -> Dict[str, Dict[str, int]]:
        increases = {}
        for place, space in self.spaces.items():
            now, old = _counters(space), before[place]
            grown = {key: value - old.get(key, 0) for key, value in now.items() if value > old.get(key, 0)}
            if grown and not (place and space is self.spaces[""]):
                increases[place] = grown
        return increases

    def _is_dropped(self, ask: Ask) -> bool:
        """Whether the kernel traced its end: then nobody need wait for an answer."""
        return any(flight["end"] for flight in certain(self._flights(ask, False)))

    def _flights(self, ask: Ask, answered: bool) -> List[PacketPath]:
        if self.packets is None:
            return []
        passages = self.packets.passages()
        version = ip_address(ask["address"]).version
        return flights(passages, _lengths(ask), alone=ask["alone"], answered=answered, version=version)


def _counters(space: Namespace) -> Dict[str, int]:
    """Counters of losses, and of packets of VXLAN devices."""
    numbers = {key: value for key, value in space.call(counters).items() if any(word in key for word in _LOSSES)}
    for link in links(space):
        for direction, traffic in (("rx", link.get("rx")), ("tx", link.get("tx"))):
            if traffic is not None:
                numbers[f"{link['name']} {direction} dropped"] = traffic["dropped"]
                numbers[f"{link['name']} {direction} errors"] = traffic["errors"]
                if link["kind"] == "vxlan":
                    numbers[f"{link['name']} {direction} packets"] = traffic["packets"]
    return numbers
