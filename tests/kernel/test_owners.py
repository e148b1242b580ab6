"""Second owners of addresses, on a bridge that is in use."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from ipaddress import ip_interface
from typing import Callable

from podwire.kernel import Namespace, execute
from podwire.model.objects import Address, Link, MacAddress, VethPeer
from podwire.plan import ADD, Operation
from podwire.prove.duplicate_addresses import second_owners
from tests.kernel.labs import wait_until

MACS = ("02:00:00:00:00:0a", "02:00:00:00:00:0b")


def _talk(namespace: Namespace) -> int:
    """A process that never stops sending frames that are no answers; its id."""
    child = os.fork()
    if child == 0:
        with namespace.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as link:
            link.bind(("eth0", 0))
            while True:
                link.send(b"\xff" * 6 + MacAddress.parse(MACS[0]) + b"\x88\xb5" + bytes(46))  # IEEE 802, experimental
    return child


def test_both_owners_are_found_while_others_never_stop_talking(
    namespace: Namespace, make_namespace: Callable[[str], Namespace]
) -> None:
    pods = {name: make_namespace(name) for name in ("pod-a", "pod-b")}
    steps = [(namespace, Operation(ADD, Link("cni0", "bridge")))]
    for (name, pod), mac in zip(pods.items(), MACS):
        port = Link(f"v-{name}", "veth", master="cni0", peer=VethPeer(name, "eth0"))
        steps.append((namespace, Operation(ADD, port)))
        steps.append((pod, Operation(ADD, Link("eth0", "veth", mac=MacAddress.parse(mac)))))
        steps.append((pod, Operation(ADD, Address("eth0", ip_interface("10.1.0.2/24")))))
    execute(steps, {"node": namespace, **pods})
    wait_until(lambda: b"LOWER_UP" in subprocess.check_output(["ip", "link", "show", "cni0"]))
    talking = _talk(pods["pod-a"])
    try:
        assert second_owners(namespace, "cni0", ["10.1.0.2", "10.1.0.3"]) == {"10.1.0.2": list(MACS)}
    finally:
        os.kill(talking, signal.SIGKILL)
        os.waitpid(talking, 0)
