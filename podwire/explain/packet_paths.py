"""From what the kernel told of packets (kernel/tracing.py) to the way of each. Pure."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Sequence, Set

from ..kernel.trace.packets import Passage

_ETHERNET = 14
#: Where an echo's answer ends, as nobody has a ping socket; a raw socket has its copy by then (net/ipv4/icmp.c).
_ARRIVED = ("ping_rcv",)
#: Raw sockets that do not want a packet drop a copy of it, of which nothing else was told.
_COPIES = ("raw_rcv", "raw_rcv_skb", "rawv6_rcv", "rawv6_rcv_skb", "raw_v4_input", "raw_local_deliver")


_ARP = 0x0806
_IP = {4: 0x0800, 6: 0x86DD}


def framed(lengths: Iterable[int]) -> Set[int]:
    """Lengths of packets as devices see them: from the Ethernet header on, or from behind it."""
    return {each for length in lengths for each in (length, length + _ETHERNET)}


def flights(
    passages: Sequence[Passage], lengths: Sequence[int], *, alone: bool, answered: bool, version: int = 4
) -> List[Dict[str, Any]]:
    """``[{"what", "way", "end"}]``, in the order in which they began.

    ``what``: ``probe``, ``answer``, or ``neighbour`` for the question after a MAC address. ``way``: devices, each once
    where it was met; ``end``: why and where it was dropped, "" where nobody told. ``lengths``: of the probes, from the
    IP header on; ``alone``: whether nobody else's packets have them; ``version``: of IP.
    """
    known = framed(lengths)
    # What is dropped as another protocol has the address of a packet that is gone. A tunnel's outside may be either.
    strange = {_ARP, *(_IP[other] for other in _IP if other != version and len(lengths) == 1)}
    open_: Dict[str, Dict[str, Any]] = {}
    found: List[Dict[str, Any]] = []
    for passage in passages:
        flight = open_.get(passage.packet)
        if not passage.device:
            is_copy = passage.function in _COPIES or (not passage.function and passage.reason == "SOCKET_FILTER")
            if is_copy or (flight is None and not passage.ours):
                continue
            if passage.protocol in strange and (flight is None or flight["what"] != "neighbour"):
                open_.pop(passage.packet, None)
                continue
            if flight is None:  # dropped before any device had it
                flight = _begin(found, passage, known)
            if passage.function not in _ARRIVED and not answered:
                flight["end"] = " in ".join(filter(None, (passage.reason or "dropped", passage.function)))
            open_.pop(passage.packet, None)
            continue
        is_ours = passage.length in known
        if not passage.ours and (not is_ours or (flight is None and not alone)):
            open_.pop(passage.packet, None)
            continue
        turned = flight is not None and passage.sent and not flight["sent"] and flight["way"][-1:] == [passage.device]
        if flight is None or turned or is_ours != (flight["what"] != "neighbour"):
            flight = open_[passage.packet] = _begin(found, passage, known)
        flight["sent"] = passage.sent
        if flight["way"][-1:] != [passage.device]:
            flight["way"].append(passage.device)
    kept = [each for each in found if each["what"] != "neighbour" or (not answered and each["end"])]
    told = [{key: each[key] for key in ("what", "way", "end")} for each in kept if each["way"] or each["end"]]
    return [each for number, each in enumerate(told) if each not in told[:number]]


def certain(flights: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The probe's own, and its answer's where that begins at the device that the probe came to at last: packets of
    strangers may have the same length, other labs' on this machine among them."""
    probe = next((flight for flight in flights if flight["what"] == "probe"), None)
    if probe is not None:
        yield probe
        for flight in flights:
            if flight["what"] == "answer" and not probe["end"] and flight["way"][:1] == probe["way"][-1:]:
                yield flight


def _begin(found: List[Dict[str, Any]], first: Passage, known: set[int]) -> Dict[str, Any]:
    # Whose a packet is decides nothing: what waited for a MAC address is sent by others, and answers may come in ours.
    what = "neighbour" if first.device and first.length not in known else "probe"
    if what == "probe" and any(each["what"] == "probe" for each in found):
        what = "answer"
    found.append({"what": what, "way": [], "end": "", "sent": first.sent})
    return found[-1]
