"""containerd calls podwire's plugins: ``ctr run --cni``, with the paths and arguments of its own choice."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path
from typing import Dict, Iterator, Tuple

import pytest

from tests.cni.containers import Containerd, make_image, need
from tests.cni.nodes import GO, Node, bridge, conflist, start_node

CHAIN = (bridge(ipMasq=True), {"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "firewall"})


@pytest.fixture(scope="module")
def containerd(tmp_path_factory: pytest.TempPathFactory, plugins: str) -> Iterator[Containerd]:
    """A node with containerd, the image, and podwire's plugins, read-only, where containerd looks for them."""
    need(containerd="containerd", ctr="containerd", runc="runc", busybox="busybox-static")
    node = start_node(tmp_path_factory.mktemp("node"))
    node.run("sh", "-c", f"mkdir -p /opt/cni/bin /etc/cni/net.d && mount --bind -o ro {plugins} /opt/cni/bin")
    if os.path.isdir(GO):  # where Debian's containerd looks too
        node.run("mount", "-t", "tmpfs", "none", GO)
    daemon = Containerd(node)
    try:
        make_image(node.home / "image.tar")
        imported = daemon.ctr("image", "import", "--snapshotter=native", str(node.home / "image.tar"), status=None)
        if imported.returncode:
            pytest.skip(f"containerd does not run here: {imported.stderr.strip()} {daemon.log.read_text()[-300:]}")
        yield daemon
    finally:
        daemon.end()
        node.end()


@pytest.fixture
def lived(containerd: Containerd) -> Iterator[Dict[str, subprocess.Popen[str]]]:
    """Containers by name; whatever runs of them after the test is killed."""
    running: Dict[str, subprocess.Popen[str]] = {}
    yield running
    for name, process in running.items():
        if process.poll() is None:
            containerd.ctr("task", "kill", "-s", "SIGKILL", name, status=None)
        process.communicate(timeout=30)
        for kind in ("container", "snapshot"):  # ctr leaves them if the attachment fails
            containerd.ctr(kind, "rm", name, status=None)


def configure(node: Node, text: str) -> None:
    """The network of all containers."""
    Path(f"/proc/{node.pid}/root/etc/cni/net.d/10-net.conflist").write_text(text)


def address_of(containerd: Containerd, name: str, process: subprocess.Popen[str]) -> str:
    """A container's IPv4 address, once it runs."""
    deadline = time.monotonic() + 30
    while not re.search(rf"(?m)^{name}\s+\d+\s+RUNNING", containerd.ctr("task", "ls").stdout):
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < deadline, containerd.log.read_text()[-2000:]
        time.sleep(0.05)
    found = re.search(r"inet ([\d.]+)/24", containerd.inside(name, "ip", "addr", "show", "eth0"))
    assert found
    return found.group(1)


def end(containerd: Containerd, name: str, process: subprocess.Popen[str]) -> str:
    """Kill a container; what ctr said. It detaches it then, without a network namespace to be named."""
    containerd.ctr("task", "kill", "-s", "SIGKILL", name)
    return process.communicate(timeout=30)[0]


def left(node: Node) -> Tuple[object, ...]:
    """Devices, leases, cached results, and rules that name a container's address."""
    cached = sorted(name for name in node.files("/var/lib/cni") if name.startswith("results/"))
    rules = [line for line in node.rules().splitlines() if "10.1.0." in line or "default-" in line]
    return [each for each in node.links() if each != "cni0"], node.leases("net"), cached, rules


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_two_containers_talk_and_leave_nothing(
    containerd: Containerd, lived: Dict[str, subprocess.Popen[str]], version: str
) -> None:
    node = containerd.node
    configure(node, conflist(*CHAIN, version=version))
    addresses = {}
    for name in ("a", "b"):
        lived[name] = containerd.start(name, "nc", "-ll", "-p", "80", "-e", "cat")
        addresses[name] = address_of(containerd, name, lived[name])
    assert set(addresses.values()) == set(node.leases("net"))
    assert set(node.leases("net").values()) == {"default-a", "default-b"}
    for source, target in (("a", "b"), ("b", "a")):
        command = f"echo hello from {source} | nc -w 2 {addresses[target]} 80"
        assert f"hello from {source}" in containerd.inside(source, "sh", "-c", command)
    for name in ("a", "b"):
        assert end(containerd, name, lived[name]) == ""
    assert left(node) == ([], {}, [], [])


def test_an_address_that_is_used_again_is_reachable_at_once(
    containerd: Containerd, lived: Dict[str, subprocess.Popen[str]]
) -> None:
    one = {
        "type": "host-local",
        "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.2", "rangeEnd": "10.1.0.3"}]],
    }
    configure(containerd.node, conflist({**bridge(), "ipam": one}))
    lived["stays"] = containerd.start("stays", "sleep", "1000")
    stays = address_of(containerd, "stays", lived["stays"])
    for name in ("first", "second"):
        lived[name] = containerd.start(name, "nc", "-ll", "-p", "80", "-e", "cat")
        address = address_of(containerd, name, lived[name])
        assert {stays, address} == {"10.1.0.2", "10.1.0.3"}
        command = f"echo hello | nc -w 1 {address} 80"
        assert "hello" in containerd.inside("stays", "sh", "-c", command)
        end(containerd, name, lived[name])


def test_what_a_plugin_refuses_is_said_and_leaves_nothing(
    containerd: Containerd, lived: Dict[str, subprocess.Popen[str]]
) -> None:
    configure(containerd.node, conflist({**bridge(), "mtu": 1}))
    lived["bad"] = containerd.start("bad", "sleep", "1000")
    said = lived["bad"].communicate(timeout=30)[0]
    assert lived["bad"].returncode != 0 and "mtu" in said
    assert left(containerd.node) == ([], {}, [], [])
