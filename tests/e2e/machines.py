"""Machines that are reached over SSH alone: sshd in namespaces of its own, with files of its own.

::

    underlay (network namespace)    br0 192.0.2.1/24, br1 198.51.100.1/24; playbooks run from here
      machine n                     eth0 192.0.2.1n/24, eth1 198.51.100.1n/24; own network, mount, PID, UTS and IPC
                                    namespaces, own /etc, /var/lib, /opt, /run, /root and /home; PID 1 reaps, and
                                    sshd is its child

Each run makes its keys. Nothing of the host's network is touched, and all ends with the processes.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Sequence

from .playbooks import Playbooks

#: The first one is the machines' own, the second one for management.
NETWORKS = ("192.0.2", "198.51.100")
#: A user that may become root by sudo, and nothing else.
OPERATOR = "operator-1"
_SSHD = """
HostKey /etc/ssh/of_the_test
AuthorizedKeysFile /etc/ssh/may_enter
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UseDNS no
MaxStartups 100
Subsystem sftp internal-sftp
"""
# /etc and /var/lib are the host's with a private layer on top; the rest starts empty.
_BEGIN = f"""
set -e
mount -t tmpfs private /mnt
for each in etc var/lib; do
    mkdir -p /mnt/$each.upper /mnt/$each.work
    mount -t overlay overlay -o lowerdir=/$each,upperdir=/mnt/$each.upper,workdir=/mnt/$each.work /$each
done
rm -rf /etc/cni /etc/podwire /var/lib/cni
cp "$1"/of_the_test "$1"/may_enter "$1"/sshd_config /etc/ssh/
chmod 600 /etc/ssh/of_the_test
for each in /opt /run /root /home; do mount -t tmpfs private $each; done
mount -t sysfs sysfs /sys
mkdir -p /run/sshd /run/netns /etc/cni/net.d /opt/cni/bin /home/{OPERATOR}
if [ -d /etc/sudoers.d ]; then
    echo '{OPERATOR}:*:5000:5000::/home/{OPERATOR}:/bin/sh' >>/etc/passwd
    echo '{OPERATOR}:x:5000:' >>/etc/group
    echo '{OPERATOR} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{OPERATOR}
    chmod 440 /etc/sudoers.d/{OPERATOR}
    chown 5000:5000 /home/{OPERATOR}
fi
hostname "$2"
ip link set lo up
exec /usr/bin/python3 -IS -c 'import os, subprocess
sshd = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config"])
while os.wait()[0] != sshd.pid: pass'
"""


class Machine(NamedTuple):
    """A running machine, with its address on the first network. ``process`` holds its namespaces."""

    name: str
    address: str
    process: subprocess.Popen[str]

    @property
    def management(self) -> str:
        """Its address on the second network."""
        return self.address.replace(*NETWORKS)

    def run(self, command: str) -> str:
        """Run a shell command inside, past sshd; what it printed."""
        pids = f"--pid=/proc/{self.process.pid}/ns/pid_for_children"
        done = subprocess.run(
            ["nsenter", "-t", str(self.process.pid), pids, "-n", "-m", "-u", "-i", "sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class Machines(NamedTuple):
    """Machines by name, and what Ansible needs to get there."""

    by_name: Dict[str, Machine]
    underlay: int
    variables: Dict[str, str]

    def playbooks(self, inventory: Path, scratch: Path) -> Playbooks:
        """Playbooks that run from the underlay."""
        return Playbooks(inventory, scratch, prefix=("nsenter", "-t", str(self.underlay), "-n"))


@contextmanager
def machines(folder: Path, names: Sequence[str]) -> Iterator[Machines]:
    """Run machines; their keys and logs lie in ``folder``."""
    for key in ("of_the_test", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "may_enter").write_text((folder / "key.pub").read_text())
    (folder / "sshd_config").write_text(_SSHD)
    host_key = " ".join((folder / "of_the_test.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"* {host_key}\n")
    with ExitStack() as stack:
        underlay = stack.enter_context(started(["--net"], "echo ready; exec sleep infinity", "ready"))
        configure(underlay, "link set lo up")
        for number, network in enumerate(NETWORKS):
            configure(underlay, f"link add br{number} type bridge", f"link set br{number} up")
            configure(underlay, f"address add {network}.1/24 dev br{number}")
        made = {}
        for last, name in enumerate(names, 11):
            kinds = ["--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child", "--mount-proc"]
            arguments = (str(folder), name)
            process = stack.enter_context(started(kinds, _BEGIN, "Server listening", *arguments))
            made[name] = Machine(name, f"{NETWORKS[0]}.{last}", process)
            for number, network in enumerate(NETWORKS):
                port, device = f"p{number}-{last}", f"eth{number}"
                configure(underlay, f"link add {port} type veth peer name {device} netns {process.pid}")
                configure(underlay, f"link set {port} master br{number} up")
                configure(process, f"address add {network}.{last}/24 dev {device}")
                configure(process, f"link set {device} addrgenmode none up")
        options = f"-o UserKnownHostsFile={folder}/known_hosts -o ControlPath={folder}/%C"
        variables = {"ansible_ssh_private_key_file": str(folder / "key"), "ansible_ssh_common_args": options}
        try:
            yield Machines(made, underlay.pid, variables)
        finally:
            hang_up(folder)


@contextmanager
def started(kinds: List[str], script: str, ready: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A script in new namespaces, from when it says that it is ready."""
    process = subprocess.Popen(
        ["unshare", *kinds, "sh", "-c", script, "sh", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if ready in line:
                break
        else:
            raise AssertionError("".join(said))
        yield process
    finally:
        process.kill()
        process.communicate()


def configure(where: subprocess.Popen[str], *commands: str) -> None:
    """Run commands of ip(8) in the network namespace of a process."""
    command = ["nsenter", "-t", str(where.pid), "-n", "ip", "-batch", "-"]
    subprocess.run(command, input="\n".join(commands), text=True, check=True)


def hang_up(folder: Path) -> None:
    """End the connections that ssh keeps open in the background (ControlPersist)."""
    for socket in folder.iterdir():
        if socket.is_socket():
            subprocess.run(["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "-"], capture_output=True, check=False)
