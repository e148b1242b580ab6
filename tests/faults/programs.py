"""An eBPF program that drops everything, attached to a device's clsact: what bpf(2) and tc do, without a compiler."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess

from podwire.kernel import Namespace
from podwire.model.wire import NLM_F_CREATE, NLM_F_EXCL, attribute

_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _SCHED_CLS, _XDP = 5, 3, 6
_RTM_SETLINK, _RTM_NEWTFILTER = 19, 44
_XDP_GENERIC = 2  # XDP_FLAGS_SKB_MODE
_HOOKS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_ETH_P_ALL = 3 << 8  # in network order
_SHOT, _XDP_DROP = 2, 1


def load(kind: int, verdict: int) -> int:
    """``r0 = verdict; exit``; its descriptor. OSError where the kernel has no BPF."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, verdict) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    instructions, license = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    given = struct.pack("=IIQQIIQ", kind, 2, ctypes.addressof(instructions), ctypes.addressof(license), 0, 0, 0).ljust(
        128, b"\0"
    )
    libc = ctypes.CDLL(None, use_errno=True)
    found: int = libc.syscall(_BPF[platform.machine()], _PROG_LOAD, ctypes.create_string_buffer(given, 128), 128)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def drop(device: str, hook: str) -> str:
    """Attach it in the network namespace that we are in; what refuses, "" if nothing does."""
    try:
        program = load(_SCHED_CLS, _SHOT)
    except (OSError, KeyError) as error:
        return f"this kernel loads no eBPF program: {error}"
    done = subprocess.run(["tc", "qdisc", "add", "dev", device, "clsact"], capture_output=True, text=True, check=False)
    if done.returncode:
        return done.stderr.strip()
    options = attribute(6, struct.pack("=I", program)) + attribute(7, b"drops\0") + attribute(8, struct.pack("=I", 1))
    with open(f"/sys/class/net/{device}/ifindex", encoding="ascii") as file:
        index = int(file.read())
    head = struct.pack("=BxxxiIII", 0, index, 0, _HOOKS[hook], (7 << 16) | _ETH_P_ALL)
    payload = head + attribute(1, b"bpf\0") + attribute(2, options)
    return _asked(_RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, payload)


def drop_by_xdp(device: str) -> str:
    """The same as an XDP program in generic mode."""
    try:
        program = load(_XDP, _XDP_DROP)
    except (OSError, KeyError) as error:
        return f"this kernel loads no eBPF program: {error}"
    with open(f"/sys/class/net/{device}/ifindex", encoding="ascii") as file:
        index = int(file.read())
    xdp = attribute(1, struct.pack("=i", program)) + attribute(3, struct.pack("=I", _XDP_GENERIC))
    return _asked(_RTM_SETLINK, 0, struct.pack("=BxHiII", 0, 0, index, 0, 0) + attribute(43 | 0x8000, xdp))


def _asked(kind: int, flags: int, payload: bytes) -> str:
    with Namespace.current() as here:
        refusals = here.socket.batch([(kind, flags, payload)])
    return "".join(os.strerror(each.errno) + each.text for each in refusals)
