"""Run the stages of nodes inside a lab's nodes of kind netns, from the controller's own process."""

from __future__ import annotations

import time
from typing import Any, Callable, Optional, Sequence

from ...errors import LabError
from ...intent.cluster import Cluster
from ...kernel import enter
from ...lab.registry import node_pid
from ...preflight.finding import NOT_RUN, Finding
from .. import Options, Result, diff_result, task_result
from ..node import STAGES


def converge_all(cluster: Cluster, names: Sequence[str], options: Options, check: bool) -> Result:
    """Converge the networks of many netns nodes in one call. Those that fail do not stop the others."""
    from ...agent import apply  # noqa: F401  once here, instead of in each of the processes that enter a node

    changed, diff, errors = [], [], []
    results = enter.spread(lambda name: task_result(run_on_node, cluster, "node", name, options, check), names)
    for name, result in zip(names, results):
        if result.get("failed"):
            errors.append(f"{name}: {result['msg']}")
        elif result["changed"]:
            changed.append(name)
            diff += result.get("diff", [])
    together: Result = {"changed": bool(changed), "diff": diff, "nodes": changed}
    return {**together, "failed": True, "msg": "\n".join(errors)} if errors else together


def run_on_node(
    cluster: Cluster, stage: str, node: str, options: Options, check: bool, hear: Optional[Callable[..., None]] = None
) -> Result:
    """Run a stage inside a netns node. ``hear`` is called with the progress of a long one: how many checks were
    started, of how many."""
    pid = node_pid(cluster.id, node)
    if pid is not None:
        return enter.call(pid, _stage, stage, cluster, node, options, check, hear=hear or _ignore)
    return not_running(cluster, stage, node, options, check)


def not_running(cluster: Cluster, stage: str, node: str, options: Options, check: bool) -> Result:
    """The result of a stage for a lab's node that is not running. LabError for the stages that need it."""
    if stage == "preflight":
        return _preflight_of_missing(options)
    if check:
        return dry_run(stage, cluster, node)
    raise not_running_error(node, options)


def not_running_error(node: str, options: Options) -> LabError:
    """For what needs a running node. ``which`` of the options is the inventory on the command line."""
    build = f"build the lab first: sudo ./run site{options.get('which', '')}"
    return LabError(f"failed to enter node {node}: it is not running", build)


def dry_run(stage: str, cluster: Cluster, name: str) -> Result:
    """What a stage would do on a node that does not exist yet, for check mode."""
    from ...agent import intent_store
    from ...intent.projection import desired
    from ...model.state import EMPTY, State
    from ...plan import plan

    if stage == "node":
        state = desired(cluster, name) | State(files=frozenset((intent_store.intent_file(cluster, name),)))
        return diff_result(map(str, plan(state, EMPTY)), f"network of {name}")
    if stage == "attach":
        return diff_result((f"+ pod {pod.name}" for pod in cluster.pods_of(name)), f"pods of {name}")
    return {"changed": False, "skipped": True, "msg": f"{name} does not exist yet"}


def _stage(stage: str, cluster: Cluster, node: str, options: Options, check: bool, tell: Callable[..., None]) -> Result:
    return STAGES[stage](cluster, node, {**options, "tell": RateLimited(tell)}, check)


def _ignore(*_: object) -> None:
    """For callers that do not show progress."""


class RateLimited:
    """Calls a function at most every ``INTERVAL`` seconds, and not in the first ones: most runs are over by then."""

    INTERVAL = 3.0

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function
        self._next = time.monotonic() + self.INTERVAL

    def __call__(self, *arguments: Any) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.INTERVAL
            self._function(*arguments)


def _preflight_of_missing(options: Options) -> Result:
    """What preflight finds on a lab's node that does not exist yet."""
    if options["step"] != "listen":
        return {"changed": False}
    finding = Finding(NOT_RUN, "node", "it does not exist yet", "./run site creates it")
    findings = {"run": str(options["run"]), "findings": [finding], "clock": time.time(), "machine_id": ""}
    return {"changed": False, "findings": findings}
