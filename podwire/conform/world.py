"""The world around a plugin: containers, an earlier plugin's work, a host beyond the node, flanneld's file."""

from __future__ import annotations

import json
import os
from typing import List, Optional

from ..kernel.namespaces import Namespace
from .case import META
from .node import Container, new_namespace
from .subject import GATEWAY, GATEWAY6, Subject
from .tools import ip

OUTSIDE, UPLINK = "192.0.2.2", "192.0.2.1"
OUTSIDE6, UPLINK6 = "2001:db8:22::2", "2001:db8:22::1"
SUBNET_ENV = "/run/flannel/subnet.env"


class World:
    """Of one case. Everything in it goes with the node."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.node = Namespace.current("node")
        self.containers: List[Container] = []
        self._outside: Optional[Namespace] = None
        if subject.type == "flannel":
            self.subnet_env()
        if "uplink0" in json.dumps(subject.configuration):
            self.outside()

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
