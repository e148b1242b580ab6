"""Inject and repair faults on a node."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from ..errors import FaultError
from ..faults import engine, revert
from ..faults.catalogue import CATALOGUE, named
from ..faults.context import Context
from ..faults.namespaces import Namespaces
from ..faults.places import MACHINE
from ..intent.cluster import Cluster, DeclaredFault
from ..kernel import Namespace
from . import Options, Result, diff_result


def inject(cluster: Cluster, node: str, options: Options, check: bool) -> Result:
    """Inside a node: inject ``options["faults"]``, all or none. ``options["namespaces"]`` are those that the node
    itself cannot reach."""
    lines: List[str] = []
    expects: List[Dict[str, Any]] = []
    injected: List[str] = []
    blind = bool(options.get("blind"))
    for declared in options["faults"]:
        fault = named(declared.fault)
        with Namespaces(options["namespaces"]) as namespaces:
            peer, pod = declared.peer or None, declared.pod or None
            context = Context(cluster, node, options["addresses"], namespaces, peer, pod)
            try:
                outcome = engine.inject(fault, context, host_wide=declared.host_wide, blind=blind, check=check)
            except FaultError as error:
                if not injected or check:
                    raise
                revert.mend(namespaces, injected)
                undone = f"{error.message}; so {', '.join(injected)}, injected just before, is undone"
                raise FaultError(undone, error.hint) from None
        injected.append(fault.name)
        lines += [f"{fault.name}: {fault.title}", *(f"  {line}" for line in outcome.lines)]
        lines += [f"  {outcome.probe}"] if outcome.probe else []
        expected = outcome.expects._asdict() if outcome.expects else {}
        expects.append({"fault": fault.name, "said": outcome.said, **expected})
    return {**diff_result(lines, f"faults of {node}"), "faults": expects}


def repair(_cluster: Cluster, node: str, options: Options, check: bool) -> Result:
    """Inside a node: undo what its journal holds, or of that only ``options["fault"]``."""
    names = [str(options["fault"])] if options.get("fault") else None
    lines: List[str] = []
    with Namespaces(options["namespaces"]) as namespaces:
        repaired = revert.mend(namespaces, names, check=check)
    for name, outcome in repaired:
        lines += [f"{name}: {'would be repaired' if check else 'repaired'}", *(f"  {line}" for line in outcome.lines)]
        lines += [f"  {outcome.probe}"] if outcome.probe else []
    return {**diff_result(lines, f"faults of {node}"), "mended": [name for name, _ in repaired]}


def refusals(cluster: Cluster, node: str, options: Options, _check: bool) -> Result:
    """Inside a node: why each fault cannot be injected; "" if it can, if need be with ``host_wide``."""
    with Namespaces(options["namespaces"]) as namespaces:
        context = Context(cluster, node, options["addresses"], namespaces)
        reasons = {name: engine.refuse(fault, context, host_wide=True) for name, fault in CATALOGUE.items()}
    return {"changed": False, "lacking": reasons}


#: By the module's option ``state``.
FUNCTIONS: Dict[str, Callable[[Cluster, str, Options, bool], Result]] = {
    "present": inject,
    "absent": repair,
    "listed": refusals,
}


def run_in_module(cluster: Cluster, node: str, options: Options, check: bool) -> Result:
    """The same in a module's own process, on a node that is a machine of its own."""
    faults = [DeclaredFault(**fault) for fault in options.get("faults") or ()]
    with Namespace.current(MACHINE) as machine:
        addresses = options.get("addresses") or {}
        given = {**options, "addresses": addresses, "faults": faults, "namespaces": {MACHINE: machine}}
        return FUNCTIONS[str(options["state"])](cluster, node, given, check)
