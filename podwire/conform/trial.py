"""What a case works with: its plugin, executed on its node, and the words for what it expects."""

from __future__ import annotations

import copy
import json
import time
from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import snapshot, stub
from .call import Reply, Running, begin, begin_all
from .case import IPAM, Case, Failed, Skipped
from .node import Container
from .shape import convert, older
from .subject import SUBNET, SUBNET6, Subject
from .tools import PATH
from .world import World

#: How long what has to vanish may take where the kernel works in the background (a namespace that dies).
SETTLE_S = 2.0


class Trial(World):
    """One case on one plugin on its own node."""

    def __init__(self, subject: Subject, case: Case) -> None:
        super().__init__(subject)
        self.parameter = case.parameter
        self.version = subject.version
        self.network = "conform"
        self.replies: List[Reply] = []
        stub.install(self.version)
        if subject.type == "flannel" and not (subject.beside("bridge") and subject.beside("host-local")):
            raise Skipped("flannel needs bridge and host-local in the same directory")

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
