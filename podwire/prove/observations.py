"""What one node's prober observed, as JSON has it: the judge compares it with intent and with other nodes'."""

from __future__ import annotations

from typing import Dict, List, Optional, Sequence, Tuple, TypedDict

from ..observe.node_state import NodeState
from ..observe.records import AddressRow, NamespaceRows, Snapshot

#: source, target, address, cause, reason: a ``guarantee.Failure``.
FailureRow = Tuple[str, str, str, str, str]


class PodDevices(TypedDict):
    """A pod's addresses in the kernel. ``mtu``: the smallest of its devices, None without one."""

    addresses: List[str]
    mtu: Optional[int]


class _SummaryOptions(TypedDict, total=False):
    mode: str
    all_protocols: bool
    members: Dict[str, List[int]]


class Summary(_SummaryOptions):
    """Checks of one kind. ``towards``: node of the target -> [passed, failed]. ``failures`` are listed up to a limit.
    ``mode``: see ``expect.MODES``; ``members``: as ``towards``, of pairs that failed pairs of the sample represent."""

    passed: int
    failed: int
    towards: Dict[str, List[int]]
    failures: Sequence[FailureRow]


class CheckRow(TypedDict):
    """One of the inventory's checks. ``outcomes`` by address; ``mtu``: what is wrong with the path MTU, or "";
    ``source_alive``: whether the source reaches its node."""

    outcomes: Dict[str, str]
    tries: int
    seconds: float
    mtu: str
    source_alive: bool


class ThroughputRow(TypedDict):
    """A measurement. ``bits`` a second, None without a connection."""

    kind: str
    source: str
    target: str
    streams: int
    bits: Optional[float]


class _ProbedOptions(TypedDict, total=False):
    checks: Dict[str, CheckRow]
    controls: Dict[str, Dict[str, bool]]
    throughput: List[ThroughputRow]
    network: NodeState


class Probed(_ProbedOptions):
    """Results of probes. ``controls``: check -> address -> whether the service answers its own node; ``fragments``:
    fragments that the node created meanwhile; ``took``: seconds by kind."""

    pairs: Summary
    agents: Summary
    nodes: Summary
    path_mtu: Summary
    bulk: Summary
    fragments: int
    took: Dict[str, float]


class Observations(Probed):
    """All of a node. ``absent``: declared pods that do not run; ``second_owners`` and ``strangers``: address -> the MAC
    addresses that answer for it."""

    node: str
    mtu: int
    pods: Dict[str, PodDevices]
    absent: List[str]
    snapshot: Snapshot
    second_owners: Dict[str, List[str]]
    strangers: Dict[str, List[str]]
    seconds: float


def real_devices(namespace: NamespaceRows) -> PodDevices:
    """The addresses (without loopback's and link-local ones) and the smallest MTU of a pod's devices."""
    addresses = sorted(address["address"] for address in namespace["addresses"] if _is_global(address))
    mtus = [link["mtu"] for link in namespace["links"] if link["kind"] != "loopback" and link["up"]]
    return {"addresses": addresses, "mtu": min(mtus, default=None)}


def _is_global(address: AddressRow) -> bool:
    return address["device"] != "lo" and address.get("scope", "global") == "global"
