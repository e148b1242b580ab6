"""Streams that are closed or take nothing, and paths that never answer."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, Optional

import pytest

from tests.cni.nodes import Node, bridge, call

CONF = {"cniVersion": "1.1.0", "name": "net", **bridge(ipMasq=True)}


def run(
    node: Node, plugins: str, command: str, redirection: str, conf: Optional[Dict[str, Any]] = None, netns: str = ""
) -> Any:
    """The ended process of one call of bridge, with its streams as a shell redirects them."""
    env = {
        "PATH": os.environ["PATH"],
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": netns or "/run/netns/c",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": plugins,
    }
    shell = ["sh", "-c", f'exec "$0" {redirection}', f"{plugins}/bridge"]
    return node.run(*shell, env=env, stdin=json.dumps(conf or CONF), status=None, timeout=20)


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", ">&- 2>&-", ">&- 2>/dev/full"])
def test_a_result_that_nobody_gets_is_undone(node: Node, plugins: str, redirection: str) -> None:
    node.container("c")
    assert run(node, plugins, "ADD", redirection).returncode != 0
    assert node.leases("net") == {} and node.links() == ["cni0"] and "masquerade" not in node.rules()
    assert call(node, f"{plugins}/bridge", "ADD", CONF, netns="/run/netns/c")["ips"]


def test_closed_streams_that_are_not_needed(node: Node, plugins: str) -> None:
    node.container("c")
    added = run(node, plugins, "ADD", "2>&-")
    assert added.returncode == 0 and json.loads(added.stdout)["ips"]
    collected = run(node, plugins, "GC", "2>&-")  # which warns
    assert (collected.returncode, collected.stdout) == (0, "")
    assert run(node, plugins, "DEL", ">&- 2>&-").returncode == 0
    assert node.leases("net") == {} and node.links() == ["cni0"]


def test_closed_stdin_is_an_empty_one(node: Node, plugins: str) -> None:
    refused = run(node, plugins, "ADD", "<&-")
    assert refused.returncode == 1 and json.loads(refused.stdout)["code"] == 6
    version = run(node, plugins, "VERSION", "<&-")
    assert version.returncode == 0 and json.loads(version.stdout)["supportedVersions"]


def test_a_fifo_is_no_namespace(node: Node, plugins: str) -> None:
    node.run("mkfifo", "/run/fifo")
    refused = run(node, plugins, "ADD", "", netns="/run/fifo")
    assert refused.returncode == 1 and json.loads(refused.stdout)["code"] == 8
    assert run(node, plugins, "DEL", "", netns="/run/fifo").returncode == 0
