"""What a case works with: its node, its containers, its plugin, and the words for what it expects."""

from __future__ import annotations

import copy
import json
import os
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..kernel.namespace import Namespace
from . import snapshot, stub
from .call import Reply, Running, begin, begin_all
from .case import IPAM, META, Case, Failed, Skipped
from .node import Container, new_namespace
from .shape import convert, older
from .subject import GATEWAY, GATEWAY6, SUBNET, SUBNET6, Subject
from .tools import PATH, ip

#: How long what has to vanish may take where the kernel works in the background (a namespace that dies).
SETTLE_S = 2.0
OUTSIDE, UPLINK = "192.0.2.2", "192.0.2.1"
OUTSIDE6, UPLINK6 = "2001:db8:22::2", "2001:db8:22::1"
SUBNET_ENV = "/run/flannel/subnet.env"


class Trial:
    """One case on one plugin on its own node."""

    def __init__(self, subject: Subject, case: Case) -> None:
        self.subject = subject
        self.parameter = case.parameter
        self.version = subject.version
        self.network = "conform"
        self.node = Namespace.current("node")
        self.containers: List[Container] = []
        self.replies: List[Reply] = []
        self._outside: Optional[Namespace] = None
        stub.install(self.version)
        if subject.type == "flannel":
            if not (subject.beside("bridge") and subject.beside("host-local")):
                raise Skipped("flannel needs bridge and host-local in the same directory")
            self.subnet_env()
        if "uplink0" in json.dumps(subject.configuration):
            self.outside()

    # The world around the plugin.

    def container(self, name: str = "", ifname: str = "", *, dual: bool = False) -> Container:
        """A new container; one that is wired to the node already where the plugin stands in a chain.

        ``dual``: it is wired with addresses of both families.
        """
        taken = {each.name for each in self.containers}
        name = name or next(each for each in (f"c{number}" for number in range(1, 100)) if each not in taken)
        container = Container(name, ifname or ("lo" if self.subject.type == "loopback" else "eth0"))
        self.containers.append(container)
        if self.subject.kind == META:
            self._wire(container, dual)
        return container

    def _wire(self, container: Container, dual: bool) -> None:
        """What an earlier plugin of the chain would have made: a bridge, a veth, an address, a route."""
        number = len(self.containers) + 1
        if number == 2:
            ip(
                "link add cni0 type bridge",
                f"address add {GATEWAY}/24 dev cni0",
                f"address add {GATEWAY6}/64 dev cni0 nodad",
                "link set cni0 up",
            )
            for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
                with open(f"/proc/sys/net/{name}", "w") as file:
                    file.write("1")
        host, inside = f"wire{number}", container.ifname
        ip(f"link add {host} type veth peer name {inside} netns {container.name}", f"link set {host} master cni0 up")
        family = [(f"10.22.0.{number}/24", GATEWAY, "0.0.0.0/0"), (f"fd00:22::{number}/64", GATEWAY6, "::/0")]
        family = family if dual else family[:1]
        container.ip(
            "link set lo up",
            f"link set {inside} up",
            *(f"address add {address} dev {inside} nodad" for address, _, _ in family),
            *(f"route add default via {gateway}" for _, gateway, _ in family),
        )
        macs = {name: self.mac(name) for name in ("cni0", host)}
        container.prev_result = {
            "cniVersion": "1.1.0",
            "interfaces": [
                {"name": "cni0", "mac": macs["cni0"], "mtu": 1500},
                {"name": host, "mac": macs[host], "mtu": 1500},
                {"name": inside, "mac": self.mac(inside, container), "mtu": 1500, "sandbox": container.netns},
            ],
            "ips": [{"address": address, "gateway": gateway, "interface": 2} for address, gateway, _ in family],
            "routes": [{"dst": destination, "gw": gateway} for _, gateway, destination in family],
            "dns": {"nameservers": ["10.22.0.1"], "search": ["conform.test"]},
        }

    def mac(self, name: str, container: Optional[Container] = None) -> str:
        """The hardware address of a link of the node or of a container."""
        line = (container.ip if container else ip)(f"link show dev {name}")[0]
        words = line.split()
        return next((words[at + 1] for at, word in enumerate(words) if word.startswith("link/")), "")

    def outside(self) -> Namespace:
        """A host beyond the node, on its ``uplink0``. It knows no route to containers."""
        if self._outside is None:
            self._outside = new_namespace("outside")
            ip(
                "link add uplink0 type veth peer name eth0 netns outside",
                f"address add {UPLINK}/24 dev uplink0",
                f"address add {UPLINK6}/64 dev uplink0 nodad",
                "link set uplink0 up",
            )
            with self._outside.entered():
                ip(
                    "link set lo up",
                    f"address add {OUTSIDE}/24 dev eth0",
                    f"address add {OUTSIDE6}/64 dev eth0 nodad",
                    "link set eth0 up",
                )
        return self._outside

    def subnet_env(self, *lines: str) -> None:
        """Write flanneld's file; without arguments a good one."""
        good = (
            "FLANNEL_NETWORK=10.22.0.0/16",
            f"FLANNEL_SUBNET={GATEWAY}/24",
            "FLANNEL_MTU=1450",
            "FLANNEL_IPMASQ=true",
        )
        os.makedirs(os.path.dirname(SUBNET_ENV), exist_ok=True)
        with open(SUBNET_ENV, "w") as file:
            file.write("\n".join(lines or good) + "\n")

    # Configurations.

    def config(self, **changes: Any) -> Dict[str, Any]:
        """A configuration that works, with top-level keys changed; None removes a key."""
        config: Dict[str, Any] = {
            "cniVersion": self.version,
            "name": self.network,
            "type": self.subject.name if self.subject.kind != IPAM else "conform",
            **copy.deepcopy(dict(self.subject.configuration)),
        }
        ipam = config.get("ipam")
        missing = isinstance(ipam, dict) and ipam.get("type") == "host-local" and not self.subject.beside("host-local")
        if missing and self.subject.kind != IPAM:
            config["ipam"] = {"type": stub.NAME}
        config.update(changes)
        return {key: value for key, value in config.items() if value is not None}

    def stubbed(self, **changes: Any) -> Dict[str, Any]:
        """The same with the suite's own IPAM plugin."""
        return self.config(ipam={"type": stub.NAME, "mark": "delegated"}, **changes)

    def with_ipam(self, **changes: Any) -> Dict[str, Any]:
        """The same with keys of ``ipam`` changed; None removes a key."""
        config = self.config()
        ipam = {**config.get("ipam", {}), **changes}
        return {**config, "ipam": {key: value for key, value in ipam.items() if value is not None}}

    def dual_stack(self, **changes: Any) -> Dict[str, Any]:
        """The same with addresses of both families."""
        if not self.subject.beside("host-local"):
            raise Skipped("there is no host-local in the same directory")
        ranges = [[{"subnet": SUBNET}], [{"subnet": SUBNET6}]]
        routes = [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
        return self.config(ipam={"type": "host-local", "ranges": ranges, "routes": routes}, **changes)

    # Executions.

    def environment(self, command: str, container: Optional[Container] = None) -> Dict[str, Optional[str]]:
        """What a runtime sets."""
        found: Dict[str, Optional[str]] = {"PATH": PATH, "CNI_COMMAND": command}
        if command != "VERSION":
            found["CNI_PATH"] = f"{self.subject.directory}:{stub.DIRECTORY}"
        if container is not None:
            found.update(CNI_CONTAINERID=container.id, CNI_NETNS=container.netns, CNI_IFNAME=container.ifname)
        return found

    def begin(
        self,
        command: str,
        container: Optional[Container] = None,
        config: Optional[Mapping[str, Any]] = None,
        *,
        stdin: Optional[bytes] = None,
        directory: str = "/",
        **environment: Optional[str],
    ) -> Running:
        """Start the plugin, with ``stdin`` instead of a configuration if given.

        ``environment``: variables to change, None to leave out.
        """
        if stdin is None:
            given = dict(self.config() if config is None else config)
            if "prevResult" not in given and container is not None:
                previous = container.prev_result if command == "ADD" else container.result or container.prev_result
                if previous:
                    given["prevResult"] = previous
            if given.get("prevResult") and given["prevResult"].get("cniVersion") == "1.1.0":
                given["prevResult"] = convert(given["prevResult"], str(given.get("cniVersion", "0.1.0")))
            stdin = json.dumps(given).encode()
        return begin(self.subject.program, {**self.environment(command, container), **environment}, stdin, directory)

    def run(self, command: str, container: Optional[Container] = None, *args: Any, **options: Any) -> Reply:
        """Execute the plugin and wait; see ``begin``."""
        reply = self.begin(command, container, *args, **options).reply()
        self.replies.append(reply)
        return reply

    def at_once(self, jobs: Sequence[Running]) -> List[Reply]:
        """Wait for executions that run side by side."""
        replies = begin_all(jobs)
        self.replies += replies
        return replies

    def add(
        self, container: Optional[Container] = None, config: Optional[Mapping[str, Any]] = None, **options: Any
    ) -> Container:
        """ADD that has to succeed. The container (a new one by default) keeps the result."""
        container = container or self.container()
        container.result = self.run("ADD", container, config, **options).succeeded().document()
        return container

    def check(self, container: Container, config: Optional[Mapping[str, Any]] = None, **options: Any) -> Reply:
        """CHECK with the result of ADD."""
        return self.run("CHECK", container, config, **options)

    def control(self, container: Container, config: Optional[Mapping[str, Any]] = None) -> None:
        """CHECK has to succeed before something is taken away: else its failure afterwards proves nothing."""
        if self.check(container, config).status:
            raise Skipped("CHECK fails right after ADD already, see check.ok")

    def delete(self, container: Container, config: Optional[Mapping[str, Any]] = None, **options: Any) -> Reply:
        """DEL that has to succeed, with the result of ADD."""
        return self.run("DEL", container, config, **options).succeeded()

    def collect(self, *valid: Container, config: Optional[Mapping[str, Any]] = None, **options: Any) -> Reply:
        """GC with these attachments valid."""
        listed = [{"containerID": each.id, "ifname": each.ifname} for each in valid]
        given = dict(self.config() if config is None else config)
        return self.run("GC", None, {**given, "cni.dev/valid-attachments": listed}, **options)

    def warm(self, config: Optional[Mapping[str, Any]] = None) -> None:
        """ADD and DEL a first container, so that what stays by convention (a bridge, base chains) is there."""
        first = self.container("warm")
        self.add(first, config)
        self.delete(first, config)

    # Judgements.

    def show(self) -> snapshot.Snapshot:
        """The node and its containers now."""
        return snapshot.take(self.containers)

    def same(self, before: snapshot.Snapshot, expected: str, *, ignoring: Sequence[str] = ()) -> None:
        """Failed, with the difference, unless the node becomes as it was before."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            lines = snapshot.difference(before, self.show())
            lines = [line for line in lines if not any(word in line for word in ignoring)]
            if not lines:
                return
            if time.monotonic() > deadline or not any(" links: " in line or "addresses: " in line for line in lines):
                raise Failed(expected, _counted(lines), "\n".join(lines))
            time.sleep(0.05)

    def expect(self, condition: object, expected: str, seen: object = "", evidence: str = "") -> None:
        """Failed unless the condition holds."""
        if not condition:
            raise Failed(expected, str(seen) or "it does not", evidence)

    def need(self, version: str) -> None:
        """Skipped unless the plugin announces this version or a newer one."""
        if older(self.version, version):
            raise Skipped(f"needs CNI {version}, the plugin announces up to {self.version}")


def _counted(lines: Sequence[str]) -> str:
    new, gone = sum(line[0] == "+" for line in lines), sum(line[0] == "-" for line in lines)
    return (
        " and ".join(words for count, words in ((new, f"{new} new"), (gone, f"{gone} missing")) if count) + " objects"
    )
