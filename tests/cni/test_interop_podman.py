"""podman with its CNI backend calls podwire's plugins."""

from __future__ import annotations

import os
import subprocess
from typing import Iterator, Optional

import pytest

from tests.cni.containers import IMAGE, make_image, need
from tests.cni.nodes import Node, bridge, conflist

CONFIG = """
[containers]
cgroups = "disabled"
log_driver = "k8s-file"
[engine]
runtime = "crun"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "cni"
cni_plugin_dirs = ["{plugins}"]
network_config_dir = "{home}/net.d"
default_network = "net"
"""
#: crun refuses a machine that has both versions of cgroups, whether it uses them or not.
ONE_VERSION = "umount /sys/fs/cgroup/unified 2>/dev/null || true"


class Podman:
    """podman in a node, with images and state of its own."""

    def __init__(self, node: Node, plugins: str) -> None:
        self.node, home = node, node.home
        (home / "net.d").mkdir()
        (home / "containers.conf").write_text(CONFIG.format(plugins=plugins, home=home))
        (home / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        self._environ = {
            "PATH": os.environ["PATH"],
            "CONTAINERS_CONF": str(home / "containers.conf"),
            "HOME": str(home),
        }
        node.run("sh", "-c", ONE_VERSION)

    def __call__(self, verb: str, *arguments: str, status: Optional[int] = 0) -> subprocess.CompletedProcess[str]:
        folders = ["--root", f"{self.node.home}/root", "--runroot=/run/podman", "--tmpdir=/run/podman-tmp"]
        policy = [f"--signature-policy={self.node.home}/policy.json"] if verb in ("load", "run") else []
        command = ["podman", *folders, "--storage-driver=vfs", verb, *policy, *arguments]
        return self.node.run(*command, env=self._environ, status=status)


@pytest.fixture
def podman(node: Node, plugins: str) -> Iterator[Podman]:
    """podman; skips where it has no CNI backend, or runs no containers at all."""
    need(podman="podman", crun="crun", conmon="conmon", busybox="busybox-static")
    made = Podman(node, plugins)
    told = made("info", "--format={{.Host.NetworkBackend}}", status=None)
    if told.stdout.strip() != "cni":
        pytest.skip(f"podman has no CNI backend here: {(told.stdout + told.stderr).strip()[-300:]}")
    make_image(node.home / "image.tar")
    made("load", "-i", str(node.home / "image.tar"))
    alone = made("run", "--rm", "--network=none", IMAGE, "sleep", "0", status=None)
    if alone.returncode:
        pytest.skip(f"podman runs no containers here: {alone.stderr.strip()[-300:]}")
    yield made


def test_two_containers_talk_and_leave_nothing(podman: Podman) -> None:
    node = podman.node
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    (node.home / "net.d" / "10-net.conflist").write_text(
        conflist(bridge(ipMasq=True), ports, {"type": "firewall"}, {"type": "tuning"})
    )
    podman("run", "-d", "--name=a", "-p=8080:80", IMAGE, "nc", "-ll", "-p", "80", "-e", "cat")
    podman("run", "-d", "--name=b", IMAGE, "sleep", "1000")
    assert set(node.leases("net")) == {"10.1.0.2", "10.1.0.3"}
    for address, port in (("10.1.0.2", 80), ("10.1.0.1", 8080)):
        said = podman("exec", "b", "sh", "-c", f"echo hello | nc -w 2 {address} {port}").stdout
        assert said == "hello\n", f"{address}:{port}"
    podman("rm", "-f", "-t=0", "a", "b")
    assert node.links() == ["cni0"] and node.leases("net") == {}
    assert [name for name in node.files("/var/lib/cni") if name.startswith("results/")] == []
    assert not [line for line in node.rules().splitlines() if "10.1.0." in line or "8080" in line]


def test_an_address_that_is_asked_for(podman: Podman) -> None:
    node = podman.node
    (node.home / "net.d" / "10-net.conflist").write_text(conflist({**bridge(), "capabilities": {"ips": True}}))
    podman("run", "-d", "--name=a", "--ip=10.1.0.77", "--mac-address=02:00:00:00:00:77", IMAGE, "sleep", "1000")
    shown = podman("exec", "a", "ip", "addr", "show", "eth0").stdout
    assert "10.1.0.77/24" in shown and "02:00:00:00:00:77" in shown
    podman("rm", "-f", "-t=0", "a")
    assert node.leases("net") == {}
