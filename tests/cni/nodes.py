"""A throw-away node: a process whose namespaces commands run in, and network namespaces as containers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence

import pytest

ROOT = Path(__file__).resolve().parents[2]
GO = "/usr/lib/cni"
needs_go = pytest.mark.skipif(
    not os.path.exists(f"{GO}/host-local"), reason="needs Go's plugins: apt-get install containernetworking-plugins"
)
_PRIVATE = ("/etc/cni", "/var/lib/cni", "/opt/cni")
_KINDS = ("--net", "--mount", "--uts", "--pid", "--ipc")
_SETUP = """
set -e
mount --make-rprivate /
mount -t tmpfs none /run
mount -t tmpfs none /mnt
for each in etc opt var/lib; do
    mkdir -p /mnt/$each/upper /mnt/$each/work
    mount -t overlay -o lowerdir=/$each,upperdir=/mnt/$each/upper,workdir=/mnt/$each/work none /$each
done
for each in {private}; do mkdir -p $each; mount -t tmpfs none $each; done
mkdir -p /run/netns
mount --bind /run/netns /run/netns && mount --make-shared /run/netns
ip link set lo up
echo ready
exec sleep infinity
"""

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2).close()
except ConnectionRefusedError:
    pass
"""


class Node:
    """``run`` runs a command in the node's namespaces."""

    def __init__(self, process: subprocess.Popen[str], home: Path) -> None:
        self._process = process
        self.home = home
        self.pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())

    def run(
        self,
        *command: str,
        env: Optional[Mapping[str, str]] = None,
        stdin: str = "",
        status: Optional[int] = 0,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """The ended command, held to its exit status (None: any)."""
        done = subprocess.run(
            self.enter(*command), env=env, input=stdin, capture_output=True, text=True, timeout=timeout
        )
        if status is not None:
            assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def enter(self, *command: str) -> List[str]:
        """The command line that runs a command here."""
        return ["nsenter", f"--target={self.pid}", "--net", "--mount", "--pid", "--wd=/", "--", *command]

    def json(self, *command: str) -> Any:
        """What a command prints, as JSON; [] for nothing."""
        return json.loads(self.run(*command).stdout or "[]")

    def container(self, name: str) -> str:
        """A network namespace; its path."""
        self.run("ip", "netns", "add", name)
        self.run("ip", "-n", name, "link", "set", "lo", "up")
        return f"/run/netns/{name}"

    def files(self, path: str) -> Dict[str, bytes]:
        """Every file below a path, with its content."""
        found = {}
        for folder, _, names in os.walk(f"/proc/{self.pid}/root{path}"):
            for name in names:
                inside = os.path.join(folder, name)
                name = os.path.relpath(inside, f"/proc/{self.pid}/root{path}")
                if os.path.islink(inside):
                    found[name] = os.readlink(inside).encode()
                    continue
                with open(inside, "rb") as file:
                    found[name] = file.read()
        return found

    def leases(self, network: str) -> Dict[str, str]:
        """Address to container."""
        found = self.files(f"/var/lib/cni/networks/{network}")
        leases = {name: content for name, content in found.items() if "/" not in name and set(name) <= _ADDRESS}
        return {name: content.decode().split()[0] for name, content in leases.items()}

    def links(self) -> List[str]:
        """Names of devices, without those that every namespace has."""
        return sorted(each["ifname"] for each in self.json("ip", "-j", "link") if each["ifname"] not in _BORN)

    def rules(self) -> str:
        """Every nft and iptables rule."""
        return self.run("nft", "list", "ruleset").stdout

    def podwire(self, *arguments: str, status: Optional[int] = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        """The command podwire."""
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ}
        command = [sys.executable, "-c", "import sys; from podwire.cli import main; sys.exit(main())", *arguments]
        return self.run(*command, env=env, status=status)

    def reaches(self, container: str, address: str, port: int = 9) -> bool:
        """Whether the kernel at an address answers a container's SYN within two seconds; with a RST will do."""
        command = ["ip", "netns", "exec", container, sys.executable, "-c", _CONNECT, address, str(port)]
        return self.run(*command, status=None).returncode == 0

    def end(self) -> None:
        """Kill the node; its processes and namespaces go with it."""
        self._process.kill()
        self._process.wait()


_ADDRESS = set("0123456789abcdef.:")
#: Tunnel devices that the kernel makes in every namespace where their modules are loaded.
_BORN = {"lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}


def start_node(home: Path) -> Node:
    """Make a node, with network, mount, UTS and PID namespaces of its own."""
    script = _SETUP.format(private=" ".join(_PRIVATE))
    process = subprocess.Popen(
        ["unshare", *_KINDS, "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return Node(process, home)


def conflist(*plugins: Mapping[str, Any], version: str = "1.0.0", name: str = "net", **more: Any) -> str:
    """A NetConfList."""
    return json.dumps({"cniVersion": version, "name": name, "plugins": list(plugins), **more})


def bridge(subnet: str = "10.1.0.0/24", **more: Any) -> Dict[str, Any]:
    """A bridge with host-local."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}
    return {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipam": ipam, **more}


def call(
    node: Node,
    path: str,
    command: str,
    conf: Mapping[str, Any],
    container: str = "c1",
    *,
    netns: str = "",
    cni_path: Sequence[str] = (),
    status: Optional[int] = 0,
    **environ: str,
) -> Any:
    """Execute a plugin as a runtime does; its answer as JSON, None for none."""
    env = {
        "PATH": os.environ["PATH"],
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": container,
        "CNI_NETNS": netns,
        "CNI_IFNAME": "eth0",
        "CNI_PATH": ":".join(cni_path or (os.path.dirname(path),)),
        **environ,
    }
    done = node.run(path, env=env, stdin=json.dumps(conf), status=status)
    return json.loads(done.stdout) if done.stdout.strip() else None
