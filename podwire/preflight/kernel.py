"""What this node's kernel and addresses can do, found out by doing it: in a network namespace that goes again."""

from __future__ import annotations

import glob
import os
import sys
from contextlib import suppress
from typing import Callable, Iterator, List, Optional, Set, Tuple

from ..errors import KernelError, PodwireError
from ..intent.cluster import Cluster, Node
from ..kernel import Namespace, execute, link_of
from ..kernel.iptables.tables import forward_drops
from ..kernel.namespaces import CLONE_NEWNET, unshare
from ..kernel.nftables.masquerade import apply_nat
from ..kernel.show import read_sysctl
from ..model.command import command
from ..model.objects import BACKEND_ALIAS, Link, NatRule, VethPeer
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
        missing = _in_a_fresh_namespace(cluster)
    except (OSError, PodwireError) as error:
        yield Finding(NOT_RUN, "kernel features", f"no namespace to try them in: {error}", "run it as root")
        return
    for feature, cause in missing:
        module = {"nftables": "nf_tables"}.get(feature, feature)
        yield Finding(PROBLEM, "kernel features", f"{feature}: {cause}", f"modprobe {module}, or another kernel")
    if not missing:
        yield Finding(OK, "kernel features", "devices and rules of all needed kinds can be made")


def _in_a_fresh_namespace(cluster: Cluster) -> List[Tuple[str, str]]:
    """(feature, why it is not there). The namespace is a child's, and goes with it."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            unshare(CLONE_NEWNET)
            lines = [f"{feature}\t{cause}" for feature, cause in _try_all(cluster)]
            os.write(write_end, "\n".join(lines).encode())
            status = 0
        except PodwireError as error:
            os.write(write_end, error.message.encode())
        finally:
            os._exit(status)
    os.close(write_end)
    with open(read_end, encoding="utf-8") as pipe:
        told = pipe.read()
    if os.waitpid(child, 0)[1] != 0:
        raise OSError(told or "its process died")
    return [(line.partition("\t")[0], line.partition("\t")[2]) for line in told.splitlines()]


def _try_all(cluster: Cluster) -> Iterator[Tuple[str, str]]:
    with Namespace.current("a namespace to try in") as here:
        links = [
            Link("pw-bridge", "bridge"),
            Link("pw-veth", "veth", peer=VethPeer(here.name, "pw-peer")),
            *cluster.backend_driver.probe_links(),
        ]
        tries: List[Tuple[str, Callable[[], object]]] = [
            (link.kind, lambda link=link: execute([(here, Operation(ADD, link))], {here.name: here}))  # type: ignore[misc]
            for link in links
        ]
        rules = frozenset((NatRule(cluster.cluster_cidrs[0], cluster.cluster_cidrs[:1]),))
        tries.append(("nftables", lambda: apply_nat(here, "podwire", rules)))
        for feature, attempt in tries:
            try:
                attempt()
            except KernelError as error:
                yield feature, error.message


def _forwarding(cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Forwarding is podwire's to switch on, if it may; a strict reverse path filter nobody can look behind."""
    keys = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
    for version in cluster.versions:
        value = _sysctl(keys[version])
        if value is None:
            yield Finding(PROBLEM, "forwarding", f"no IPv{version}: {keys[version]} is missing", "enable it")
        elif value != "1" and not os.access(f"/proc/sys/{keys[version]}", os.W_OK):
            yield Finding(
                PROBLEM,
                "forwarding",
                f"{keys[version]} = {value}, and /proc/sys is read-only",
                "set it to 1 from outside",
            )
        else:
            yield Finding(OK, "forwarding", f"{keys[version]} = {value}" + ("" if value == "1" else ", will be 1"))
    filters = {each: _sysctl(f"net/ipv4/conf/{each}/rp_filter") for each in ("all", node.interface)}
    strict = [each for each, value in filters.items() if value == "1"]
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
    through = _sysctl("net/bridge/bridge-nf-call-iptables")
    with Namespace.current() as here:
        drops = any(forward_drops(here, version) for version in cluster.versions)
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
        told = {None: "br_netfilter is not loaded", "0": "bridges are not filtered"}.get(
            through, "bridges are filtered"
        )
        yield Finding(OK, "iptables", f"FORWARD does not drop; {told}")


def _devices(cluster: Cluster) -> Iterator[Finding]:
    """Devices that have the backend's names and are somebody else's."""
    names = [cluster.backend_driver.device(version) for version in cluster.versions]
    with Namespace.current() as here:
        for name in filter(None, names):
            found: Optional[Link] = link_of(here, name)
            if found is not None and found.alias != BACKEND_ALIAS:
                yield Finding(
                    PROBLEM,
                    "devices",
                    f"{name} is there and not podwire's: flannel's, probably",
                    f"stop what made it and {command('ip link delete dev {}', name)}, or declare another backend.vni",
                )


def _port(cluster: Cluster) -> Iterator[Finding]:
    """A UDP socket of a program on the backend's port. One that no process has is the kernel's own: VXLAN's."""
    port = cluster.backend_driver.udp_port
    if port is None:
        return
    wanted = f":{port:04X}"
    inodes = set()
    for path in ("/proc/net/udp", "/proc/net/udp6"):
        with suppress(FileNotFoundError), open(path, encoding="ascii") as file:
            rows = [line.split() for line in file][1:]
            inodes |= {row[9] for row in rows if row[1].endswith(wanted)}
    owner = _owner({f"socket:[{inode}]" for inode in inodes}) if inodes else ""
    if owner:
        yield Finding(
            PROBLEM,
            "UDP port",
            f"{owner} holds UDP port {port}",
            "stop it, or declare another backend.port",
        )


def _owner(sockets: Set[str]) -> str:
    """The name of a process that has one of these open; "" if none has."""
    for path in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(path) in sockets:
                with open(os.path.join(os.path.dirname(os.path.dirname(path)), "comm"), encoding="utf-8") as file:
                    return file.read().strip()
        except OSError:
            continue
    return ""


def _sysctl(key: str) -> Optional[str]:
    try:
        return read_sysctl(key)
    except OSError:
        return None
