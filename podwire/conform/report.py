"""What came of a run: text for people, JSON and JUnit for programs."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any, Dict, List, NamedTuple, Sequence

from ..xmltext import content, quoted
from .case import MUST, SEVERITIES
from .schedule import ERROR, FAIL, PASS, SKIP, Job, Outcome
from .subject import Subject

#: The version of the JSON document below; docs/CONFORMANCE.md describes it.
SCHEMA = 1
SPECIFICATION = "1.1.0"


class Result(NamedTuple):
    job: Job
    outcome: Outcome


def heading(subject: Subject) -> str:
    return f"{subject.program} ({subject.kind}), CNI {' '.join(subject.versions) or 'announces no version'}"


def line(result: Result) -> str:
    """One line a case; a failure has more below it."""
    (_, case), outcome = result
    if outcome.verdict == PASS:
        return f"  pass  {case.full_id}"
    if outcome.verdict == SKIP:
        return f"  skip  {case.full_id}: {outcome.seen}"
    text = f"  {outcome.verdict.upper()}  {case.full_id}: {case.title} [{case.severity}; {case.section}]"
    details = [f"expected: {outcome.expected}"] if outcome.expected else []
    details += [f"seen:     {outcome.seen}", *(f"  {splitline}" for splitline in outcome.evidence.splitlines()[:40])]
    return "\n".join([text, *(f"        {detail}" for detail in details)])


def counts(results: Sequence[Result]) -> Dict[str, int]:
    """How many of each verdict, and failures of each severity."""
    found: Counter[str] = Counter()
    for (_, case), outcome in results:
        found[outcome.verdict] += 1
        if outcome.verdict == FAIL:
            found[case.severity] += 1
    return {key: found[key] for key in (PASS, FAIL, *SEVERITIES, SKIP, ERROR)}


def summary(name: str, results: Sequence[Result]) -> str:
    """One line a plugin."""
    count = counts(results)
    by = ", ".join(f"{count[severity]} {severity}" for severity in SEVERITIES if count[severity])
    failed = f"{count[FAIL]} failed ({by})" if by else "0 failed"
    errors = f", {count[ERROR]} errors of the suite" if count[ERROR] else ""
    return f"{name}: {count[PASS]} passed, {failed}, {count[SKIP]} skipped{errors}"


def conforms(results: Sequence[Result]) -> bool:
    """No MUST is broken, and nothing that would tell was lost."""
    return not any(
        outcome.verdict == ERROR or (outcome.verdict == FAIL and case.severity == MUST)
        for (_, case), outcome in results
    )


def to_json(directory: str, results: Sequence[Result], seconds: float) -> str:
    """The document of docs/CONFORMANCE.md."""
    plugins: List[Dict[str, Any]] = []
    for subject in dict.fromkeys(job.subject.name for job, _ in results):
        own = [result for result in results if result.job.subject.name == subject]
        first = own[0].job.subject
        plugins.append(
            {
                "name": first.name,
                "kind": first.kind,
                "path": first.program,
                "supportedVersions": list(first.versions),
                "summary": counts(own),
                "cases": [_case(result) for result in own],
            }
        )
    document = {
        "schema": SCHEMA,
        "specification": SPECIFICATION,
        "directory": directory,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "seconds": round(seconds, 1),
        "conforms": conforms(results),
        "summary": counts(results),
        "plugins": plugins,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _case(result: Result) -> Dict[str, Any]:
    (_, case), outcome = result
    found: Dict[str, Any] = {
        "id": case.full_id,
        "title": case.title,
        "section": case.section,
        "severity": case.severity,
        "verdict": outcome.verdict,
        "seconds": outcome.seconds,
    }
    if outcome.verdict == SKIP:
        found["reason"] = outcome.seen
    elif outcome.verdict != PASS:
        found.update(
            expected=outcome.expected,
            seen=outcome.seen,
            evidence=outcome.evidence.splitlines(),
            reproduce=list(outcome.calls),
        )
    return found


def to_junit(results: Sequence[Result]) -> str:
    """JUnit XML, one test suite a plugin."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    for name in dict.fromkeys(job.subject.name for job, _ in results):
        own = [result for result in results if result.job.subject.name == name]
        count = counts(own)
        seconds = sum(outcome.seconds for _, outcome in own)
        lines.append(
            f'  <testsuite name={quoted(name)} tests="{len(own)}" failures="{count[FAIL]}" '
            f'errors="{count[ERROR]}" skipped="{count[SKIP]}" time="{seconds:.3f}">'
        )
        lines += [_testcase(result) for result in own]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>"]) + "\n"


def _testcase(result: Result) -> str:
    (subject, case), outcome = result
    head = f'    <testcase classname={quoted(subject.name)} name={quoted(case.full_id)} time="{outcome.seconds}"'
    if outcome.verdict == PASS:
        return head + "/>"
    if outcome.verdict == SKIP:
        return f"{head}><skipped message={quoted(outcome.seen)}/></testcase>"
    kind = "failure" if outcome.verdict == FAIL else "error"
    told = f"{case.title} [{case.severity}; {case.section}]: expected {outcome.expected}, seen {outcome.seen}"
    body = content("\n".join([told, outcome.evidence, *outcome.calls]))
    return f'{head}><{kind} type="{case.severity}" message={quoted(told)}>{body}</{kind}></testcase>'
