"""Running playbooks as a user does, and what they must leave alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Sequence, Set

from podwire.intent.ids import cluster_id
from podwire.lab import registry

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "ansible", "playbook"]
_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


class Recap(NamedTuple):
    """A host's line in the PLAY RECAP."""

    ok: int
    changed: int
    unreachable: int
    failed: int


class Run(NamedTuple):
    """A playbook that ended."""

    status: int
    output: str

    @property
    def recap(self) -> Dict[str, Recap]:
        """By host."""
        return {name: Recap(*map(int, counts)) for name, *counts in _RECAP.findall(self.output)}

    @property
    def changed(self) -> int:
        """Changed tasks over all hosts."""
        return sum(each.changed for each in self.recap.values())


def environment(scratch: Path) -> Dict[str, str]:
    """Ansible's environment, with its temporary files under ``scratch``."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PYTEST_"))}
    return {
        **kept,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_LOCAL_TEMP": str(scratch),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONPATH": str(ROOT),
    }


class Playbooks:
    """Runs playbooks on one inventory. ``prefix``: a command that runs the rest of its line, to run them elsewhere."""

    #: Seconds that one may take.
    patience = 400

    def __init__(self, inventory: Path, scratch: Path, prefix: Sequence[str] = ()) -> None:
        self.inventory, self.scratch, self._prefix = inventory, scratch, prefix
        self.id = cluster_id(str(inventory))

    def run(self, playbook: str, *arguments: str, status: int = 0) -> Run:
        """Run one and hold it to its exit status."""
        done = subprocess.run(
            [*self._prefix, *COMMAND, "-i", str(self.inventory), str(ROOT / playbook), *arguments],
            cwd=ROOT,
            env=environment(self.scratch),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=self.patience,
        )
        assert done.returncode == status, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return Run(done.returncode, done.stdout)

    def node(self, name: str) -> int:
        """The process id of a running node."""
        pid = registry.node_pid(self.id, name)
        assert pid is not None, f"{name} does not run"
        return pid

    def namespaces(self) -> Set[str]:
        """Every network namespace that the lab's processes and their children live in."""
        lab = registry.read(self.id)
        holders = [] if lab is None else [each.pid for each in (*lab.processes.values(), *lab.containers.values())]
        spaces = {os.readlink(f"/proc/{pid}/ns/pid") for pid in holders}
        inside = [pid for pid in processes() if link(pid, "pid") in spaces]
        return {link(pid, "net") for pid in inside + holders} - {""}

    def left(self) -> List[str]:
        """What is left of the lab's files."""
        paths = [registry.run_dir(self.id), registry.state_dir(self.id)]
        return [path for path in paths if os.path.exists(path)] + sorted(map(str, self.scratch.iterdir()))


def processes() -> List[int]:
    """Every process of the machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def link(pid: int, namespace: str) -> str:
    """The namespace of a process; empty when it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{namespace}")
    except OSError:
        return ""


def machine() -> Dict[str, object]:
    """What a lab must never touch: the machine's own network, mounts and files."""

    def text(path: str) -> str:
        try:
            return Path(path).read_text()
        except OSError:
            return ""

    def tree(path: str) -> List[str]:
        return sorted(os.path.join(where, name) for where, dirs, files in os.walk(path) for name in dirs + files)

    directories = ("/etc/cni", "/var/lib/cni", "/etc/podwire", "/run/flannel", "/run/netns")
    sysctls = ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv4/conf/all/rp_filter")
    state: Dict[str, object] = {path: tree(path) for path in directories}
    state.update({key: text(f"/proc/sys/net/{key}") for key in sysctls})
    state["links"] = sorted(os.listdir("/sys/class/net"))
    state["routes"] = text("/proc/net/route")
    state["mounts"] = text("/proc/self/mountinfo")
    state["hostname"] = text("/proc/sys/kernel/hostname")
    if shutil.which("nft"):
        state["rules"] = subprocess.run(
            ["nft", "--stateless", "list", "ruleset"], capture_output=True, check=True
        ).stdout
    return state
