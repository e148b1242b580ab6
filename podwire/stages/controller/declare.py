"""The first stage of every playbook: the intent, from the variables of the inventory."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from ...errors import LabError
from ...intent.cluster import Cluster
from ...intent.cluster_json import cluster_to_json
from ...intent.ids import cluster_id
from ...intent.inventory import read
from ...intent.leases import Record, record_of
from ...json_files import read_json, write_json
from ...lab.registry import state_dir
from ...report import source_locations
from .. import Result, diff_result


def declare(
    hosts: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, Mapping[str, Any]],
    source: str,
    locations: Mapping[Tuple[str, str], str],
    scratch: str,
    check: bool,
    leaving: Sequence[str] = (),
    lost: Sequence[str] = (),
) -> Result:
    """Read the intent and record what it assigned to each node.

    Hosts that are ``lost`` were not reached, and what the intent assumes of their interfaces is not recorded.
    Nodes that are ``leaving`` are not in the intent that this returns, nor are their pods; they keep their leases.

    Returns ``intent`` (a path in ``scratch``, which Ansible removes when it ends), ``results`` (the directory for the
    results of the run), ``began`` (Unix time), ``only_netns`` (whether all nodes are) and ``discovered`` (whether the
    pods are). IntentError; LabError without root.
    """
    began = time.time()
    directory = state_dir(cluster_id(source))
    recorded = read_json(os.path.join(directory, "record.json"))
    earlier = None if recorded is None else Record.from_json(recorded)
    faults = _known_faults(hosts)
    cluster = read(hosts, source=source, record=earlier, origins=locations, facts=facts, faults=faults, lost=lost)
    if not check and os.geteuid() != 0 and any(node.kind != "ssh" for node in cluster.nodes):
        raise LabError(f"failed to build lab {cluster.id}: needs root", "run: sudo ./run site")
    record = record_of(cluster, earlier)
    guessed = set(lost).difference(earlier.external if earlier else ())
    external = {name: interface for name, interface in record.external.items() if name not in guessed}
    record = replace(record, external=external)
    if not check and record.to_json() != recorded:
        os.makedirs(directory, exist_ok=True)
        write_json(os.path.join(directory, "record.json"), record.to_json())
    if leaving:
        cluster = _without(cluster, leaving)
    intent = os.path.join(scratch, f"{cluster.id}{'-less' if leaving else ''}.json")
    write_json(intent, cluster_to_json(cluster))
    write_json(_origins_path(intent), source_locations.pack(locations))
    return {
        **diff_result(_changes(earlier, record), f"subnet leases of {cluster.id}"),
        "intent": intent,
        "results": os.path.join(directory, "results"),
        "began": began,
        "only_netns": all(node.kind == "netns" for node in cluster.nodes),
        "discovered": cluster.discovered,
    }


def origins(intent: str, source: str, cluster: Cluster) -> source_locations.Origins:
    """The lines of the inventory that the cluster of ``declare`` comes from, for the report. Empty if they are not
    stored."""
    packed = read_json(_origins_path(intent)) or {}
    return source_locations.unpack(packed, source, [node.name for node in cluster.nodes])


def _origins_path(intent: str) -> str:
    """Where ``declare`` stores the lines that the intent comes from: beside it."""
    return f"{os.path.splitext(intent)[0]}.origins.json"


def _without(cluster: Cluster, leaving: Sequence[str]) -> Cluster:
    nodes = tuple(node for node in cluster.nodes if node.name not in leaving)
    if not nodes:
        raise LabError("failed to leave: no node would remain", "remove the whole cluster: ./run reset")
    return replace(cluster, nodes=nodes, pods=tuple(pod for pod in cluster.pods if pod.node not in leaving))


def _known_faults(hosts: Mapping[str, Mapping[str, Any]]) -> Optional[Dict[str, Sequence[str]]]:
    """The catalogue's names and what each takes, if any fault is declared."""
    if all(variables.get("faults") is None for variables in hosts.values()):
        return None
    from ...faults.catalogue import CATALOGUE

    return {name: fault.parameters for name, fault in CATALOGUE.items()}


def _changes(before: Optional[Record], after: Record) -> List[str]:
    """What a record has and the other has not, one line each."""
    old, new = ([] if before is None else _lines(before)), _lines(after)
    return [f"- {line}" for line in old if line not in new] + [f"+ {line}" for line in new if line not in old]


def _lines(record: Record) -> List[str]:
    """Leases that were assigned and external interfaces that were found, one line each."""
    leases = [f"lease {node} {' '.join(map(str, cidrs))}" for node, cidrs in sorted(record.pod_cidrs.items())]
    return leases + [
        f"external interface of {node}: {interface}" for node, interface in sorted(record.external.items())
    ]
