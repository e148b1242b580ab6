"""Run cases, each on its own node, a few at a time; kill what hangs."""

from __future__ import annotations

import os
import pickle
import select
import signal
import time
import traceback
from collections import Counter, deque
from typing import Callable, Deque, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

from ..errors import LabError, PodwireError
from ..kernel.isolate import fork_as_init
from .case import Case, Failed, Hung, Skipped
from .node import become
from .probe import lacking
from .shape import older
from .subject import Subject
from .trial import Trial

#: So many cases in which a plugin hangs are enough to know it.
_HANGS = 3
#: A case that takes longer is killed with everything that it started.
CASE_TIMEOUT_S = 90.0
PASS, FAIL, SKIP, ERROR = "pass", "fail", "skip", "error"


class Outcome(NamedTuple):
    """What came of a case. ``error`` is a bug of the suite, or a node that could not be made.

    ``seen`` is the reason of a skip; ``calls`` are command lines that do the failure again.
    """

    verdict: str
    expected: str = ""
    seen: str = ""
    evidence: str = ""
    calls: Tuple[str, ...] = ()
    seconds: float = 0.0
    hung: bool = False


class Job(NamedTuple):
    subject: Subject
    case: Case


class _Running(NamedTuple):
    job: int
    pid: int
    deadline: float


def run(jobs: Sequence[Job], at_once: int) -> Iterator[Tuple[Job, Outcome]]:
    """Run all; outcomes come in the order of the jobs. LabError when no node can be made."""
    if not jobs:
        return
    missing = _probe(jobs[0].subject.directory)
    queue: Deque[int] = deque(range(len(jobs)))
    again: Deque[int] = deque()
    second: Set[int] = set()
    running: Dict[int, _Running] = {}
    done: Dict[int, Outcome] = {}
    hangs: Counter[str] = Counter()
    given = 0

    def start(index: int) -> None:
        pipe, pid = _fork(jobs[index].subject.directory, lambda: _judge(jobs[index], missing))
        running[pipe] = _Running(index, pid, time.monotonic() + CASE_TIMEOUT_S)

    try:
        while given < len(jobs):
            if again and not running:  # alone: the machine was busy, perhaps
                second.add(again[0])
                start(again.popleft())
            elif not again and not any(each.job in second for each in running.values()):
                while queue and len(running) < at_once:
                    index = queue.popleft()
                    if hangs[jobs[index].subject.name] < _HANGS:
                        start(index)
                    else:
                        done[index] = Outcome(SKIP, seen=f"the plugin hung in {_HANGS} cases already")
            for index, outcome in _finished(running) if running else ():
                hangs[jobs[index].subject.name] += outcome.hung
                if outcome.verdict == FAIL and jobs[index].case.timed and index not in second:
                    again.append(index)
                else:
                    done[index] = outcome
            while given in done:
                yield jobs[given], done.pop(given)
                given += 1
    finally:
        for each in running.values():
            os.kill(each.pid, signal.SIGKILL)
            os.waitpid(each.pid, 0)


def _finished(running: Dict[int, _Running]) -> List[Tuple[int, Outcome]]:
    """Wait for some to end, or to run out of time."""
    patience = max(0.0, min(each.deadline for each in running.values()) - time.monotonic())
    ready, _, _ = select.select(list(running), [], [], patience)
    found = []
    for pipe, each in list(running.items()):
        if pipe in ready:
            outcome = _receive(pipe)
        elif each.deadline <= time.monotonic():
            os.kill(each.pid, signal.SIGKILL)
            outcome = Outcome(
                FAIL, f"the case ends within {CASE_TIMEOUT_S:g} s", "it still ran and was killed", hung=True
            )
        else:
            continue
        del running[pipe]
        os.close(pipe)
        os.waitpid(each.pid, 0)
        found.append((each.job, outcome))
    return found


def _receive(pipe: int) -> Outcome:
    data = b""
    while part := os.read(pipe, 1 << 16):
        data += part
    if not data:
        return Outcome(ERROR, "", "the process of the case died")
    outcome: Outcome = pickle.loads(data)
    return outcome


def _probe(directory: str) -> Dict[str, str]:
    pipe, pid = _fork(directory, lacking)
    with open(pipe, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    found = pickle.loads(data) if data else Outcome(ERROR, "", "the first process died")
    if isinstance(found, Outcome):
        raise LabError(
            f"failed to make a throw-away node: {found.seen}\n{found.evidence}".rstrip(),
            "the suite needs root and iproute2",
        )
    missing: Dict[str, str] = found
    return missing


def _fork(directory: str, body: Callable[[], object]) -> Tuple[int, int]:
    """Run ``body`` on a new node; its pickled result comes through the pipe, an error as an Outcome."""
    pipe, answers = os.pipe()
    pid = fork_as_init()
    if pid == 0:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent kills
            os.chdir("/")
            become(directory)
            result = body()
        except PodwireError as error:
            result = Outcome(ERROR, "", str(error))
        except BaseException:
            result = Outcome(ERROR, "", "a bug of the suite", traceback.format_exc())
        with open(answers, "wb") as file:
            file.write(pickle.dumps(result))
        os._exit(0)
    os.close(answers)
    return pipe, pid


def _judge(job: Job, missing: Dict[str, str]) -> Outcome:
    """On the node: run one case."""
    started = time.monotonic()
    lack = next((missing[feature] for feature in job.case.needs if feature in missing), "")
    if lack:
        return Outcome(SKIP, seen=f"needs {lack}")
    if job.case.since and older(job.subject.version, job.case.since):
        return Outcome(SKIP, seen=f"needs CNI {job.case.since}, the plugin announces up to {job.subject.version}")
    outcome, trial = Outcome(PASS), None
    try:
        trial = Trial(job.subject, job.case)
        job.case.run(trial)
    except Skipped as error:
        outcome = Outcome(SKIP, seen=str(error))
    except Failed as error:
        outcome = Outcome(
            FAIL, error.expected, error.seen, error.evidence or _look(trial), hung=isinstance(error, Hung)
        )
    except (LookupError, TypeError, ValueError, AttributeError):
        # A result without the keys that the case reads, as a rule: it was valid JSON of the wrong shape.
        outcome = Outcome(FAIL, "a result that holds what the case reads", "see evidence", traceback.format_exc())
    except LabError as error:
        if trial is None or not trial.replies:
            raise
        # The plugin said that it did something: what the case then looks at, or takes away, is not there.
        outcome = Outcome(FAIL, "what the plugin says it did is there", str(error), _look(trial))
    calls = tuple(reply.shell() for reply in trial.replies) if trial and outcome.verdict == FAIL else ()
    return outcome._replace(calls=calls, seconds=round(time.monotonic() - started, 3))


def _look(trial: object) -> str:
    """What there is on the node, where a case has nothing better to show."""
    if not isinstance(trial, Trial):
        return ""
    shown = trial.show()
    return "\n".join(
        f"  {section}: {line}" for section, lines in shown.items() for line in lines if _tells(f"{section}: {line}")
    )


def _tells(line: str) -> bool:
    return not any(word in line for word in ("lo: <LOOPBACK", "files: /etc/cni/", "files: /var/lib/cni/"))
