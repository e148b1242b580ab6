"""Which processes hold ports of the caller's network namespace."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Collection, Dict, NamedTuple

_LISTEN = "0A"  # TCP_LISTEN of include/net/tcp_states.h


class Holder(NamedTuple):
    """A process with a socket: its name as the kernel has it, and its command line."""

    pid: int
    name: str
    command: str


def holders(protocol: str, ports: Collection[int]) -> Dict[int, Holder]:
    """By port, a process that listens by ``tcp`` or has a socket of ``udp``. A port that only the kernel itself uses,
    as VXLAN does, has none."""
    inodes = {}
    for table in (protocol, f"{protocol}6"):
        with suppress(OSError), open(f"/proc/thread-self/net/{table}", encoding="ascii") as file:
            for words in (line.split() for line in list(file)[1:]):
                port = int(words[1].rpartition(":")[2], 16)
                if port in ports and (protocol != "tcp" or words[3] == _LISTEN):
                    inodes[f"socket:[{words[9]}]"] = port
    by_port: Dict[int, Holder] = {}
    for pid in filter(str.isdigit, os.listdir("/proc")) if inodes else ():
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    held = inodes.get(os.readlink(f"/proc/{pid}/fd/{descriptor}"))
                    if held is not None:
                        by_port[held] = _holder(int(pid))
    return by_port


def _holder(pid: int) -> Holder:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        name = file.read().strip()
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return Holder(pid, name, file.read().replace(b"\0", b" ").decode(errors="replace").strip())
