"""Attach a throw-away namespace as a container runtime does: the first list of the directory, every plugin executed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from ipaddress import ip_interface, ip_network
from typing import List, Sequence, Set

from ..cni.runtime.external import External
from ..cni.spec import invoke
from ..cni.spec.netconf import Attachment
from ..cni.spec.netlist import NetConfList, load_file, parse_list
from ..errors import CniError
from ..ipam.store import DATA_DIR, Store
from ..kernel.isolate import fresh_namespace
from ..sandbox.conflist import CONF_DIR

PLUGIN_DIR = "/opt/cni/bin"
_TIMEOUT = 30.0
_PROBE = "podwire-probe-"
#: A list that asks flannel for what its subnet.env says. Its delegate gives an address and touches no device: the same
#: address is some pod's.
_FLANNEL = {
    "cniVersion": "1.0.0",
    "name": "probe-flannel",
    "plugins": [{"type": "flannel", "delegate": {"type": "host-local"}}],
}
#: What the last failed ADD said, for people.
said: List[str] = []


def attach(block: str, directories: Sequence[str], *, flannel: bool = False) -> str:
    """``ok`` if ADD gives an address of ``block``, ``foreign address`` for another, ``failed`` for none."""
    with fresh_namespace("probe") as fresh:
        known = _networks()
        attachment = Attachment(f"{_PROBE}{os.urandom(6).hex()}", "eth0", f"/proc/{os.getpid()}/fd/{fresh.fd}")
        said.clear()
        try:
            if flannel:  # which not everybody has
                directories = (*directories, PLUGIN_DIR)
            network = parse_list(json.dumps(_FLANNEL)) if flannel else first_list()
            return "ok" if _add(network, attachment, block, directories) else "foreign address"
        except CniError as error:
            said.append(str(error))
            return "failed"
        finally:
            for name in _networks() - known:  # host-local keeps the directory of a network for good
                shutil.rmtree(os.path.join(DATA_DIR, name))


def sweep() -> None:
    """Release what probes hold that died on the way. Their devices went with their namespaces."""
    for name in _networks():
        if os.path.dirname(name):
            continue
        with Store(DATA_DIR, name, read_only=True) as store:
            stale = any(claim.container_id.startswith(_PROBE) for claim in store.leases().values())
        if not stale:
            continue
        with Store(DATA_DIR, name) as store:
            for ip, claim in store.leases().items():
                if claim.container_id.startswith(_PROBE):
                    store.remove(ip)
                    store.forget(claim)


def _networks() -> Set[str]:
    """Directories of networks, and of podwire's own index beside them."""
    found = set()
    for parent in ("", ".podwire"):
        with contextlib.suppress(OSError):
            found |= {os.path.join(parent, name) for name in os.listdir(os.path.join(DATA_DIR, parent))}
    return found - {".podwire"}


def first_list() -> NetConfList:
    """The list that a runtime takes: of those in the directory the first by name (containerd's and CRI-O's rule)."""
    try:
        names = sorted(name for name in os.listdir(CONF_DIR) if name.endswith(".conflist"))
    except OSError:
        names = []
    if not names:
        raise CniError(7, f"no networks found in {CONF_DIR}")
    return load_file(os.path.join(CONF_DIR, names[0]))


def _add(network: NetConfList, attachment: Attachment, block: str, directories: Sequence[str]) -> bool:
    result = None
    steps = []
    try:
        for conf in network.plugins:
            path = invoke.find(conf.type, directories)
            if path is None:
                raise invoke.missing(conf.type, directories)
            steps.append(External(conf, path, directories, timeout=_TIMEOUT))
            result = steps[-1].add_one(attachment, result)
    finally:
        for step in reversed(steps):
            step.delete([attachment], {attachment: result} if result else {})
    ips = [ip.address for ip in result.ips] if result else []
    return any(ip_interface(str(ip)).ip in ip_network(block) for ip in ips)
