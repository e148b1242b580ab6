"""What this node's kernel and addresses can do, found out by doing it: in a network namespace that goes again."""

from __future__ import annotations

import os
import sys
from typing import Iterator, List, Optional, Tuple

from ..errors import KernelError, PodwireError
from ..intent.cluster import Cluster, Node
from ..kernel import Namespace, execute, link_of
from ..kernel.iptables.tables import forward_drops
from ..kernel.isolate import fresh_namespace
from ..kernel.listeners import holders
from ..kernel.sysctls import sysctl_is_writable, sysctl_or_none
from ..model.command import command
from ..model.objects import BACKEND_ALIAS, Link, NatRule, Object, VethPeer
from ..plan import ADD, Operation
from .finding import NOT_RUN, OK, PROBLEM, WARNING, Finding

_OLDEST = (4, 18)


def look(cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Everything below."""
    yield from _version(cluster)
    yield from _features(cluster)
    yield from _forwarding(cluster, node)
    yield from _bridges(cluster)
    yield from _devices(cluster)
    yield from _port(cluster)


def _version(cluster: Cluster) -> Iterator[Finding]:
    release = os.uname().release
    numbers = tuple(int("".join(filter(str.isdigit, part)) or 0) for part in release.split("-")[0].split(".")[:2])
    backend = cluster.backend_driver
    warning = backend.kernel_warning(numbers, backend.device(cluster.versions[0]))
    if numbers < _OLDEST:
        yield Finding(PROBLEM, "kernel", f"Linux {release}", f"podwire needs {_OLDEST[0]}.{_OLDEST[1]} or newer")
    elif warning is not None:
        problem, fix = warning
        yield Finding(WARNING, "kernel", f"Linux {release} {problem}", fix)
    else:
        yield Finding(OK, "kernel", f"Linux {release}, Python {sys.version.split()[0]}")


def _features(cluster: Cluster) -> Iterator[Finding]:
    """Each kind of object that will be made is made; module names tell nothing of what is built in."""
    try:
        missing = list(_try_all(cluster))
    except PodwireError as error:
        yield Finding(NOT_RUN, "kernel features", f"no namespace to try them in: {error}", "run it as root")
        return
    for feature, cause in missing:
        module = {"nftables": "nf_tables"}.get(feature, feature)
        yield Finding(PROBLEM, "kernel features", f"{feature}: {cause}", f"modprobe {module}, or another kernel")
    if not missing:
        yield Finding(OK, "kernel features", "devices and rules of all needed kinds can be made")


def _try_all(cluster: Cluster) -> Iterator[Tuple[str, str]]:
    """(feature, why it is not there)."""
    with fresh_namespace("a namespace to try in") as namespace:
        objects: List[Tuple[str, Object]] = [
            ("bridge", Link("pw-bridge", "bridge")),
            ("veth", Link("pw-veth", "veth", peer=VethPeer(namespace.name, "pw-peer"))),
            *((link.kind, link) for link in cluster.backend_driver.probe_links()),
            ("nftables", NatRule(cluster.cluster_cidrs[0], cluster.cluster_cidrs[:1])),
        ]
        for feature, wanted in objects:
            try:
                execute([(namespace, Operation(ADD, wanted))], {namespace.name: namespace})
            except KernelError as error:
                yield feature, error.message


def _forwarding(cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Forwarding is podwire's to switch on, if it may; a strict reverse path filter nobody can look behind."""
    keys = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
    for version in cluster.versions:
        value = sysctl_or_none(keys[version])
        if value is None:
            yield Finding(PROBLEM, "forwarding", f"no IPv{version}: {keys[version]} is missing", "enable it")
        elif value != "1" and not sysctl_is_writable(keys[version]):
            yield Finding(
                PROBLEM,
                "forwarding",
                f"{keys[version]} = {value}, and /proc/sys is read-only",
                "set it to 1 from outside",
            )
        else:
            yield Finding(OK, "forwarding", f"{keys[version]} = {value}" + ("" if value == "1" else ", will be 1"))
    filters = {device: sysctl_or_none(f"net/ipv4/conf/{device}/rp_filter") for device in ("all", node.interface)}
    strict = [device for device, value in filters.items() if value == "1"]
    if strict and "2" not in filters.values() and 4 in cluster.versions:  # the larger one counts (IN_DEV_RPFILTER)
        loose = command("sysctl -w net/ipv4/conf/{}/rp_filter=2", node.interface)
        yield Finding(
            WARNING,
            "reverse path filter",
            f"strict for {' and '.join(strict)}: packets whose way back is another device are dropped",
            f"if this node has several routes to its peers: {loose}",
        )


def _bridges(cluster: Cluster) -> Iterator[Finding]:
    """With br_netfilter frames between pods of one node pass iptables' FORWARD, which Docker sets to DROP."""
    through = sysctl_or_none("net/bridge/bridge-nf-call-iptables")
    with Namespace.current() as namespace:
        drops = any(forward_drops(namespace, version) for version in cluster.versions)
    if drops:
        also = "; with bridge-nf-call-iptables = 1 also between pods of this node" if through == "1" else ""
        cidr = cluster.cluster_cidrs[0]
        yield Finding(
            WARNING,
            "iptables",
            f"FORWARD drops what nothing accepts{also}",
            f"iptables -I FORWARD -s {cidr} -j ACCEPT and -d {cidr}, or the firewall plugin in cni.conflist",
        )
    else:
        bridges = {None: "br_netfilter is not loaded", "0": "bridges are not filtered"}.get(
            through, "bridges are filtered"
        )
        yield Finding(OK, "iptables", f"FORWARD does not drop; {bridges}")


def _devices(cluster: Cluster) -> Iterator[Finding]:
    """Devices that have the backend's names and are somebody else's."""
    names = [cluster.backend_driver.device(version) for version in cluster.versions]
    with Namespace.current() as namespace:
        for name in filter(None, names):
            link: Optional[Link] = link_of(namespace, name)
            if link is not None and link.alias != BACKEND_ALIAS:
                yield Finding(
                    PROBLEM,
                    "devices",
                    f"{name} is there and not podwire's: flannel's, probably",
                    f"stop what made it and {command('ip link delete dev {}', name)}, or declare another backend.vni",
                )


def _port(cluster: Cluster) -> Iterator[Finding]:
    """A program on the backend's UDP port."""
    port = cluster.backend_driver.udp_port
    for holder in holders("udp", [port]).values() if port is not None else ():
        right = "stop it, or declare another backend.port"
        yield Finding(PROBLEM, "UDP port", f"{holder.name} holds UDP port {port}", right)
