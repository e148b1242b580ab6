"""A testinfra backend for nodes on other machines: ``inventory://NODE``, reached as Ansible's inventory says.

testinfra's own asks for scripts of Ansible in PATH, and knows no connection plugins but a few.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from testinfra.backend.base import BaseBackend, CommandResult
from testinfra.utils.ansible_runner import get_ansible_host

ROOT = Path(__file__).resolve().parents[2]
_ENVIRONMENT = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), **os.environ}
_END = "podwire-status="


class InventoryBackend(BaseBackend):
    """Runs commands on one node: by testinfra's own backend of the connection, or by Ansible itself."""

    NAME = "inventory"

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **kwargs)
        self._source = kwargs["ansible_inventory"]

    def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
        config = configparser.ConfigParser(interpolation=None)
        config.read(ROOT / "ansible.cfg")
        host = get_ansible_host(config, inventory(self._source), self.hostname)
        text = self.get_command(command, *args)
        if host is not None:
            return host.backend.run(text)
        return self._by_ansible(text)

    def _by_ansible(self, text: str) -> CommandResult:
        """One run of Ansible, which has no exit status of its own for a command that fails."""
        script = f"{{ {text}\n}}; echo; echo {_END}$?"
        command = [sys.executable, "-m", "ansible", "adhoc", self.hostname, "-i", self._source, "-m", "raw"]
        done = subprocess.run([*command, "-a", shlex.quote(script)], env=_ENVIRONMENT, capture_output=True)
        said, _, status = done.stdout.partition(b"\n")[2].rpartition(f"\n{_END}".encode())
        return self.result(int(status.split()[0]), text.encode(), said, done.stderr)


@lru_cache
def inventory(source: str) -> Any:
    """What Ansible makes of an inventory, as ``ansible-inventory --list`` has it."""
    command = [sys.executable, "-m", "ansible", "inventory", "-i", source, "--list"]
    return json.loads(subprocess.run(command, env=_ENVIRONMENT, capture_output=True, check=True).stdout)
