"""Programs such as ip, tc and nft, run in a network namespace."""

from __future__ import annotations

import subprocess
from typing import Sequence

from ..errors import KernelError, UnsupportedError
from .isolate import fresh_namespace
from .namespaces import Namespace


def run(namespace: Namespace, command: Sequence[str], stdin: str = "") -> str:
    """A command's standard output. UnsupportedError if it is not installed, KernelError if it fails."""
    try:
        with namespace.entered():
            done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UnsupportedError(f"failed to run {command[0]}: it is not installed on the node") from None
    if done.returncode:
        cause = (done.stderr.strip() or f"status {done.returncode}").splitlines()[0]
        raise KernelError(f"failed to run {' '.join(command)} in {namespace.name}: {cause}")
    return done.stdout


def qdisc_missing(kind: str, words: str) -> str:
    """Why the kernel refuses a queueing discipline, tried on the loopback of a new namespace; "" if it does not."""
    try:
        with fresh_namespace("a namespace to try in") as namespace:
            run(namespace, ("tc", "qdisc", "add", "dev", "lo", "root", *words.split()))
    except UnsupportedError:
        return "tc is not installed on the node (iproute2)"
    except KernelError as error:
        if error.errno:  # no namespace to try it in
            return error.message
        return f"this kernel lacks {kind} (CONFIG_NET_SCH_{kind.upper()})"
    return ""
