"""OpenMetrics text for node_exporter's textfile collector; Prometheus' own text format reads the same lines."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Mapping, Set, Tuple

Sample = Tuple[Mapping[str, str], float]


def render(document: Mapping[str, Any]) -> str:
    """The whole file. Every sample has the label ``cluster``; all are gauges, as each run counts anew."""
    cluster, run = document["cluster"], document["run"]
    one: List[Sample] = [({}, document["ok"])]
    lines: List[str] = []
    for name, unit, text, samples in (
        ("podwire_ok", "", "Whether every guarantee holds and everything ran.", one),
        ("podwire_run_timestamp_seconds", "seconds", "When the run ended, Unix time.", [({}, run["finished"])]),
        ("podwire_run_duration_seconds", "seconds", "Duration of the whole run.", [({}, run["seconds"])]),
        (
            "podwire_probe_duration_seconds",
            "seconds",
            "Duration of the slowest node's probes.",
            [({}, run["probe_seconds"])],
        ),
        ("podwire_nodes", "", "Nodes declared.", [({}, len(cluster["nodes"]))]),
        ("podwire_nodes_missing", "", "Nodes that did not report.", [({}, len(run["missing"]))]),
        ("podwire_pods", "", "Pods declared, by node.", _pods(cluster)),
        ("podwire_mtu_bytes", "bytes", "The MTU that pods should have.", [({}, document["mtu"]["expected"])]),
        ("podwire_guarantee_ok", "", "Whether a guarantee holds and all of it ran.", _states(document)),
        ("podwire_guarantee_checks", "", "Checks of a guarantee, by result.", _checks(document)),
        (
            "podwire_node_pair_failed_checks",
            "",
            "Checks that failed between the pods of two nodes.",
            _classes(document),
        ),
        (
            "podwire_differing_objects",
            "",
            "Kernel objects of a node that differ from intent.",
            _differing(document),
        ),
        ("podwire_causes", "", "Root causes found.", [({}, len(document["causes"]))]),
        ("podwire_cause_failing_pairs", "", "Failing pairs that a root cause explains.", _pairs(document)),
        (
            "podwire_unexplained_pairs",
            "",
            "Failing pairs that no root cause explains.",
            [({}, len(document.get("unexplained", ())))],
        ),
    ):
        lines += [f"# TYPE {name} gauge", *([f"# UNIT {name} {unit}"] if unit else []), f"# HELP {name} {text}"]
        for labels, value in samples:
            shown = ",".join(f'{key}="{_escaped(text)}"' for key, text in {"cluster": cluster["id"], **labels}.items())
            lines.append(f"{name}{{{shown}}} {float(value):.15g}")
    return "\n".join([*lines, "# EOF", ""])


def _pods(cluster: Mapping[str, Any]) -> Iterator[Sample]:
    counts = {node["name"]: 0 for node in cluster["nodes"]}
    for pod in cluster["pods"]:
        counts[pod["node"]] += 1
    return (({"node": node}, count) for node, count in counts.items())


def _states(document: Mapping[str, Any]) -> Iterator[Sample]:
    return (({"guarantee": guarantee["key"]}, guarantee["state"] == "passed") for guarantee in document["guarantees"])


def _checks(document: Mapping[str, Any]) -> Iterator[Sample]:
    for guarantee in document["guarantees"]:
        for result in ("passed", "failed", "not_run"):
            yield {"guarantee": guarantee["key"], "result": result}, guarantee[result]


def _classes(document: Mapping[str, Any]) -> Iterator[Sample]:
    for guarantee in document["guarantees"]:
        for source, target, _, failed, _ in guarantee["classes"]:
            yield {"guarantee": guarantee["key"], "source_node": source, "target_node": target}, failed


def _differing(document: Mapping[str, Any]) -> Iterator[Sample]:
    counts = {node["name"]: 0 for node in document["cluster"]["nodes"]}
    for node, *_, desired, actual in document["routes"]["rows"]:
        counts[node] += desired is not None and desired != actual
    return (({"node": node}, count) for node, count in counts.items())


def _pairs(document: Mapping[str, Any]) -> Iterator[Sample]:
    """By cause and node; a node can have several causes of one kind, e.g. two missing plugins."""
    pairs_of: Dict[Tuple[str, str], Set[Tuple[str, ...]]] = {}
    for cause in document["causes"]:
        pairs_of.setdefault((cause["id"], cause["node"]), set()).update(map(tuple, cause["pairs"]))
    return (({"cause": cause, "node": node}, len(pairs)) for (cause, node), pairs in pairs_of.items())


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
