"""The suite as one call: what ``podwire conform`` runs."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Dict, List, Optional, Sequence

from ..errors import PodwireError
from . import cases, report
from .case import CASES
from .schedule import Job, run
from .subject import Subject, discover

# Importing the cases fills the table.
assert cases


def conform(
    directory: str,
    plugins: Sequence[str] = (),
    *,
    config: Optional[str] = None,
    json_file: Optional[str] = None,
    junit_file: Optional[str] = None,
    only: Sequence[str] = (),
    listing: bool = False,
) -> int:
    """Print what came of every case. Exit status 0 only if no MUST is broken.

    ``config``: a file with a configuration of a plugin that the suite does not know. ``only``: ids, or
    beginnings of ids at a dot.
    """
    subjects = discover(directory, plugins, _read(config) if config else None)
    jobs = _jobs(subjects, only)
    if listing:
        print("\n".join(_listed(jobs)))
        return 0
    if os.geteuid() != 0:
        raise PodwireError("failed to make a throw-away node: this needs root", "run it by sudo")
    started = time.monotonic()
    results: List[report.Result] = []
    shown: Optional[Subject] = None
    for job, outcome in run(jobs, 2 * (os.cpu_count() or 1)):
        if job.subject != shown:
            shown = job.subject
            print(report.heading(shown))
        results.append(report.Result(job, outcome))
        print(report.line(results[-1]))
        sys.stdout.flush()
    for subject in subjects:
        print(report.summary(subject.name, [each for each in results if each.job.subject == subject]))
    seconds = time.monotonic() - started
    print(f"{report.summary('all', results)}, {seconds:.0f} s")
    if json_file:
        _write(json_file, report.to_json(os.path.realpath(directory), results, seconds))
    if junit_file:
        _write(junit_file, report.to_junit(results))
    return 0 if report.conforms(results) else 1


def _jobs(subjects: Sequence[Subject], only: Sequence[str]) -> List[Job]:
    jobs = [
        Job(subject, expanded)
        for subject in subjects
        for case in CASES
        if case.concerns(subject)
        for expanded in case.expanded(subject)
    ]
    if only:
        jobs = [job for job in jobs if any(f"{job.case.full_id}.".startswith(f"{each}.") for each in only)]
    if not jobs:
        raise PodwireError("failed to choose cases: none of these plugins has one of that id", "--list shows them")
    return jobs


def _listed(jobs: Sequence[Job]) -> List[str]:
    about: Dict[str, List[str]] = {}
    for job in jobs:
        case = job.case
        about.setdefault(f"{case.id:<34} {case.severity:<8} {case.section:<42} {case.title}", []).append(
            job.subject.name
        )
    return [f"{head} ({', '.join(dict.fromkeys(names))})" for head, names in about.items()]


def _read(path: str) -> Dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except OSError as error:
        raise PodwireError(f"failed to read {path}: {error.strerror}") from error
    except ValueError as error:
        raise PodwireError(f"failed to read {path}: it is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise PodwireError(f"failed to read {path}: it does not hold a JSON object")
    return found


def _write(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise PodwireError(f"failed to write {path}: {error.strerror}") from error
