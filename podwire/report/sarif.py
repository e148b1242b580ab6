"""SARIF 2.1.0: a rule for each guarantee, a result for each inventory entry that failures have in common.

A result points at the line that declares the entry. Code scanning cannot show thousands of results, so failing pairs
are grouped: by the pod that all have in common, else by pair of nodes, else by node. Root causes are results of their
own, with evidence and fix.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import defaultdict
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple
from urllib.parse import quote

from .phrases import ends, explained

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
#: Up to so many pairs of nodes have a result each; above, each node has one.
MOST_PAIRS = 20
#: Failing checks named in a message.
SHOWN = 5


class Group(NamedTuple):
    """The failures of one result: ``where`` are locations, the main one first."""

    what: str
    failed: int
    failures: Sequence[Mapping[str, str]]
    where: Tuple[str, ...]


def render(document: Mapping[str, Any]) -> str:
    """The whole file."""
    run = document["run"]
    log = {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "podwire",
                        "semanticVersion": run["podwire"],
                        "rules": [*(_rule(guarantee) for guarantee in document["guarantees"]), *_cause_rules(document)],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": not run["missing"],
                        "startTimeUtc": _time(run["began"]),
                        "endTimeUtc": _time(run["finished"]),
                    }
                ],
                "automationDetails": {"id": f"podwire/{document['cluster']['id']}/"},
                "columnKind": "unicodeCodePoints",
                "results": [
                    _result(guarantee, index, group)
                    for index, guarantee in enumerate(document["guarantees"])
                    for group in groups(document, guarantee)
                ]
                + _causes(document),
            }
        ],
    }
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def groups(document: Mapping[str, Any], guarantee: Mapping[str, Any]) -> List[Group]:
    """What failed in a guarantee, and what did not run, with their locations."""
    cluster = document["cluster"]
    pods = {pod["name"]: pod for pod in cluster["pods"]}
    nodes = {node["name"]: node["origin"] for node in cluster["nodes"]}
    failures = guarantee["failures"]
    found_groups: List[Group] = []
    common = (
        set.intersection(*({failure["source"], failure["target"]} & set(pods) for failure in failures))
        if failures
        else ()
    )
    if len(common) == 1:  # with two, the cause may be either, or between them
        pod = pods[min(common)]
        places = (pod["origin"], nodes.get(pod["node"], ""))
        found_groups = [Group(f"pod {pod['name']} on {pod['node']}", guarantee["failed"], failures, places)]
    elif guarantee["failed"]:
        found_groups = _by_nodes(guarantee, {name: pod["node"] for name, pod in pods.items()}, nodes)
    if guarantee["not_run"]:
        found_groups.append(Group("not run", guarantee["not_run"], (), _silent(document)))
    fallback = cluster["origins"].get("backend") or document["run"]["inventory"]
    checks = cluster["origins"].get("checks") if guarantee["key"] == "checks" else ""
    return [group._replace(where=tuple(filter(None, (checks, *group.where, fallback)))) for group in found_groups]


def _silent(document: Mapping[str, Any]) -> Tuple[str, ...]:
    """Locations of nodes that did not report, and of pods that do not run."""
    run, cluster = document["run"], document["cluster"]
    reporting = {node["name"] for node in cluster["nodes"] if run["limit"] is None or node["name"] in run["limit"]}
    reporting -= set(run["missing"])
    places = [node["origin"] for node in cluster["nodes"] if node["name"] in run["missing"]]
    places += [
        pod["origin"]
        for pod in cluster["pods"]
        if pod["mtu"] is None and not pod["host_network"] and pod["node"] in reporting
    ]
    return tuple(places)


def _by_nodes(guarantee: Mapping[str, Any], node_of: Mapping[str, str], nodes: Mapping[str, str]) -> List[Group]:
    counts: Dict[Tuple[str, ...], int] = defaultdict(int)
    listed: Dict[Tuple[str, ...], List[Mapping[str, str]]] = defaultdict(list)
    for source, target, _, failed, _ in guarantee["classes"]:
        if failed:
            counts[tuple(sorted({source, target}))] += failed
    for failure in guarantee["failures"]:
        concerned = {node_of.get(name, name) for name in (failure["source"], failure["target"])}
        listed[tuple(sorted(concerned & set(nodes)))].append(failure)
    if not counts:
        counts.update({key: len(failures) for key, failures in listed.items()})
    if len(counts) > MOST_PAIRS:
        for key, count in list(counts.items()):
            for node in key:
                counts[(node,)] += count if key != (node,) else 0
                listed[(node,)] += listed[key] if key != (node,) else []
            if len(key) > 1:
                del counts[key]
    words = {0: "in the cluster", 1: "at {}", 2: "between {} and {}"}
    return [
        Group(words[len(key)].format(*key), count, listed[key], tuple(nodes[node] for node in key))
        for key, count in sorted(counts.items())
    ]


def _cause_rules(document: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """A rule for each kind of root cause that was found."""
    titles = {cause["id"]: cause.get("title") or cause["id"] for cause in document["causes"]}
    return [
        {
            "id": f"podwire/cause/{name}",
            "name": "".join(word.capitalize() for word in name.split("_")),
            "shortDescription": {"text": title},
            "defaultConfiguration": {"level": "error"},
            "properties": {"tags": ["pod-network", "root-cause"]},
        }
        for name, title in titles.items()
    ]


def _causes(document: Mapping[str, Any]) -> List[Dict[str, Any]]:
    """A result for each root cause, at the line that declares its node; a warning if no pair is affected."""
    cluster = document["cluster"]
    nodes = {node["name"]: node["origin"] for node in cluster["nodes"]}
    kinds = list(dict.fromkeys(cause["id"] for cause in document["causes"]))
    fallback = cluster["origins"].get("backend") or document["run"]["inventory"]
    results = []
    for cause in document["causes"]:
        digest = hashlib.sha256(f"cause/{cause['id']}/{cause['node']}/{cause['object']}".encode()).hexdigest()
        results.append(
            {
                "ruleId": f"podwire/cause/{cause['id']}",
                "ruleIndex": len(document["guarantees"]) + kinds.index(cause["id"]),
                "level": "error" if cause["pairs"] else "warning",
                "message": {"text": "\n".join(explained(cause))},
                "partialFingerprints": {"podwireObject/v1": digest[:32]},
                "locations": [_location(nodes.get(cause["node"]) or fallback)],
            }
        )
    return results


def _rule(guarantee: Mapping[str, Any]) -> Dict[str, Any]:
    return {
        "id": _id(guarantee),
        "name": "".join(word.capitalize() for word in guarantee["key"].replace("_", "-").split("-")),
        "shortDescription": {"text": guarantee["title"]},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["pod-network"]},
    }


def _result(guarantee: Mapping[str, Any], index: int, group: Group) -> Dict[str, Any]:
    failed = bool(group.failures) or group.what != "not run"
    total = guarantee["passed"] + guarantee["failed"] + guarantee["not_run"]
    what = f"failed, {group.what}" if failed else group.what
    text = f"{guarantee['title']}: {group.failed} of {total} {guarantee['unit']} {what}."
    for failure in group.failures[:SHOWN]:
        text += f"\n{ends(failure)}: {failure['reason']}"
    if len(group.failures) > SHOWN:
        text += f"\nand {group.failed - SHOWN} more"
    # The fingerprint has no counts and reasons, so that the next run's result is the same alert.
    digest = hashlib.sha256(f"{guarantee['key']}/{group.what}".encode()).hexdigest()
    result: Dict[str, Any] = {
        "ruleId": _id(guarantee),
        "ruleIndex": index,
        "level": "error" if failed else "warning",
        "message": {"text": text},
        "partialFingerprints": {"podwireObject/v1": digest[:32]},
        "locations": [_location(place) for place in group.where[:1]],
    }
    related = [_location(place) for place in dict.fromkeys(group.where[1:]) if place != group.where[0]]
    if related:
        result["relatedLocations"] = related
    return result


def _id(guarantee: Mapping[str, Any]) -> str:
    return f"podwire/{guarantee['key']}"


def _location(place: str) -> Dict[str, Any]:
    """``file:line`` as SARIF has it: below the checkout, or a file elsewhere by its URI."""
    path, _, line = place.rpartition(":")
    if not line.isdigit():
        path, line = place, "1"
    if os.path.isabs(path):
        artifact = {"uri": "file://" + quote(path)}
    else:
        artifact = {"uri": quote(path), "uriBaseId": "%SRCROOT%"}
    return {"physicalLocation": {"artifactLocation": artifact, "region": {"startLine": max(1, int(line))}}}


def _time(when: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
