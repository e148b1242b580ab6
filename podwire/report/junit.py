"""JUnit XML as Jenkins and GitLab read it: a suite for each guarantee, a test for each pair of nodes; and a suite of
root causes, a failing test for each."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ..xmltext import content, quoted
from .phrases import ends, explained, line, where

#: Failures shown in one test.
SHOWN = 20


def render(document: Mapping[str, Any]) -> str:
    """The whole file."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(document["run"]["finished"]))
    node_of = {pod["name"]: pod["node"] for pod in document["cluster"]["pods"]}
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for guarantee in document["guarantees"]:
        tests, seconds = _tests(guarantee, node_of), guarantee["seconds"]
        failed = sum("<failure" in test for test in tests)
        skipped = sum("<skipped" in test for test in tests)
        lines.append(
            f'  <testsuite name={quoted(guarantee["title"])} tests="{len(tests)}" failures="{failed}" '
            f'errors="0" skipped="{skipped}" time="{seconds:.3f}" timestamp="{stamp}">'
        )
        lines += tests
        lines.append("  </testsuite>")
    return "\n".join([*lines, *_causes(document, stamp), "</testsuites>"]) + "\n"


def _causes(document: Mapping[str, Any], stamp: str) -> List[str]:
    """A suite of root causes, if there are any; unexplained pairs are one more test."""
    cases = [
        (f"{cause['id']}: {cause['object']} on {where(cause)}", cause["id"], explained(cause))
        for cause in document["causes"]
    ]
    unexplained = document.get("unexplained", ())
    if unexplained:
        pairs = [ends({"source": source, "target": target}) for source, target in unexplained]
        more = [f"and {len(pairs) - SHOWN} more"] if len(pairs) > SHOWN else []
        cases.append(("unexplained", "unexplained", ["unexplained failing pairs:", *pairs[:SHOWN], *more]))
    if not cases:
        return []
    counts = f'tests="{len(cases)}" failures="{len(cases)}" errors="0" skipped="0"'
    tests = [
        f'    <testcase classname="podwire.causes" name={quoted(name)} time="0"><failure type={quoted(kind)} '
        f"message={quoted(lines[0])}>{content(chr(10).join(lines))}</failure></testcase>"
        for name, kind, lines in cases
    ]
    return [f'  <testsuite name="root causes" {counts} time="0" timestamp="{stamp}">', *tests, "  </testsuite>"]


def _tests(guarantee: Mapping[str, Any], node_of: Mapping[str, str]) -> List[str]:
    classes = [cls_ for cls_ in guarantee["classes"] if sum(cls_[2:])]
    if not classes:
        counts = guarantee["passed"], guarantee["failed"], guarantee["not_run"]
        return [_test(guarantee, "all", counts, guarantee["failures"])]
    failures: Dict[Tuple[str, str], List[Any]] = defaultdict(list)
    for failure in guarantee["failures"]:
        cell = node_of.get(failure["source"], failure["source"]), node_of.get(failure["target"], failure["target"])
        failures[cell].append(failure)
    return [
        _test(guarantee, f"{source} to {target}" if source != target else f"within {source}", counts, listed)
        for source, target, *counts in classes
        for listed in [failures[source, target]]
    ]


def _test(guarantee: Mapping[str, Any], name: str, counts: Sequence[int], failures: Sequence[Any]) -> str:
    passed, failed, not_run = counts
    head = f'    <testcase classname="podwire.{guarantee["key"]}" name={quoted(name)} time="0"'
    message = f"{failed} of {sum(counts)} {guarantee['unit']} failed" + (f", {not_run} not run" if not_run else "")
    if failed:
        lines = [line(failure) for failure in failures[:SHOWN]]
        more = failed - len(lines)
        text = content("\n".join([*lines, *([f"and {more} more"] if more > 0 else [])]))
        causes = " ".join(dict.fromkeys(failure["cause"] for failure in failures))
        return (
            f"{head}><failure type={quoted(causes or 'failed')} message={quoted(message)}>{text}</failure></testcase>"
        )
    if not_run:
        message = f"{not_run} of {sum(counts)} {guarantee['unit']} not run"
        return f"{head}><skipped message={quoted(message)}/></testcase>"
    if not passed:
        return f'{head}><skipped message="nothing to check"/></testcase>'
    return head + "/>"
