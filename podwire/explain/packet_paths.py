"""From what the kernel traced of packets (kernel/trace/packets.py) to the path of each. Pure."""

from __future__ import annotations

from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set

from ..kernel.trace.packets import Passage
from .records import PacketPath

_ETHERNET = 14
#: Where an echo's answer ends, as nobody has a ping socket; a raw socket has its copy by then (net/ipv4/icmp.c).
_ARRIVED = ("ping_rcv",)
#: Raw sockets that do not want a packet drop a copy of it, of which nothing else was traced.
_COPIES = ("raw_rcv", "raw_rcv_skb", "rawv6_rcv", "rawv6_rcv_skb", "raw_v4_input", "raw_local_deliver")
_ARP = 0x0806
_IP = {4: 0x0800, 6: 0x86DD}


def framed(lengths: Iterable[int]) -> Set[int]:
    """Lengths of packets as devices see them: from the Ethernet header on, or from behind it."""
    return {frame for length in lengths for frame in (length, length + _ETHERNET)}


def flights(
    passages: Sequence[Passage], lengths: Sequence[int], *, alone: bool, answered: bool, version: int = 4
) -> List[PacketPath]:
    """The paths of a probe, its answer and requests for MAC addresses, in the order in which they began.

    ``lengths``: of the probes, from the IP header on; ``alone``: whether no other packets have them; ``version``: of
    IP.
    """
    tracker = _Tracker(lengths, alone, answered, version)
    for passage in passages:
        if passage.device:
            tracker.passed(passage)
        else:
            tracker.dropped(passage)
    return tracker.paths()


def certain(flights: Sequence[PacketPath]) -> Iterator[PacketPath]:
    """The probe's own, and its answer's where that begins at the device that the probe came to at last: packets of
    others may have the same length, other labs' on this machine among them."""
    probe = next((flight for flight in flights if flight["what"] == "probe"), None)
    if probe is not None:
        yield probe
        for flight in flights:
            if flight["what"] == "answer" and not probe["end"] and flight["way"][:1] == probe["way"][-1:]:
                yield flight


class _Flight:
    """A packet under way."""

    def __init__(self, what: str, is_sent: bool) -> None:
        self.what, self.is_sent = what, is_sent
        self.devices: List[str] = []
        self.reason = self.function = ""

    def row(self) -> PacketPath:
        end = " in ".join(filter(None, (self.reason, self.function)))
        return {
            "what": self.what, "way": self.devices, "end": end, "reason": self.reason, "function": self.function
        }  # fmt: skip


class _Tracker:
    """Follows packets by their address in the kernel (skbaddr), which is used again when a packet is gone."""

    def __init__(self, lengths: Sequence[int], alone: bool, answered: bool, version: int) -> None:
        self.known = framed(lengths)
        self.alone, self.answered = alone, answered
        # A drop of another protocol is of another packet. A tunnel's outside may be of either version.
        self.strange = {_ARP, *(_IP[other] for other in _IP if other != version and len(lengths) == 1)}
        self.open: Dict[str, _Flight] = {}
        self.flights: List[_Flight] = []

    def dropped(self, passage: Passage) -> None:
        """The end of a packet."""
        flight = self.open.get(passage.packet)
        is_copy = passage.function in _COPIES or (not passage.function and passage.reason == "SOCKET_FILTER")
        if is_copy or (flight is None and not passage.ours):
            return
        self.open.pop(passage.packet, None)
        if passage.protocol in self.strange and (flight is None or flight.what != "neighbour"):
            return
        if flight is None:  # dropped before any device had it
            flight = self._begin(passage)
        if passage.function not in _ARRIVED and not self.answered:
            flight.reason, flight.function = passage.reason or "dropped", passage.function

    def passed(self, passage: Passage) -> None:
        """A device had a packet."""
        flight: Optional[_Flight] = self.open.get(passage.packet)
        is_probe = passage.length in self.known
        if not passage.ours and (not is_probe or (flight is None and not self.alone)):
            self.open.pop(passage.packet, None)
            return
        turned = flight and passage.sent and not flight.is_sent and flight.devices[-1:] == [passage.device]
        if flight is None or turned or is_probe != (flight.what != "neighbour"):
            flight = self.open[passage.packet] = self._begin(passage)
        flight.is_sent = passage.sent
        if flight.devices[-1:] != [passage.device]:
            flight.devices.append(passage.device)

    def paths(self) -> List[PacketPath]:
        """Each path once; requests for MAC addresses only where they explain why no answer came."""
        rows: List[PacketPath] = []
        for flight in self.flights:
            row = flight.row()
            is_needed = flight.what != "neighbour" or (not self.answered and row["end"])
            if is_needed and (row["way"] or row["end"]) and row not in rows:
                rows.append(row)
        return rows

    def _begin(self, first: Passage) -> _Flight:
        # Whose a packet is decides nothing: what waited for a MAC address is sent by others, and answers may come in
        # our own context.
        what = "neighbour" if first.device and first.length not in self.known else "probe"
        if what == "probe" and any(flight.what == "probe" for flight in self.flights):
            what = "answer"
        self.flights.append(_Flight(what, first.sent))
        return self.flights[-1]
