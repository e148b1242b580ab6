"""What else on the node takes care of networks: other CNI plugins, firewalls, and managers that clear up."""

from __future__ import annotations

import glob
import os
from typing import FrozenSet, Iterator

from ..cni.install.executables import FOREIGN
from ..cni.install.executables import look as look_at_plugins
from ..intent.cluster import Cluster, Node
from ..kernel import Namespace, devices
from ..sandbox import conflist
from .finding import OK, PROBLEM, WARNING, Finding

_PLUGINS = "/opt/cni/bin"
#: Devices that other networks' agents make, and whose they are.
_OTHERS = {
    "cali": "Calico", "vxlan.calico": "Calico", "tunl": "Calico", "cilium": "Cilium", "lxc": "Cilium",
    "kube-bridge": "kube-router", "weave": "Weave Net", "antrea": "Antrea", "ovn": "OVN-Kubernetes",
}  # fmt: skip


def look(cluster: Cluster, node: Node) -> Iterator[Finding]:
    """Everything below."""
    yield from _lists(cluster)
    yield from _plugins(node)
    yield from _networks()
    running = _running()
    yield from _firewalls(cluster, running)
    yield from _managers(cluster, running)


def _lists(cluster: Cluster) -> Iterator[Finding]:
    """A container runtime takes the first configuration by name (libcni, ConfFiles)."""
    own_name = os.path.basename(conflist.path_of(cluster.cni.name))
    try:
        names = sorted(os.listdir(conflist.CONF_DIR))
    except OSError:
        names = []
    others = [name for name in names if name.endswith((".conf", ".conflist", ".json")) and name != own_name]
    if others and others[0] < own_name:
        text = f"{conflist.CONF_DIR}/{others[0]} comes before podwire's {own_name}: container runtimes take the first"
        yield Finding(PROBLEM, "CNI configuration", text, "move it away, once its pods are gone")
    elif others:
        text = f"{conflist.CONF_DIR} also has {', '.join(others)}"
        yield Finding(WARNING, "CNI configuration", text, "fine if you mean it; podwire's comes first")
    else:
        yield Finding(OK, "CNI configuration", f"none but podwire's in {conflist.CONF_DIR}")


def _plugins(node: Node) -> Iterator[Finding]:
    if node.kind == "netns" or not os.path.isdir(_PLUGINS):
        return
    foreign = [
        os.path.basename(look_at_plugin.path)
        for look_at_plugin in look_at_plugins(_PLUGINS)
        if look_at_plugin.state == FOREIGN
    ]
    if foreign:
        text = f"{_PLUGINS} has {', '.join(foreign)} that are not podwire's"
        fix = "declare another cni_directory, or cni_force: true to replace them, or cni.plugin_dirs to use them"
        yield Finding(PROBLEM, "CNI plugins", text, fix)
    else:
        yield Finding(OK, "CNI plugins", f"none of others' in {_PLUGINS}")


def _networks() -> Iterator[Finding]:
    with Namespace.current() as namespace:
        names = devices.names(namespace).values()
    owners = {owner: name for name in names for start, owner in _OTHERS.items() if name.startswith(start)}
    owners.pop("Calico", None) if owners.get("Calico") == "tunl0" else None  # the kernel's own, with ipip
    for owner, name in sorted(owners.items()):
        text = f"{name} looks like {owner}'s: two networks on one node"
        yield Finding(WARNING, "other networks", text, f"remove {owner} first")


def _running() -> FrozenSet[str]:
    """The names of all processes, cut off at 15 characters as the kernel has them."""
    names = set()
    for path in glob.glob("/proc/[0-9]*/comm"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                names.add(file.read().strip())
        except OSError:
            continue
    return frozenset(names)


def _firewalls(cluster: Cluster, running: FrozenSet[str]) -> Iterator[Finding]:
    """Neither can be overruled by an accept of another table: they have to let pods through themselves."""
    cidrs = list(map(str, cluster.cluster_cidrs))
    if "firewalld" in running and not all(cidr in _text("/etc/firewalld/zones/trusted.xml") for cidr in cidrs):
        fix = " ".join(f"--add-source={cidr}" for cidr in cidrs)
        text = "firewalld runs and rejects packets between pods unless their addresses are trusted"
        yield Finding(
            PROBLEM, "firewalld", text, f"firewall-cmd --permanent --zone=trusted {fix} && firewall-cmd --reload"
        )
    enabled = "ENABLED=yes" in _text("/etc/ufw/ufw.conf").replace('"', "")
    if enabled and "DEFAULT_FORWARD_POLICY=ACCEPT" not in _text("/etc/default/ufw").replace('"', ""):
        fix = "; ".join(f"ufw route allow from {cidr}; ufw route allow to {cidr}" for cidr in cidrs)
        yield Finding(PROBLEM, "ufw", "ufw is enabled and drops what it forwards, packets between pods too", fix)


def _managers(cluster: Cluster, running: FrozenSet[str]) -> Iterator[Finding]:
    """MAC addresses are podwire's own from birth, so that udev's MACAddressPolicy leaves them alone (NET_ADDR_SET)."""
    if "NetworkManager" in running:
        text = _texts("/etc/NetworkManager/NetworkManager.conf", "/etc/NetworkManager/conf.d/*.conf")
        wanted = [name for name in ("flannel", "cni", "veth") if f"interface-name:{name}" not in text]
        if wanted:
            line = ";".join(f"interface-name:{name}*" for name in ("flannel", "cni", "veth"))
            fix = f"/etc/NetworkManager/conf.d/podwire.conf: [keyfile] unmanaged-devices={line}"
            yield Finding(WARNING, "NetworkManager", f"NetworkManager manages {', '.join(wanted)} devices", fix)
    if "systemd-network" in running:
        text = _texts(
            "/etc/systemd/networkd.conf", "/etc/systemd/networkd.conf.d/*.conf", "/run/systemd/networkd.conf.d/*"
        )
        if not any(line.replace(" ", "").lower() == "manageforeignroutes=no" for line in text.splitlines()):
            fix = "/etc/systemd/networkd.conf.d/podwire.conf: [Network] ManageForeignRoutes=no"
            yield Finding(WARNING, "systemd-networkd", "networkd removes routes of others when it restarts", fix)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _texts(*patterns: str) -> str:
    return "\n".join(_text(path) for pattern in patterns for path in sorted(glob.glob(pattern)))
