"""A closer look: one probe at a time, with the kernel telling its way and where it ended.

The controller asks for it (asking.py), of few pairs: what fails is known by then, and hypotheses want to know more.
Every probe of a node has a length that no other node's has, so that packets are known by it wherever they are met::

    {"source": "pod-a", "target": "pod-c", "address": "10.244.2.2", "protocol": "icmp", "length": 226,
     "answered": false,
     "error":    "",                                          what the sender itself was told, as an errno's text
     "flights":  [{"what": "probe", "way": ["eth0", "vethb2", "cni0", "flannel.1"],
                   "end": "NO_TX_TARGET in vxlan_xmit"}],     tracefs: devices, and why and where it was dropped
     "verdicts": [["", "ip hostfw input", 4, true]],          nftables: place, chain, rule (0: policy), whether it drops
     "rules":    ["", "pod-a"],                               where nftables was asked
     "counters": {"": {"flannel.1 tx dropped": 1}}}           what grew meanwhile; "" is the node

Leaves nothing behind. What the kernel cannot tell is missing, and ``cannot`` says why.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

from ..errors import PodwireError
from ..kernel import Namespace
from ..kernel.rulesets import nft_tables
from ..kernel.trace.packets import PacketTrace
from ..kernel.trace.rules import RuleTrace
from ..observe.snapshot import counters, links
from ..prove import packets
from ..prove.reach import FAMILY
from .packet_paths import certain, flights, framed

Ask = Mapping[str, Any]
"""What asking.py wants to know: ``source``, ``target``, ``address``, ``port``, ``protocol``, ``length`` (of the IP
packet), ``alone`` (few others send packets of that length), ``outer`` (bytes that a tunnel adds to that), ``tunnel``
(what the tunnel's other end may be called by), ``places`` (pod -> path of its namespace, of this node's pods on the
way; "" for those on the node's own network)."""

#: Seconds that an answer may take. One that was lost is not waited for where the kernel tells of its end.
_PATIENCE = 0.3
_STEP = 0.02
#: An ARP request, a neighbour solicitation (with its option), from the IP header on or as a whole.
_NEIGHBOUR = (28, 72)
_SYN = {4: 60, 6: 80}
_TOLD = ("source", "target", "address", "protocol", "length")
_TELLING = (
    "Discards", "Errors", "Errs", "NoRoutes", "Fails", "RPFilter", "NoPorts", "Drop", "FragCreates", "InUnknown",
)  # fmt: skip


def look(node: str, asks: Sequence[Ask]) -> Dict[str, Any]:
    """``{"looks": [...], "cannot": [...]}``, from the node that this process runs in."""
    looks: List[Dict[str, Any]] = []
    cannot: List[str] = []
    try:
        with _ended_by_way_of_its_end(), ExitStack() as stack:
            spaces = {"": stack.enter_context(Namespace.current(node))}
            for ask in asks:
                for pod, path in ask["places"].items():
                    if pod not in spaces:
                        spaces[pod] = stack.enter_context(Namespace.open(path, pod)) if path else spaces[""]
            looking = _Looking(stack, spaces, {length for ask in asks for length in _lengths(ask)}, cannot)
            for number, ask in enumerate(asks):
                looks.append(looking.at(number, ask))
    except PodwireError as error:  # evidence is there without it: a pod that went meanwhile is no reason to fail
        cannot.append(error.message)
    except OSError as error:
        cannot.append(f"failed to look closer: {error.strerror}")
    return {"looks": looks, "cannot": cannot}


@contextmanager
def _ended_by_way_of_its_end() -> Iterator[None]:
    """A signal to end us ends what listens first: an instance of tracefs does not go with its process."""

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


class _Looking:
    """What listens while probes are sent."""

    def __init__(self, stack: ExitStack, spaces: Mapping[str, Namespace], lengths: Set[int], cannot: List[str]) -> None:
        self.spaces = spaces
        self.run = int.from_bytes(os.urandom(4), "big")
        self.rules: Dict[str, RuleTrace] = {}
        self.packets: Optional[PacketTrace] = None
        try:
            self.packets = stack.enter_context(PacketTrace(framed([*lengths, *_NEIGHBOUR])))
        except PodwireError as error:
            cannot.append(error.message)
        seen: Set[int] = set()
        for place, space in spaces.items():
            inode = os.fstat(space.fd).st_ino
            if inode in seen or not nft_tables(space):
                continue
            seen.add(inode)
            try:
                self.rules[place] = stack.enter_context(RuleTrace(space, lengths))
            except PodwireError as error:
                cannot.append(f"{error.message} ({place or 'the node'})")

    def at(self, number: int, ask: Ask) -> Dict[str, Any]:
        """One probe."""
        source = self.spaces.get(ask["source"], self.spaces[""])
        before = {place: _counters(space) for place, space in self.spaces.items()}
        if self.packets is not None:
            self.packets.begin()
        answered, error = source.call(self._send, number, ask)
        told: Dict[str, Any] = {key: ask[key] for key in _TOLD}
        told.update(answered=answered, error=error, flights=[], verdicts=[], rules=sorted(self.rules), counters={})
        if self.packets is not None:
            told["flights"] = self._flights(ask, answered)
        for place, trace in self.rules.items():
            for verdict in trace.verdicts():
                known = (ask["address"], *(ask["tunnel"] if verdict.length == _lengths(ask)[-1] else ()))
                if set(known) & set(verdict.ends) or (ask["alone"] and not verdict.ends):
                    row = [place, f"{verdict.family} {verdict.table} {verdict.chain}", verdict.handle, verdict.drops]
                    told["verdicts"] += [row] if row not in told["verdicts"] else []
        for place, space in self.spaces.items():
            now = _counters(space)
            grown = {key: now[key] - before[place].get(key, 0) for key in now if now[key] > before[place].get(key, 0)}
            if grown and not (place and space is self.spaces[""]):
                told["counters"][place] = grown
        return told

    def _send(self, number: int, ask: Ask) -> Tuple[bool, str]:
        """Whether an answer came, or what the sender was told."""
        version = ip_address(ask["address"]).version
        if ask["protocol"] == "icmp":
            probe: socket.socket = packets.echo_socket(version)
            size = ask["length"] - packets.IP_HEADER[version]
            payload = bytes(packets.EchoTemplate(version, packets.PASS, self.run, size).packet(number))
        elif ask["protocol"] == "udp":
            probe = packets.datagram_socket(version)
            payload = packets.datagram(self.run, number).ljust(ask["length"] - packets.IP_HEADER[version] - 8, b"\0")
        else:
            probe, payload = socket.socket(FAMILY[version], socket.SOCK_STREAM | socket.SOCK_NONBLOCK), b""
        with probe:
            probe.setblocking(False)
            try:
                if ask["protocol"] == "icmp":
                    probe.sendto(payload, (ask["address"], 0))
                else:
                    probe.connect((ask["address"], ask["port"]))
                    probe.send(payload)
            except BlockingIOError:
                pass
            except OSError as error:
                return False, os.strerror(error.errno or 0)
            return self._answer(probe, version, number, ask)

    def _answer(self, probe: socket.socket, version: int, number: int, ask: Ask) -> Tuple[bool, str]:
        until = time.monotonic() + _PATIENCE
        event = select.POLLOUT if ask["protocol"] == "tcp" else select.POLLIN
        poll = select.poll()
        poll.register(probe, event)
        while time.monotonic() < until:
            if not poll.poll(_STEP * 1000):
                if self._is_lost(ask):
                    break
                continue
            refused = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if refused:
                return False, os.strerror(refused)
            if ask["protocol"] == "tcp":
                return True, ""
            try:
                data = bytearray(probe.recv(65536))
            except OSError as error:
                return False, os.strerror(error.errno or 0)
            if ask["protocol"] == "udp":
                return True, ""
            answer = packets.parse_echo(version, self.run, data, len(data))
            if answer is not None and answer.number == number:
                return answer.meaning == "reply", "" if answer.meaning == "reply" else answer.meaning
        return False, ""

    def _is_lost(self, ask: Ask) -> bool:
        """Whether the kernel has told of its end: then nobody need wait for it."""
        if self.packets is None:
            return False
        return any(each["end"] for each in certain(self._flights(ask, False)))

    def _flights(self, ask: Ask, answered: bool) -> List[Dict[str, Any]]:
        assert self.packets is not None
        passages = self.packets.passages()
        version = ip_address(ask["address"]).version
        return flights(passages, _lengths(ask), alone=ask["alone"], answered=answered, version=version)


def _counters(space: Namespace) -> Dict[str, int]:
    """What counts losses, and packets of VXLAN devices."""
    found = {key: value for key, value in space.call(counters).items() if any(word in key for word in _TELLING)}
    for link in links(space):
        for way in ("rx", "tx"):
            for what in ("dropped", "errors", *(["packets"] if link["kind"] == "vxlan" else [])):
                found[f"{link['name']} {way} {what}"] = link.get(way, {}).get(what, 0)
    return found
