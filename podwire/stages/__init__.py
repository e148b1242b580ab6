"""What stands right behind the Ansible doors: one function a stage, plain values in and out.

``controller`` holds the stages that run once (declare, lab, verdict), ``node`` those that run
inside a node of whatever kind (node, attach, probe). All return what an Ansible task returns:
``changed``, ``diff``, and on failure ``failed`` and ``msg``.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping

from ..errors import IntentError, PodwireError

Answer = Dict[str, Any]
#: The options of a stage, as the module of its name documents them.
Options = Mapping[str, Any]


def answer(function: Callable[..., Answer], *arguments: Any) -> Answer:
    """Call a stage; an error raised on purpose becomes a failed result. A bug keeps its traceback."""
    try:
        return function(*arguments)
    except IntentError as error:
        return {"failed": True, "msg": "\n".join(error.problems)}
    except PodwireError as error:
        return {"failed": True, "msg": f"{error.message}; {error.hint}" if error.hint else error.message}


def differs(lines: Iterable[str], header: str, *, wanted: bool = True) -> Answer:
    """``changed`` and ``diff`` of a plan given as lines; no lines, no change.

    Without ``wanted`` only the first line is asked for: 5,000 peers have 20,000.
    """
    if not wanted:
        return {"changed": any(True for _ in lines)}
    listed = list(lines)
    if not listed:
        return {"changed": False, "diff": []}
    return {"changed": True, "diff": [{"prepared": "\n".join([f"--- {header}", *listed, ""])}]}
