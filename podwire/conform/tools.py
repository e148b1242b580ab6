"""iproute2 and nftables: the suite's hands and its witness, because every CNI author reads what they print."""

from __future__ import annotations

import os
import subprocess
from typing import Dict, List, Optional

from ..errors import LabError

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENVIRONMENT: Dict[str, str] = {"PATH": PATH, "LC_ALL": "C"}


def find(name: str) -> Optional[str]:
    """The path of a program of the machine, None where it is not installed."""
    for directory in PATH.split(":"):
        path = f"{directory}/{name}"
        if os.access(path, os.X_OK):
            return path
    return None


def run(*command: str, stdin: str = "") -> str:
    """What a program prints. LabError when it fails."""
    path = find(command[0])
    if path is None:
        raise LabError(f"failed to run {command[0]}: it is not installed", f"install the package of {command[0]}")
    done = subprocess.run(
        [path, *command[1:]], input=stdin, env=_ENVIRONMENT, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise LabError(f"failed to run {' '.join(command)}: {done.stderr.strip() or done.returncode} {stdin}".strip())
    return done.stdout


def ip(*lines: str) -> List[str]:
    """Run lines of ``ip`` in one process, in the current network namespace; what they print."""
    return run("ip", "-o", "-d", "-batch", "-", stdin="\n".join(lines) + "\n").splitlines()
