"""Packets in the kernel, and why it drops one: tracepoints of an instance of tracefs of our own.

An instance has its own buffer and its own events, so nobody else's tracing is touched, and it goes when this ends.
Without BPF and without kprobes. Sources: Documentation/trace/{ftrace,events}.rst, include/trace/events/{net,skb}.h.
Where tracefs is mounted nowhere it is mounted on a descriptor, which nobody sees (fsmount(2), Linux 5.2).
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from typing import Collection, List, NamedTuple, Optional

from ...errors import UnsupportedError
from ..namespaces import mounted

_PLACES = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_OURS = "podwire-"
_KILOBYTES = b"256"
#: Where a packet is handed to a device, and where it comes from one, bridge ports among them (net/core/dev.c).
_PASSES = ("net/net_dev_queue", "net/netif_receive_skb")
_DROPS = "skb/kfree_skb"
_MARKER = "podwire looks"
_LINE = re.compile(r"^\s*.+-(\d+)\s+\[\d+\]\s+\S+\s+[\d.]+: (\w+): (.*)$")
_FIELD = re.compile(r"(\w+)=(\S+)")
_NUMBER = re.compile(r"(0x)?[0-9a-f]{8,}")
_REASON = re.compile(r"reason: (\w+)")


class Passage(NamedTuple):
    """One event of a packet: at ``device``, ``length`` bytes; or its end, where ``device`` is empty.

    ``packet``: its address, hashed, which the next packet may have once it is gone. ``sent``: handed to the device,
    not taken from it. ``reason``: the running kernel's own name for why it was dropped ("" before Linux 5.17),
    ``function``: where. ``ours``: caused by this thread. ``protocol``: of a drop, as in Ethernet's header.
    """

    packet: str
    device: str = ""
    length: int = 0
    sent: bool = False
    reason: str = ""
    function: str = ""
    ours: bool = False
    protocol: int = 0


class PacketTrace:
    """Traces packets of some lengths, and all drops of IP and ARP. Use as a context manager; UnsupportedError where
    the kernel or its owner does not let us."""

    def __init__(self, lengths: Collection[int]) -> None:
        """``lengths``: bytes from the Ethernet header on, or from behind it where a packet is received."""
        self._lengths = sorted(set(lengths))
        self._top, self._fd, self._name = -1, -1, ""

    def __enter__(self) -> PacketTrace:
        try:
            self._top = _tracefs()
            self._make()
            self._write("buffer_size_kb", _KILOBYTES)
            wanted = " || ".join(f"len == {length}" for length in self._lengths)
            for event in _PASSES:
                self._enable(event, wanted)
            self._enable(_DROPS, "protocol == 0x800 || protocol == 0x86dd || protocol == 0x806")
        except BaseException as error:
            self.__exit__()
            if not isinstance(error, OSError):  # a signal
                raise
            raise UnsupportedError(f"failed to trace packets: {error.strerror}", error.errno or 0) from error
        return self

    def __exit__(self, *_: object) -> None:
        if self._name:
            for each in os.listdir("/proc/self/fd"):  # a signal may have ended us between opening a file and closing it
                with suppress(OSError):
                    if f"/{self._name}" in os.readlink(f"/proc/self/fd/{each}"):
                        os.close(int(each))
            with suppress(OSError):
                os.rmdir(f"instances/{self._name}", dir_fd=self._top)
        if self._top >= 0:
            os.close(self._top)

    def begin(self) -> None:
        """Forget what was; the thread that calls is the one whose packets are ``ours``."""
        os.close(os.open("trace", os.O_WRONLY | os.O_TRUNC, dir_fd=self._fd))
        self._write("trace_marker", _MARKER.encode())

    def passages(self) -> List[Passage]:
        """What happened since, in order."""
        descriptor = os.open("trace", os.O_RDONLY, dir_fd=self._fd)
        with open(descriptor, encoding="utf-8", errors="replace") as file:
            return parse(file.read())

    def _make(self) -> None:
        """An instance, locked as long as we live: those that nobody holds any more are somebody's who was killed.
        Nodes of one machine look at once: one makes its own at a time, or it is taken for stale before it is locked."""
        instances = os.open("instances", os.O_RDONLY, dir_fd=self._top)
        try:
            fcntl.flock(instances, fcntl.LOCK_EX)
            for name in os.listdir(instances):
                if name.startswith(_OURS):
                    _remove_stale(instances, name)
            self._name = f"{_OURS}{os.urandom(6).hex()}"
            os.mkdir(self._name, dir_fd=instances)
            self._fd = os.open(self._name, os.O_RDONLY, dir_fd=instances)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(instances)

    def _enable(self, event: str, condition: str) -> None:
        self._write(f"events/{event}/filter", condition.encode())
        self._write(f"events/{event}/enable", b"1")

    def _write(self, path: str, data: bytes) -> None:
        descriptor = os.open(path, os.O_WRONLY, dir_fd=self._fd)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)


def parse(text: str) -> List[Passage]:
    """The lines of an instance's ``trace``. Pure."""
    found: List[Passage] = []
    own: Optional[str] = None
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, event, details = match.groups()
        if event == "tracing_mark_write":
            own = thread if details.strip() == _MARKER else own
            continue
        fields = dict(_FIELD.findall(details))
        packet, ours = fields.get("skbaddr", ""), thread == own
        if event == "kfree_skb":
            reason = _REASON.search(details)
            # Compilers append to a function's name (.constprop.0), the kernel where in it this was (+0x9e/0xb0);
            # kernels of some years ago print a number that says nothing.
            function = fields.get("location", "").partition("+")[0].partition(".")[0]
            function = "" if _NUMBER.fullmatch(function) else function
            why, protocol = reason[1] if reason else "", int(fields.get("protocol", 0))
            found.append(Passage(packet, reason=why, function=function, ours=ours, protocol=protocol))
        else:
            device, length = fields.get("dev", ""), int(fields.get("len", 0))
            found.append(Passage(packet, device, length, event == "net_dev_queue", ours=ours))
    return found


def _tracefs() -> int:
    """A descriptor of tracefs' top."""
    for path in _PLACES:
        with suppress(OSError):
            top = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            if "instances" in os.listdir(top):
                return top
            os.close(top)
    return mounted("tracefs")


def _remove_stale(instances: int, name: str) -> None:
    with suppress(OSError):
        stale = os.open(name, os.O_RDONLY, dir_fd=instances)
        try:
            fcntl.flock(stale, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(stale)
        os.rmdir(name, dir_fd=instances)
