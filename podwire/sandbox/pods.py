"""Pods of one node: sandboxes run, are attached by CNI, and nothing else is. Runs inside the node.

One call attaches a whole list: one start of all sandboxes, one round of IP allocations, one converge. A pod
that cannot be attached does not keep the others from it: the rest is done, then LabError names those that
failed, and the next run tries them again.
"""

from __future__ import annotations

import contextlib
import os
from itertools import groupby
from typing import Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from ..cni.engine.step import Operations
from ..cni.plugins import PLUGINS
from ..cni.plugins.base import NODE
from ..cni.runtime.bridges import own_bridges
from ..cni.runtime.cache import CACHE_DIR, Cached, cached_of_all_networks
from ..cni.runtime.runtime import Runtime
from ..cni.spec.netconf import Attachment
from ..cni.spec.netlist import NetConfList, parse_list
from ..cni.spec.result import Result
from ..converge import Target, converge
from ..errors import CniError, LabError
from ..files import replace_file
from ..intent.cluster import Cluster, Pod
from ..ipam.store import Claim
from ..kernel import Namespace, link_of
from ..model.state import EMPTY, Scope
from . import conflist, sandboxes
from .sandboxes import Sandbox

#: Seconds after which an executed plugin is killed; kubelet gives a whole sandbox four minutes.
_PLUGIN_TIMEOUT = 60.0


class PodsOutcome(NamedTuple):
    """``lines`` say what was done (or would be), one a change; ``results`` maps pods to their addresses."""

    lines: Tuple[str, ...]
    results: Dict[str, List[str]]

    @property
    def changed(self) -> bool:
        """Whether anything was done (or would be)."""
        return bool(self.lines)


def reconcile(cluster: Cluster, node: str, *, check: bool = False, keep_others: bool = False) -> PodsOutcome:
    """Make the node's pods what is declared.

    Undeclared pods and whatever a crash left behind are detached and removed; missing sandboxes are started and
    attached; attachments are put right in place where they differ, or else attached anew. With ``check``
    nothing is changed, and the lines are the same. LabError names pods that could not be attached.

    With ``keep_others`` attachments that another runtime made stay, and are put right like the pods' own.
    """
    return _Run(cluster, node, cluster.pods_of(node), check, keep_others).reconcile()


def outdated_bridges(cluster: Cluster, node: str) -> FrozenSet[str]:
    """Bridges of attachments that cannot stay because podCIDR, bridge or plugin are declared otherwise now.

    Such a bridge's own route to the old podCIDR conflicts with its new owner's, so whoever converges the
    node's routes, which comes before ``reconcile``, has to own it too. Changes nothing.
    """
    network = conflist.declared(cluster, node)
    old = conflist.written(network.name)
    return own_bridges(old) if old is not None and not conflist.kept_by(old, network) else frozenset()


def told(cluster: Cluster, node: str) -> Dict[str, List[str]]:
    """The addresses that CNI gave to the node's pods, as it keeps them; pods that are not attached are missing."""
    recorded = sandboxes.recorded()
    cached = {entry.attachment.container_id: entry.result for entry in cached_of_all_networks(CACHE_DIR)}
    addresses = {}
    for pod in cluster.pods_of(node):
        if pod.host_network:
            addresses[pod.name] = [str(address.ip) for address in cluster.node(node).addresses]
        elif pod.name in recorded and recorded[pod.name].container_id in cached:
            result = cached[recorded[pod.name].container_id]
            addresses[pod.name] = [str(ip.address.ip) for ip in result.ips]
    return addresses


def detach_all(cluster: Cluster, node: str, *, check: bool = False) -> PodsOutcome:
    """Detach and stop every pod of the node, and remove the bridge and the configuration list."""
    return _Run(cluster, node, (), check).remove()


