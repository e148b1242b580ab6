"""Valid calls of every plugin, for tests that spoil them, and the worker that makes them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from tests.cni.nodes import ROOT, Node, bridge

PREVIOUS = {
    "cniVersion": "1.1.0",
    "interfaces": [{"name": "hostc"}, {"name": "eth0", "sandbox": "/run/netns/c", "mac": "02:00:00:00:00:01"}],
    "ips": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1", "interface": 1}],
    "routes": [{"dst": "0.0.0.0/0"}],
    "dns": {"nameservers": ["10.1.0.1"]},
}
_HOST_LOCAL = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.10", "gateway": "10.1.0.1"}]],
    "routes": [{"dst": "0.0.0.0/0", "mtu": 1400}],
    "dataDir": "/run/watched/networks",
}
_BANDWIDTH = {"ingressRate": 10**6, "ingressBurst": 10**6, "egressRate": 10**6, "egressBurst": 10**6}
_PORTS = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp", "hostIP": "10.1.0.1"}]
#: A valid configuration of each plugin, without cniVersion, name and type.
CONFIGURATIONS: Dict[str, Dict[str, Any]] = {
    "bandwidth": {"prevResult": PREVIOUS, "runtimeConfig": {"bandwidth": _BANDWIDTH}},
    "bridge": {**bridge(ipMasq=True, mtu=1400, hairpinMode=True), "ipam": _HOST_LOCAL},
    "firewall": {"prevResult": PREVIOUS, "backend": "iptables", "ingressPolicy": "same-bridge"},
    "flannel": {
        "subnetFile": "/run/watched/subnet.env",
        "dataDir": "/run/watched/flannel",
        "delegate": {"isDefaultGateway": True},
    },
    "host-local": {"ipam": _HOST_LOCAL, "args": {"cni": {"ips": ["10.1.0.20"]}}},
    "loopback": {},
    "portmap": {"prevResult": PREVIOUS, "snat": True, "runtimeConfig": {"portMappings": _PORTS}},
    "ptp": {"ipMasq": True, "mtu": 1400, "ipam": _HOST_LOCAL},
    "static": {"ipam": {"type": "static", "addresses": [{"address": "10.1.0.2/24", "gateway": "10.1.0.1"}]}},
    "tuning": {
        "prevResult": PREVIOUS,
        "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"},
        "mtu": 1300,
        "dataDir": "/run/watched",
    },
}


#: The same where rules are iptables'.
IPTABLES: Dict[str, Dict[str, Any]] = {"bridge": {"ipMasqBackend": "iptables"}, "portmap": {"backend": "iptables"}}


def configuration(plugin: str, **changes: Any) -> Dict[str, Any]:
    """A valid configuration."""
    return {"cniVersion": "1.1.0", "name": "net", **CONFIGURATIONS[plugin], "type": plugin, **changes}


def environ(command: str = "ADD") -> Dict[str, str]:
    """A valid environment."""
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c1",
        "CNI_NETNS": "/run/netns/c",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": "/opt/cni",
        "PATH": os.environ["PATH"],
    }


class Answer(NamedTuple):
    """What came of a call. ``lines`` of podwire's code were executed; ``state`` is all that a plugin could change."""

    status: Optional[int]
    stdout: str
    lines: int
    state: Dict[str, Any]


class Worker:
    """Calls plugins in a node. The container is the namespace /run/netns/c."""

    def __init__(self, node: Node, plugins: str) -> None:
        node.container("c")
        node.run("ip", "link", "add", "hostc", "type", "veth", "peer", "name", "hostc-peer")
        node.run("mount", "--bind", plugins, "/opt/cni")
        node.run("sh", "-c", "mkdir /run/watched && cat >/run/watched/subnet.env", stdin=_SUBNET)
        self.node = node
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            node.enter(sys.executable, f"{ROOT}/tests/cni/worker.py"),
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        #: After the last call.
        self.state = self("loopback", b"", environ("VERSION")).state

    def __call__(self, plugin: str, stdin: bytes, environment: Mapping[str, str], **more: Any) -> Answer:
        """``more`` is ``kill`` or ``kill_after`` of a request (see worker.py)."""
        assert self._process.stdin is not None and self._process.stdout is not None
        request = {"plugin": plugin, "environ": dict(environment), "stdin": stdin.decode("latin-1"), **more}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = Answer(**json.loads(self._process.stdout.readline()))
        self.state = answer.state
        return answer

    def end(self) -> None:
        """No more calls."""
        self._process.communicate(timeout=30)


_SUBNET = """FLANNEL_NETWORK=10.1.0.0/16
FLANNEL_SUBNET=10.1.0.1/24
FLANNEL_MTU=1450
FLANNEL_IPMASQ=true
"""


def error_of(answer: Answer) -> Dict[str, Any]:
    """The one error that a failed call prints."""
    assert answer.status == 1, answer.stdout
    found: Dict[str, Any] = json.loads(answer.stdout)
    assert isinstance(found["cniVersion"], str) and found["cniVersion"]
    assert isinstance(found["msg"], str) and found["msg"]
    assert found["code"] in (1, 2, 3, 4, 5, 6, 7, 8, 11, 50, 51) or found["code"] >= 100
    assert "bug in podwire" not in answer.stdout
    return found


def attached(state: Mapping[str, Any]) -> List[str]:
    """What an attachment has left, if anything: leases, other files of its own, devices, rules."""
    found = [path for path in state["files"] if path.rpartition("/")[2].startswith(("10.", "c1", ".10.", ".c1"))]
    found += [each for each in state["devices"] if each.startswith(("veth", "bwp"))]
    found += [line.strip() for line in state["rules"].splitlines() if any(each in line for each in _MARKS)]
    found += [path for path, digest in state["files"].items() if digest == _EMPTY and not path.endswith("lock")]
    return found


#: What the rules of the attachment have in them: its address, its comment, its chain of iptables.
_MARKS = ("10.1.0.", "id: c1", "CNI-DN-", f"CNI-{hashlib.sha512(b'netc1').hexdigest()[:8]}")
_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # SHA-256 of nothing
