"""Disks that are full, read-only, or hold nonsense: a clear error, and no address lost or given twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest

from tests.cni.nodes import Node, bridge, call

DATA = "/var/lib/cni/networks"
CONF: Dict[str, Any] = {"cniVersion": "1.1.0", "name": "net", **bridge("10.1.0.0/29"), "type": "bridge"}


def given(result: Any) -> str:
    """The address of a result."""
    return str(result["ips"][0]["address"].partition("/")[0])


def place(node: Node, name: str) -> Path:
    """A lease's path from outside."""
    return Path(f"/proc/{node.pid}/root{DATA}/net/{name}")


def add(node: Node, plugins: str, container: str, status: int = 0) -> Any:
    """ADD by the executable bridge."""
    path = f"/run/netns/{container}"
    if container not in node.run("ip", "netns").stdout.split():
        node.container(container)
    return call(node, f"{plugins}/bridge", "ADD", CONF, container, netns=path, status=status)


def delete(node: Node, plugins: str, container: str, status: int = 0) -> Any:
    """DEL by the executable bridge."""
    return call(node, f"{plugins}/bridge", "DEL", CONF, container, netns=f"/run/netns/{container}", status=status)


def veths(node: Node) -> List[str]:
    """Devices of attachments."""
    return [name for name in node.links() if name.startswith("veth")]


def test_a_full_disk(node: Node, plugins: str) -> None:
    node.run("sh", "-ec", f"mkdir -p {DATA}; mount -t tmpfs -o size=64k,nr_inodes=40 none {DATA}")
    add(node, plugins, "c1")
    node.run("sh", "-c", f"for i in $(seq 100); do : >{DATA}/$i; done; cat /dev/zero >{DATA}/fill", status=None)
    refused = add(node, plugins, "c2", status=1)
    assert refused["code"] == 5 and "No space left on device" in refused["msg"] + refused.get("details", "")
    assert node.leases("net") == {"10.1.0.2": "c1"} and len(veths(node)) == 1
    delete(node, plugins, "c2")
    delete(node, plugins, "c1")
    assert node.leases("net") == {} and veths(node) == []
    node.run("sh", "-c", f"rm {DATA}/[1-9]* {DATA}/fill", status=None)
    assert given(add(node, plugins, "c2")) != ""
    assert list(node.leases("net").values()) == ["c2"]


def test_a_read_only_disk(node: Node, plugins: str) -> None:
    node.run("sh", "-ec", f"mkdir -p {DATA}; mount -t tmpfs none {DATA}")
    add(node, plugins, "c1")
    node.run("mount", "-o", "remount,ro", DATA)
    for refused in (add(node, plugins, "c2", status=1), delete(node, plugins, "c1", status=1)):
        assert refused["code"] == 5 and "Read-only file system" in refused["msg"] + refused.get("details", "")
    assert node.leases("net") == {"10.1.0.2": "c1"}
    node.run("mount", "-o", "remount,rw", DATA)
    delete(node, plugins, "c1")
    assert node.leases("net") == {} and veths(node) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"\r\n\r\n", b"x" * 5000])
def test_a_lease_that_cannot_be_read_blocks_its_address_and_nothing_else(
    node: Node, plugins: str, content: bytes
) -> None:
    os.makedirs(place(node, ""))
    place(node, "10.1.0.2").write_bytes(content)
    addresses = [given(add(node, plugins, f"c{number}")) for number in range(1, 4)]
    assert len({*addresses}) == 3
    blank = not content.strip()
    assert blank or "10.1.0.2" not in addresses, "whose it is nobody knows"
    for number in range(1, 4):
        delete(node, plugins, f"c{number}")
    left = [name for name in node.files(f"{DATA}/net") if name.startswith("10.")]
    assert left == ([] if blank else ["10.1.0.2"])


def test_a_directory_where_a_lease_should_be(node: Node, plugins: str) -> None:
    os.makedirs(place(node, "10.1.0.3"))
    assert [given(add(node, plugins, name)) for name in ("c1", "c2")] == ["10.1.0.2", "10.1.0.4"]
    for name in ("c1", "c2"):
        call(node, f"{plugins}/host-local", "CHECK", CONF, name, netns="/run/netns/c1")
        delete(node, plugins, name)
    assert node.leases("net") == {} and place(node, "10.1.0.3").is_dir()


def test_files_that_are_no_leases_are_left_alone(node: Node, plugins: str) -> None:
    os.makedirs(place(node, ""))
    for name in ("README", "10.1.0.2.bak", "10.1.0", "300.1.1.1"):
        place(node, name).write_text("c1\r\neth0")
    add(node, plugins, "c1")
    delete(node, plugins, "c1")
    gc = {**CONF, "cni.dev/valid-attachments": []}
    call(node, f"{plugins}/bridge", "GC", json.loads(json.dumps(gc)), "")
    assert {"README", "10.1.0.2.bak", "10.1.0", "300.1.1.1"} <= node.files(f"{DATA}/net").keys()


def test_nothing_waits_where_a_file_should_be(node: Node, plugins: str) -> None:
    os.makedirs(place(node, ""))
    for name in ("lock", "10.1.0.2", "last_reserved_ip.0"):
        os.mkfifo(place(node, name))
    assert given(add(node, plugins, "c1")) == "10.1.0.3"
    delete(node, plugins, "c1")
    call(node, f"{plugins}/bridge", "GC", {**CONF, "cni.dev/valid-attachments": []}, "")
    assert place(node, "10.1.0.2").is_fifo(), "whose it is nobody knows"
