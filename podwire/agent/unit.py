"""The command ``podwire`` on a node, and on nodes that run systemd the unit that applies at boot and watches.

They are installed last, by the stage that attaches pods, so that the unit's first apply has nothing to
do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Dict, List

from ..errors import PodwireError
from ..files import replace_file

HOME = "/opt/podwire"
#: What runs on a node comes from here.
LIBRARY = os.path.join(HOME, "lib")
NAME = "podwire.service"
PATH = f"/etc/systemd/system/{NAME}"
#: ``podwire`` for people on the node, and for the unit.
COMMAND = os.path.join(HOME, "podwire")
_LAUNCHER = """#!{python} -IS
import os
import sys

sys.path.insert(0, os.path.realpath("{library}"))
from podwire.cli import main

sys.exit(main())
"""
#: KillMode: the servers of podwire's own pods are children of the unit, and outlive its restart.
_UNIT = """# Written by podwire {version}.
[Unit]
Description=podwire: keep this node's pod network as declared
Documentation=file:/etc/podwire/intent.json
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=all
ExecStart={command} apply --watch
Restart=on-failure
RestartSec=5
KillMode=process
TimeoutStartSec=300

[Install]
WantedBy=multi-user.target
"""


def install(*, check: bool = False) -> List[str]:
    """Install, enable and start; restarted where it changed, as with another podwire. One line a change; nothing
    where podwire is not installed."""
    if not os.path.isdir(LIBRARY):
        return []
    lines = []
    for path, text in _files().items():
        try:
            with open(path, encoding="utf-8") as file:
                present = file.read()
        except FileNotFoundError:
            present = ""
        if present != text:
            lines.append(f"{'~' if present else '+'} file {path}")
            if not check:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                replace_file(path, text.encode(), 0o755 if path == COMMAND else 0o644)
    if lines and not check and _has_systemd():
        _systemctl("daemon-reload")
        _systemctl("enable", NAME)
        _systemctl("restart", "--no-block", NAME)
    return lines


def remove(*, check: bool = False) -> List[str]:
    """Stop and remove it; what is not there is no error. Comes first: what is removed before would be put back."""
    paths = [path for path in (PATH, COMMAND) if os.path.exists(path)]
    if PATH in paths and not check and _has_systemd():
        _systemctl("disable", "--now", NAME)
    if not check:
        for path in paths:
            os.unlink(path)
        if PATH in paths and _has_systemd():
            _systemctl("daemon-reload")
    return [f"- file {path}" for path in paths]


def root(default: str) -> str:
    """Where processes to come find podwire: the link on a node, which an upgrade changes, else ``own``."""
    return LIBRARY if os.path.realpath(LIBRARY) == os.path.realpath(default) else default


def _has_systemd() -> bool:
    """sd_booted(3)."""
    return os.path.isdir("/run/systemd/system") and shutil.which("systemctl") is not None


def _files() -> Dict[str, str]:
    version = os.path.basename(os.path.realpath(LIBRARY))
    python = str(getattr(sys, "_base_executable", None) or sys.executable)
    files = {COMMAND: _LAUNCHER.format(python=python, library=LIBRARY)}
    return {**files, PATH: _UNIT.format(version=version, command=COMMAND)} if _has_systemd() else files


def _systemctl(*arguments: str) -> None:
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        cause = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise PodwireError(f"failed to run systemctl {' '.join(arguments)}: {cause}", f"journalctl -u {NAME} has more")
