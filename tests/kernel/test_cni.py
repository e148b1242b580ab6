"""ADD, CHECK and DEL in real namespaces: what the kernel shows, what reaches whom, what is left."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import pytest

from podwire.cni.netconf import Attachment, parse_list
from podwire.cni.plugins import PLUGINS
from podwire.cni.runtime import Runtime
from podwire.errors import CNI_CONFLICT, CNI_INVALID_NETNS, CNI_NOT_AVAILABLE
from podwire.kernel.namespace import Namespace

RANGES = {4: "10.244.1.0/24", 6: "fd00:10:244:1::/64"}
DEFAULTS = {4: "0.0.0.0/0", 6: "::/0"}


class Lab(NamedTuple):
    """A node's namespace (the test is in it), and how to make containers."""

    home: Path
    make: Callable[[str], Namespace]

    def network(self, kind: str = "bridge", versions: tuple[int, ...] = (4,), **extra: Any) -> Runtime:
        plugin: Dict[str, Any] = {"type": kind, "mtu": 1450, **extra}
        if kind == "bridge":
            plugin = {"isGateway": True, "hairpinMode": True, **plugin}
        plugin.setdefault(
            "ipam",
            {
                "type": "host-local",
                "ranges": [[{"subnet": RANGES[version]}] for version in versions],
                "routes": [{"dst": DEFAULTS[version]} for version in versions],
                "dataDir": str(self.home / "networks"),
            },
        )
        data = {"cniVersion": "1.0.0", "name": "test", "plugins": [plugin]}
        return Runtime(parse_list(json.dumps(data)), PLUGINS, str(self.home / "cni"))

    def container(self, name: str) -> Attachment:
        namespace = self.make(name)
        attachment = Attachment(name, "eth0", f"/proc/{os.getpid()}/fd/{namespace.fd}")
        assert inside(attachment, "ip", "link", "set", "lo", "up").returncode == 0
        return attachment

    def containers(self, count: int) -> List[Attachment]:
        return [self.container(f"c{number}") for number in range(count)]


@pytest.fixture
def lab(namespace: Namespace, make_namespace: Callable[[str], Namespace], tmp_path: Path) -> Lab:
    return Lab(tmp_path, make_namespace)


def ip(*words: str) -> Any:
    done = subprocess.run(["ip", "-j", *words], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout or b"[]")


def inside(each: Attachment, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nsenter", f"--net={each.netns}", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def reaches(source: Attachment | None, target: Attachment, address: str) -> bool:
    """TCP from a container (None: the node) to another's address; who connects is who the other sees."""
    with Namespace.open(target.netns, target.name) as there, there.entered():
        server = socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        if source is not None:
            stack.enter_context(stack.enter_context(Namespace.open(source.netns, source.name)).entered())
        try:
            client = stack.enter_context(socket.create_connection((address, server.getsockname()[1]), timeout=5))
        except OSError:
            return False
        connection, peer = server.accept()
        connection.close()
        return bool(peer[0] == client.getsockname()[0])


def files(path: Path) -> set[str]:
    return {str(each.relative_to(path)) for each in path.rglob("*") if each.is_file() and "podwire" not in str(each.relative_to(path))}


@pytest.mark.parametrize("kind", ["bridge", "ptp"])
@pytest.mark.parametrize("versions", [(4,), (6,), (4, 6)])
def test_containers_reach_each_other_and_the_node(lab: Lab, kind: str, versions: tuple[int, ...]) -> None:
    runtime = lab.network(kind, versions)
    containers = lab.containers(3)
    answers = runtime.add(containers)
    assert answers.errors == {}
    for target, result in answers.results.items():
        for each in result.ips:
            assert all(reaches(source, target, str(each.address.ip)) for source in (None, *containers))
    assert runtime.check(containers) == {}
    assert runtime.add([lab.container("late")]).errors == {}
    assert runtime.check(containers) == {}
    runtime.delete(containers)
    assert not [each for each in ip("link") if each["ifname"].startswith("veth") and "late" in each]