def detach_recorded(*, check: bool = False) -> PodsOutcome:
    """Likewise on a node that has lost what was declared: by its records of sandboxes, and by the lists that
    attachments were made with, which are cached with their results."""
    recorded = sandboxes.recorded()
    container_ids = {sandbox.container_id for sandbox in recorded.values()}
    cached = [entry for entry in cached_of_all_networks(CACHE_DIR) if entry.attachment.container_id in container_ids]
    lines = [f"- pod {name}" for name in recorded]
    shared: Set[str] = set()
    for (config, plugin_dirs), group in groupby(sorted(cached, key=_made_with), key=_made_with):
        network = parse_list(config)
        shared |= own_bridges(network)
        if not check:
            runtime = Runtime(network, PLUGINS, plugin_dirs=plugin_dirs, timeout=_PLUGIN_TIMEOUT)
            runtime.delete([entry.attachment for entry in group])
    for name in {entry.network for entry in cached}:
        path = conflist.path_of(name)
        if os.path.exists(path):
            lines.append(f"- file {path}")
            if not check:
                os.unlink(path)
    if shared:
        with Namespace.current(NODE) as node:
            outcome = converge([Target(node, EMPTY, Scope(links=frozenset(shared)))], check=check)
        lines += [f"{operation} on {where}" for where, operation in outcome.operations]
    if not check:
        sandboxes.stop(recorded)
    return PodsOutcome(tuple(lines), {})


def _made_with(cached: Cached) -> Tuple[str, Tuple[str, ...]]:
    return cached.config, cached.plugin_dirs


