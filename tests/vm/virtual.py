"""Virtual machines on a tap underlay, reached over SSH alone.

::

    underlay (network namespace)    br0 192.0.2.1/24, where playbooks and QEMU run
      vm n                          192.0.2.1n/24, 384 MiB; its disk's changes go with QEMU

Software emulation only: a machine's /dev/kvm may be there and hang. Translated code may take tb-size MiB of memory,
of which QEMU would take 1,024 by itself.
"""

from __future__ import annotations

import queue
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Sequence

from tests.e2e.machines import configure, hang_up, started
from tests.e2e.playbooks import Playbooks

from .image import Image

#: Seconds for a machine to be up; three of them share two cores and are emulated.
_PATIENCE = 400
_READY = "vm is ready"


class Console:
    """What a machine writes to its serial port, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._ready: queue.Queue[bool] = queue.Queue()
        self.lines: List[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stream:
            for line in stream:
                self.lines.append(line)
                if _READY in line:
                    self._ready.put(True)
        self._ready.put(False)

    def end(self) -> None:
        """End the machine, and read its last words."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def wait(self) -> None:
        """Wait until the machine has started once more."""
        try:
            assert self._ready.get(timeout=_PATIENCE), "the machine ended"
        except (queue.Empty, AssertionError) as error:
            raise AssertionError("".join(self.lines[-60:])) from error


class Machine(NamedTuple):
    """A virtual machine that runs."""

    name: str
    address: str
    console: Console


class Machines(NamedTuple):
    """Machines by name, and the way to them."""

    by_name: Dict[str, Machine]
    underlay: subprocess.Popen[str]
    folder: Path

    @property
    def variables(self) -> Dict[str, object]:
        """What Ansible needs to get there."""
        return {
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "ansible_ssh_common_args": " ".join(self._options),
            "ansible_timeout": 120,
        }

    @property
    def _options(self) -> List[str]:
        options = (
            f"UserKnownHostsFile={self.folder}/known_hosts",
            "StrictHostKeyChecking=accept-new",
            f"ControlPath={self.folder}/%C",
        )
        return [word for option in options for word in ("-o", option)]

    def playbooks(self, inventory: Path, scratch: Path) -> Playbooks:
        """Playbooks that run from the underlay."""
        found = Playbooks(inventory, scratch, prefix=("nsenter", "-t", str(self.underlay.pid), "-n"))
        found.patience = 3 * _PATIENCE
        return found

    def run(self, name: str, command: str, *, check: bool = True) -> str:
        """Run a shell command on a machine."""
        ssh = ["ssh", "-i", str(self.folder / "key"), *self._options, f"root@{self.by_name[name].address}", command]
        inside = ["nsenter", "-t", str(self.underlay.pid), "-n", *ssh]
        done = subprocess.run(inside, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def reboot(self, name: str) -> None:
        """Restart a machine, and wait until it is up."""
        self.run(name, "systemctl reboot", check=False)
        hang_up(self.folder)
        self.by_name[name].console.wait()


@contextmanager
def virtual_machines(image: Image, folder: Path, names: Sequence[str]) -> Iterator[Machines]:
    """Run machines, each ready; keys lie in ``folder``."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True)
    key = (folder / "key.pub").read_text().split()[1]
    with ExitStack() as stack:
        underlay = stack.enter_context(started(["--net"], "echo ready; exec sleep infinity", "ready"))
        configure(
            underlay,
            "link set lo up",
            "link add br0 type bridge",
            "link set br0 up",
            "address add 192.0.2.1/24 dev br0",
        )
        made = Machines({}, underlay, folder)
        for last, name in enumerate(names, 11):
            configure(underlay, f"tuntap add tap{last} mode tap", f"link set tap{last} master br0 up")
            words = f"systemd.hostname={name} vm.address=192.0.2.{last}/24 vm.key={key}"
            console = _qemu(image, underlay, last, words)
            stack.callback(console.end)
            made.by_name[name] = Machine(name, f"192.0.2.{last}", console)
        for each in made.by_name.values():
            each.console.wait()
        try:
            yield made
        finally:
            hang_up(folder)


def _qemu(image: Image, underlay: subprocess.Popen[str], number: int, words: str) -> Console:
    command = ["nsenter", "-t", str(underlay.pid), "-n", "qemu-system-x86_64", "-accel", "tcg,tb-size=128", "-m", "384"]
    command += ["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-device", "virtio-rng-pci"]
    command += ["-kernel", str(image.kernel), "-initrd", str(image.initrd)]
    command += ["-append", f"root=/dev/vda rw console=ttyS0 quiet {words}"]
    command += ["-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on"]
    command += ["-netdev", f"tap,id=net,ifname=tap{number},script=no,downscript=no"]
    command += ["-device", f"virtio-net-pci,netdev=net,mac=52:54:00:00:00:{number:02x}"]
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    return Console(process)
