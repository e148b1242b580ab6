"""Small labs for tests, each under an id of its own."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_interface, ip_network

from podwire.backend import BackendSettings
from podwire.intent.cluster import Cluster, CniSettings, Node, Port, Router, Segment, Underlay
from podwire.kernel import enter
from podwire.lab import registry

LAN = Segment("lan", (ip_network("172.30.0.0/24"), ip_network("fd00:30::/64")))


def make_node(name: str, number: int, segment: str = "lan", subnet: int = 0) -> Node:
    addresses = (ip_interface(f"172.30.{subnet}.{number}/24"), ip_interface(f"fd00:30:0:{subnet}::{number}/64"))
    port = Port(segment, "eth0", addresses)
    ips = tuple(address.ip for address in addresses)
    return Node(name, "netns", "eth0", addresses, ips, (ip_network(f"10.244.{number}.0/24"),), 1500, (port,))


def make_cluster(*nodes: Node, underlay: Underlay = Underlay((LAN,))) -> Cluster:  # noqa: B008  # frozen
    return Cluster(
        f"test-{os.urandom(4).hex()}",
        (ip_network("10.244.0.0/16"),),
        (ip_network("10.96.0.0/16"),),
        (24,),
        BackendSettings(),
        CniSettings(),
        True,
        nodes,
        (),
        underlay,
    )


def racks() -> Cluster:
    segments, ports = [], []
    for number, name in enumerate(("rack-a", "rack-b"), 1):
        cidrs = (ip_network(f"172.30.{number}.0/24"), ip_network(f"fd00:30:0:{number}::/64"))
        segments.append(Segment(name, cidrs))
        gateways = tuple(ip_interface(f"{cidr[1]}/{cidr.prefixlen}") for cidr in cidrs)
        ports.append(Port(name, f"eth{number - 1}", gateways))
    nodes = (make_node("node-1", 11, "rack-a", 1), make_node("node-2", 12, "rack-b", 2))
    return make_cluster(*nodes, underlay=Underlay(tuple(segments), (Router("spine", tuple(ports)),)))


def pid_of(cluster: Cluster, node: str) -> int:
    pid = registry.node_pid(cluster.id, node)
    assert pid is not None, f"{node} is not running"
    return pid


def run(cluster: Cluster, node: str, command: str) -> str:
    """Standard output of a command in a node."""
    words = shlex.split(command)
    return enter.call(pid_of(cluster, node), lambda: subprocess.check_output(words, text=True))


def talks(cluster: Cluster, source: str, target: str, version: int) -> bool:
    """Whether a datagram and its answer pass: the address is looked up in the node's own /etc/hosts."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6

    def answer(ready: int) -> int:
        with socket.socket(family, socket.SOCK_DGRAM) as server:
            server.bind(("", 7))
            os.write(ready, b".")
            while True:
                data, client = server.recvfrom(100)
                server.sendto(data, client)

    def ask() -> bool:
        with socket.socket(family, socket.SOCK_DGRAM) as client:
            client.settimeout(0.2)
            client.connect(socket.getaddrinfo(target, 7, family)[0][4])
            for _ in range(50):  # a device forwards only once the kernel got round to linkwatch_event()
                with suppress(OSError):
                    client.send(b"echo")
                    return client.recv(100) == b"echo"
            return False

    reader, writer = os.pipe()
    server = enter.fork_into(pid_of(cluster, target), lambda: answer(writer))
    os.close(writer)
    try:
        os.read(reader, 1)
        return enter.call(pid_of(cluster, source), ask)
    finally:
        os.close(reader)
        os.kill(server, 9)
        os.waitpid(server, 0)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 10 s"
        time.sleep(0.005)
