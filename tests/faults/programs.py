"""An eBPF program that drops everything, attached to a device's clsact: what bpf(2) and tc do, without a compiler."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import subprocess

from podwire.kernel import Namespace
from podwire.kernel.netlink import NLM_F_CREATE, NLM_F_EXCL, attribute

_BPF = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _SCHED_CLS = 5, 3
_RTM_NEWTFILTER = 44
_HOOKS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_ETH_P_ALL = 3 << 8  # in network order
_SHOT = 2


def load() -> int:
    """``r0 = TC_ACT_SHOT; exit``; its descriptor. OSError where the kernel has no BPF."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, _SHOT) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    instructions, license = ctypes.create_string_buffer(code, len(code)), ctypes.create_string_buffer(b"GPL")
    given = struct.pack(
        "=IIQQIIQ", _SCHED_CLS, 2, ctypes.addressof(instructions), ctypes.addressof(license), 0, 0, 0
    ).ljust(128, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    found: int = libc.syscall(_BPF[platform.machine()], _PROG_LOAD, ctypes.create_string_buffer(given, 128), 128)
    if found < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return found


def drop(device: str, hook: str) -> str:
    """Attach it in the network namespace that we are in; what refuses, "" if nothing does."""
    try:
        program = load()
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
    with Namespace.current() as here:
        refusals = here.socket.batch([(_RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, payload)])
    return "".join(os.strerror(each.errno) + each.text for each in refusals)
