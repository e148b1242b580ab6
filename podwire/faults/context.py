"""The context that a fault stands on: one node, its pods, the peer, and what is there now. Lives inside the node."""

from __future__ import annotations

import os
from ipaddress import ip_address
from itertools import islice
from typing import Dict, FrozenSet, List, Mapping, Optional, Set, Tuple

from ..errors import FaultError
from ..intent.cluster import Cluster, Node, Pod
from ..ipam.store import DATA_DIR
from ..kernel.queries import other_end
from ..model.objects import IPAddress, IPNetwork, Link, Sysctl
from ..model.state import State
from .attach import PLUGIN_DIR
from .namespaces import Namespaces, look
from .places import MACHINE, NODE


class Context:
    """What a fault's edits are worked out from. ``addresses``: of all pods of the cluster, as attached."""

    cluster: Cluster
    node: Node
    namespaces: Namespaces
    version: int

    def __init__(
        self,
        cluster: Cluster,
        node: str,
        addresses: Mapping[str, List[str]],
        namespaces: Namespaces,
        peer: Optional[str] = None,
        pod: Optional[str] = None,
    ) -> None:
        self.cluster = cluster
        self.node = cluster.node(node)
        self.addresses = addresses
        self.namespaces = namespaces
        self.version = 4 if 4 in cluster.versions else 6
        self.token = os.urandom(4).hex()  # for what has to be found again by name
        self._peer, self._pod = peer, pod
        self._states: Dict[str, State] = {}
        self._watched: Dict[str, Set[str]] = {}

    # --- who is meant ----------------------------------------------------------------------------

    @property
    def peer(self) -> Node:
        """The other node: the one named, or the next in the inventory. FaultError without one."""
        if self._peer is not None:
            return self.cluster.node(self._peer)
        names = [node.name for node in self.cluster.nodes]
        at = names.index(self.node.name)
        around = names[at + 1 :] + names[:at]
        with_pods = [name for name in around if self._attached(name)]
        if not around:
            raise FaultError(f"failed to choose a peer of {self.node.name}: it is the only node")
        return self.cluster.node((with_pods or around)[0])

    @property
    def third(self) -> Node:
        """A node that is neither. FaultError without one."""
        for node in self.cluster.nodes:
            if node.name not in (self.node.name, self.peer.name):
                return node
        raise FaultError("failed to choose a third node: there are two")

    @property
    def pod(self) -> Pod:
        """The pod on the node: the one named, or the first of the pod network. FaultError without one."""
        pods = {pod.name: pod for pod in self.cluster.pods_of(self.node.name)}
        if self._pod is not None:
            return pods[self._pod]
        return self._first(self._attached(self.node.name), f"a pod on {self.node.name}")

    @property
    def sibling(self) -> Pod:
        """Another pod of the same node. FaultError without one."""
        others = [each for each in self._attached(self.node.name) if each.name != self.pod.name]
        return self._first(others, f"a second pod on {self.node.name}")

    @property
    def far_pod(self) -> Pod:
        """A pod on the peer. FaultError without one."""
        return self._first(self._attached(self.peer.name), f"a pod on {self.peer.name}")

    @property
    def host_pod(self) -> Pod:
        """A hostNetwork pod of the node. FaultError without one."""
        pods = [pod for pod in self.cluster.pods_of(self.node.name) if pod.host_network]
        return self._first(pods, f"a hostNetwork pod on {self.node.name}")

    def _attached(self, node: str) -> List[Pod]:
        return [pod for pod in self.cluster.pods_of(node) if not pod.host_network and self.addresses.get(pod.name)]

    @staticmethod
    def _first(pods: List[Pod], what: str) -> Pod:
        if not pods:
            raise FaultError(f"failed to choose {what}: none is attached")
        return pods[0]

    # --- what is where ---------------------------------------------------------------------------

    def ip(self, pod: Pod) -> IPAddress:
        """A pod's address. FaultError if it has none of the family."""
        if pod.host_network:
            found = self.cluster.node(pod.node).address(self.version)
            if found is not None:
                return found.ip
        for text in self.addresses.get(pod.name, ()):
            address = ip_address(text.partition("/")[0])
            if address.version == self.version:
                return address
        raise FaultError(f"failed to find an IPv{self.version} address of pod {pod.name}")

    def block(self, node: Node) -> IPNetwork:
        """A node's block of the family."""
        found = node.pod_cidr(self.version)
        if found is None:
            raise FaultError(f"failed to find an IPv{self.version} block of {node.name}")
        return found

    def underlay(self, node: Node) -> IPAddress:
        """A node's address on the underlay."""
        found = node.address(self.version)
        if found is None:
            raise FaultError(f"failed to find an IPv{self.version} address of {node.name}")
        return found.ip

    @property
    def vtep(self) -> str:
        """Name of the backend's device; "" without one."""
        return self.cluster.backend_driver.device(self.version)

    def place(self, pod: Pod) -> str:
        """The name of a pod's place."""
        return f"pod:{pod.name}"

    @property
    def leases(self) -> str:
        """The directory of host-local's leases of the pods' network."""
        return os.path.join(DATA_DIR, self.cluster.cni.name)

    @property
    def plugin_dirs(self) -> Tuple[str, ...]:
        """Where a runtime looks for plugins on the node."""
        return self.cluster.cni.plugin_dirs or (PLUGIN_DIR,)

    def free(self, most: int = 1) -> List[IPAddress]:
        """Addresses of the node's block that nobody holds, from its end; not the network's, the gateway's and the
        broadcast's. A block of IPv6 has too many to list them all. FaultError where there is none."""
        held = set(os.listdir(self.leases))
        block = self.block(self.node)
        candidates = (block[number] for number in range(block.num_addresses - 2, 1, -1))
        found = list(islice((ip for ip in candidates if str(ip) not in held), most))
        if not found:
            cause = f"every address of {block} is reserved"
            raise FaultError(f"failed to choose an address on {self.node.name}: {cause}", "mend first: ./run mend")
        return found

    # --- what is there ---------------------------------------------------------------------------

    def state(self, place: str = NODE) -> State:
        """A place as it was before anything is edited."""
        if place not in self._states:
            blocks = {block for node in self.cluster.nodes for block in node.pod_cidrs}
            watched = self._watched.setdefault(place, set())
            self._states[place] = look(self.namespaces[place], watched, blocks, only_sysctls=place == MACHINE)
        return self._states[place]

    def watched(self, place: str) -> FrozenSet[str]:
        """The sysctls that were asked for, by place."""
        return frozenset(self._watched.get(place, ()))

    def seen(self) -> Dict[str, State]:
        """Every place that was looked at."""
        return dict(self._states)

    def link(self, name: str, place: str = NODE) -> Link:
        """A device. FaultError if there is none."""
        for link in self.state(place).links:
            if link.name == name:
                return link
        raise FaultError(f"failed to find device {name} in {place}: there is none")

    def sysctl(self, key: str, place: str = NODE) -> Sysctl:
        """A sysctl's value, which from now on belongs to the place's state. FaultError if the kernel has none."""
        self._watched.setdefault(place, set()).add(key)
        self._states.pop(place, None)
        for sysctl in self.state(place).sysctls:
            if sysctl.key == key:
                return sysctl
        raise FaultError(f"failed to read sysctl {key} in {place}: this kernel has none")

    def port(self, pod: Pod) -> str:
        """The node's end of a pod's veth pair."""
        end = other_end(self.namespaces[self.place(pod)], "eth0", self.namespaces[NODE])
        if end is None:
            raise FaultError(f"failed to find the node's end of pod {pod.name}'s eth0")
        return end
