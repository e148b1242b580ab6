"""containerd for the tests: a private one, and an image made of busybox that needs no registry."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import pytest

from tests.cni.nodes import Node

IMAGE = "localhost/busybox:test"
_APPLETS = ("sh", "cat", "httpd", "ip", "nc", "ping", "sleep", "wget")


def need(**packages: str) -> None:
    """Install the Debian packages of commands that are missing; skip the test where that cannot be done."""
    missing = {command: package for command, package in packages.items() if not shutil.which(command)}
    if not missing:
        return
    if not shutil.which("apt-get"):
        pytest.skip(f"needs {', '.join(missing)}")
    command = ["apt-get", "-qq", "install", "-y", "--no-install-recommends", *missing.values()]
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in (command, ["apt-get", "-qq", "update"], command):
        done = subprocess.run(attempt, env=environ, capture_output=True, text=True)
        if done.returncode == 0 and attempt is command:
            return
    pytest.skip(f"needs {', '.join(missing)}, and apt-get does not install it: {done.stderr.strip()[-200:]}")


def make_image(path: Path) -> None:
    """An OCI image layout as tar: one layer with a static busybox (OCI image specification 1.0, image-layout.md)."""
    layer = io.BytesIO()
    busybox = Path(shutil.which("busybox") or "").read_bytes()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, "bin/busybox", busybox, 0o755)
        for name in _APPLETS:
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    blobs: Dict[str, bytes] = {}

    def put(content: bytes, kind: str) -> Dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = content
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {
        "architecture": machine,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": put(json.dumps(config).encode(), "config.v1+json"),
        "layers": [put(gzip.compress(layer.getvalue()), "layer.v1.tar+gzip")],
    }
    descriptor = put(json.dumps(manifest).encode(), "manifest.v1+json")
    descriptor["annotations"] = {"io.containerd.image.name": IMAGE, "org.opencontainers.image.ref.name": "test"}
    with tarfile.open(path, "w") as tar:
        _add(tar, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode())
        for name, content in blobs.items():
            _add(tar, name, content)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    tar.addfile(info, io.BytesIO(content))


class Containerd:
    """A containerd in a node, with root, state and socket of its own."""

    def __init__(self, node: Node) -> None:
        self.node = node
        home = node.home / "containerd"
        home.mkdir()
        self.log = home / "log"
        self._socket = "/run/containerd/sock"
        config = home / "config.toml"
        config.write_text(
            f"""version = 2
root = "{home}/root"
state = "/run/containerd/state"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
address = "{self._socket}"
"""
        )
        with self.log.open("w") as log:
            self._process = subprocess.Popen(node.enter("containerd", "--config", str(config)), stdout=log, stderr=log)

    def ctr(self, *arguments: str, status: Optional[int] = 0) -> subprocess.CompletedProcess[str]:
        """Run ctr; waits for containerd to listen."""
        return self.node.run(*self._command(*arguments), status=status)

    def start(self, name: str, *command: str) -> subprocess.Popen[str]:
        """``ctr run --cni`` in the foreground: it attaches, and when the container ends it detaches."""
        options = ["--cni", "--rm", "--snapshotter=native", "--cgroup="]
        return subprocess.Popen(
            self.node.enter(*self._command("run", *options, IMAGE, name, *command)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def inside(self, name: str, *command: str, status: Optional[int] = 0) -> str:
        """What a command in a container prints."""
        return self.ctr("task", "exec", f"--exec-id=x{os.urandom(4).hex()}", name, *command, status=status).stdout

    def end(self) -> None:
        """End the daemon."""
        self._process.terminate()
        self._process.wait(10)

    def _command(self, *arguments: str) -> List[str]:
        return ["ctr", f"--address={self._socket}", "--connect-timeout=10s", *arguments]
