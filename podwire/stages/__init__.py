"""What Ansible's modules and action plugins call: one function per stage, plain values in and out.

This package holds the stages that run on a node of any kind. ``controller`` holds those that run once, on the
controller, and how the controller enters nodes; it is not installed on nodes. Every stage returns what an Ansible
task returns: ``changed``, ``diff``, and on failure ``failed`` and ``msg``.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping

from ..errors import IntentError, PodwireError

Result = Dict[str, Any]
#: The options of a stage, as the module of its name documents them.
Options = Mapping[str, Any]


def task_result(stage: Callable[..., Result], *arguments: Any) -> Result:
    """Call a stage; one of podwire's errors becomes a failed result. A bug keeps its traceback."""
    try:
        return stage(*arguments)
    except IntentError as error:
        return {"failed": True, "msg": "\n".join(error.problems)}
    except PodwireError as error:
        return {"failed": True, "msg": f"{error.message}; {error.hint}" if error.hint else error.message}


def diff_result(lines: Iterable[str], header: str, *, wanted: bool = True) -> Result:
    """``changed`` and ``diff`` of a plan given as lines; without lines there is no change.

    Without ``wanted`` only the first line is asked for: a plan for 5,000 peers has 20,000.
    """
    if not wanted:
        return {"changed": any(True for _ in lines)}
    listed = list(lines)
    if not listed:
        return {"changed": False, "diff": []}
    return {"changed": True, "diff": [{"prepared": "\n".join([f"--- {header}", *listed, ""])}]}