class _Run:
    """What one run finds at its beginning, and the lines and errors it gathers."""

    def __init__(
        self, cluster: Cluster, node: str, pods: Sequence[Pod], check: bool, keep_others: bool = False
    ) -> None:
        self.node = cluster.node(node)
        self.pods = pods
        self.check = check
        self.network = conflist.declared(cluster, node)
        self.runtime = self._runtime(self.network, cluster.cni.plugin_dirs)
        self.recorded = sandboxes.recorded()
        self.cached = {entry.attachment.claim: entry for entry in cached_of_all_networks(CACHE_DIR)}
        self.lines: List[str] = []
        self.results: Dict[str, List[str]] = {}
        self.errors: Dict[str, CniError] = {}
        declared = {pod.name: pod for pod in pods}
        self.staying = {
            name: sandbox
            for name, sandbox in self.recorded.items()
            if name in declared and _fits(sandbox, declared[name])
        }
        self.others = self._others() if keep_others else {}
        self.kept = self._kept()

    @staticmethod
    def _runtime(network: NetConfList, plugin_dirs: Sequence[str]) -> Runtime:
        return Runtime(network, PLUGINS, plugin_dirs=plugin_dirs, timeout=_PLUGIN_TIMEOUT, exact=True)

    def _kept(self) -> Dict[Attachment, Result]:
        """Attachments that can stay, put right in place where need be."""
        attachments = [_attachment(sandbox) for sandbox in self.staying.values() if not sandbox.host_network]
        attachments = [attachment for attachment in attachments if self._can_stay(self.cached.get(attachment.claim))]
        attachments += [other for other in self.others.values() if self._is_whole(other)]
        held = self.runtime.held(attachments) if attachments else {}
        return {attachment: reservation for attachment, reservation in held.items() if reservation is not None}

    def _others(self) -> Dict[Claim, Attachment]:
        """Cached attachments that are not of podwire's own sandboxes. After a reboot the records of these are gone,
        and their names tell whose they were."""
        names = {os.path.join(sandboxes.NAMES, pod.name) for pod in self.pods}
        container_ids = {sandbox.container_id for sandbox in self.recorded.values()}
        return {
            claim: entry.attachment
            for claim, entry in self.cached.items()
            if claim.container_id not in container_ids and entry.attachment.netns not in names
        }

    def _is_whole(self, other: Attachment) -> bool:
        """Whether another runtime's attachment can be put right: its devices are there. One that has none is
        about to be deleted, or was lost with its sandbox."""
        if self.runtime.executes or not self._can_stay(self.cached[other.claim]) or not os.path.exists(other.netns):
            return False
        with Namespace.current(NODE) as node:
            return all(link_of(node, name) is not None for name in self.runtime.devices(other))

    def _can_stay(self, cached: Optional[Cached]) -> bool:
        """Foreign plugins cannot take over an attachment of another configuration, nor from others."""
        if cached is None or cached.network != self.network.name or cached.plugin_dirs != self.runtime.plugin_dirs:
            return False
        if cached.config == self.network.source:
            return True
        return not self.runtime.executes and conflist.kept_by(parse_list(cached.config), self.network)

    # --- the three directions --------------------------------------------------------------------

    def reconcile(self) -> PodsOutcome:
        self._detach()
        self._retire_lists()
        self._write_conflist()
        failed = self._mend()
        self._attach([pod for pod in self.pods if pod.name not in self.staying], failed)
        host_ips = [str(address.ip) for address in self.node.addresses]
        self.results.update({pod.name: host_ips for pod in self.pods if pod.host_network})
        if self.errors:
            raise LabError(
                f"failed to attach {len(self.errors)} of {len(self.pods)} pods on {self.node.name}: "
                + "; ".join(f"{pod}: {error}" for pod, error in self.errors.items())
            )
        return self._outcome()

    def remove(self) -> PodsOutcome:
        self._detach()
        self._remove_bridges(own_bridges(self.network))
        self._remove_file(conflist.path_of(self.network.name))
        return self._outcome()

    def _outcome(self) -> PodsOutcome:
        return PodsOutcome(tuple(self.lines), self.results)

    # --- taking away -----------------------------------------------------------------------------

    def _detach(self) -> None:
        """DEL whatever left a trace and is not kept, then stop the sandboxes that do not stay."""
        recorded = {sandbox.container_id: name for name, sandbox in self.recorded.items()}
        gone = self._gone(set(recorded))
        ending = [name for name in self.recorded if name not in self.staying]
        self.lines += [f"- pod {name}" for name in ending]
        self.lines += [
            f"- attachment {attachment.container_id[:12]} {attachment.ifname}"
            for attachment in gone
            if attachment.container_id not in recorded
        ]
        if self.check:
            return
        self._delete(gone)
        if ending:
            sandboxes.stop(ending)

    def _delete(self, gone: Iterable[Attachment]) -> None:
        """DEL each with the list and plugins that it was attached with."""
        for (config, plugin_dirs), group in groupby(sorted(gone, key=self._origin), key=self._origin):
            runtime = self._runtime(parse_list(config), plugin_dirs) if config else self.runtime
            self.errors.update({attachment.name: error for attachment, error in runtime.delete(list(group)).items()})

    def _gone(self, container_ids: Set[str]) -> List[Attachment]:
        valid = {attachment.claim for attachment in self.kept} | set(self.others)
        leftovers = {attachment.claim: attachment for attachment in self.runtime.stale(valid)}
        for claim, cached in self.cached.items():  # of a network that had another name
            if claim not in valid and claim.container_id in container_ids:
                leftovers.setdefault(claim, cached.attachment)
        if self.runtime.executes:  # foreign plugins' addresses tell nothing of an ADD that was killed
            for recorded in self.recorded.values():
                attachment = _attachment(recorded)
                if attachment.claim not in valid and not recorded.host_network:
                    leftovers.setdefault(attachment.claim, attachment)
        return list(leftovers.values())

    def _origin(self, attachment: Attachment) -> Tuple[str, Tuple[str, ...]]:
        cached = self.cached.get(attachment.claim)
        return _made_with(cached) if cached else ("", ())

    def _retire_lists(self) -> None:
        """Remove what the lists on disk have and the declared one has not: their bridges, and the lists of
        networks that have another name now."""
        others = {entry.network for entry in self.cached.values() if self._is_ours(entry.attachment)} - {
            self.network.name
        }
        for name in (self.network.name, *sorted(others)):
            old = conflist.written(name)
            if old is not None:
                self._remove_bridges(own_bridges(old) - conflist.bridges(self.network))
        for name in sorted(others):
            self._remove_file(conflist.path_of(name))

    def _is_ours(self, attachment: Attachment) -> bool:
        return any(sandbox.container_id == attachment.container_id for sandbox in self.recorded.values())

    def _remove_file(self, path: str) -> None:
        if os.path.exists(path):
            self.lines.append(f"- file {path}")
            if not self.check:
                os.unlink(path)

    def _remove_bridges(self, names: FrozenSet[str]) -> None:
        if not names:
            return
        with Namespace.current(NODE) as node:
            outcome = converge([Target(node, EMPTY, Scope(links=names))], check=self.check)
        self._tell(outcome.operations)

    # --- putting there ---------------------------------------------------------------------------

    def _write_conflist(self) -> None:
        path = conflist.path_of(self.network.name)
        present: Optional[str] = None
        with contextlib.suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:
            present = file.read()
        if present != self.network.source:
            self.lines.append(f"{'+' if present is None else '~'} file {path}")
            if not self.check:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                replace_file(path, self.network.source.encode(), 0o644)

    def _mend(self) -> List[Attachment]:
        """Put right what is kept. Returns what could not be, which is detached then."""
        answers = self.runtime.repair(self.kept, check=self.check)
        self._tell(answers.operations)
        self._take_results(answers.results)
        failed = [error for error in answers.errors if error.claim not in self.others]
        self.errors.update({error.name: answers.errors[error] for error in answers.errors if error not in failed})
        if failed and not self.check:
            self._delete(failed)
        return failed

    def _attach(self, missing: Sequence[Pod], failed: Iterable[Attachment]) -> None:
        """Start the missing sandboxes, and ADD them and those that could not keep their attachment."""
        running = {**self.staying, **(sandboxes.start(missing) if missing and not self.check else {})}
        for pod in missing:
            if pod.host_network:
                self.lines.append(f"+ pod {pod.name} on the host network")
        lost = set(failed)
        new = {
            pod.name: _attachment(running[pod.name]) if pod.name in running else _imagined(pod)
            for pod in self.pods
            if not pod.host_network
        }
        new = {
            name: attachment for name, attachment in new.items() if attachment not in self.kept or attachment in lost
        }
        answers = (self.runtime.dry_run if self.check else self.runtime.add)(list(new.values()))
        if not self.kept:  # else repairing has listed it
            self._tell(self.runtime.shared(answers))
        self._take_results(answers.results)
        for name in new:
            if name in self.results:
                sign = "~" if name in self.staying else "+"
                self.lines.append(" ".join([f"{sign} pod {name}", *self.results[name]]))
        self.errors.update({attachment.name: error for attachment, error in answers.errors.items()})

    def _tell(self, operations: Operations) -> None:
        self.lines += [f"{operation} on {where}" for where, operation in operations]

    def _take_results(self, results: Mapping[Attachment, Result]) -> None:
        for attachment, result in results.items():
            self.results[attachment.name] = [str(ip.address.ip) for ip in result.ips]


def _attachment(sandbox: Sandbox) -> Attachment:
    return Attachment(sandbox.container_id, "eth0", sandbox.netns)


def _imagined(pod: Pod) -> Attachment:
    """Of a sandbox that check mode does not start."""
    return Attachment(pod.name, "eth0", os.path.join(sandboxes.NAMES, pod.name))


def _fits(sandbox: Sandbox, pod: Pod) -> bool:
    """Whether a sandbox runs what is declared."""
    return sandbox.alive and sandbox.host_network == pod.host_network and sandbox.port == pod.port
