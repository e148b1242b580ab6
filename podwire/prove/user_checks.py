"""The inventory's checks: tried in parallel until each is as expected, or times out.

A missing answer alone proves nothing. If ``denied`` is expected, two controls are made: whether the service answers
on the target's node, and whether the source reaches its own node.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import Dict, List, Mapping, NamedTuple, Sequence, Tuple

from ..intent.cluster import Check, Cluster
from . import expect, packets
from .guarantee import Failure, Guarantee, guarantee
from .observations import CheckRow, Observations
from .pathmtu import PathMtu
from .reach import FAMILY
from .sockets import ICMP, Sockets
from .sockets import Check as Probe

#: Seconds for an answer. TCP's first retransmission comes after one.
_ANSWER = 1.2
_PAUSE = 0.1
_KIND = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}

REACHABLE, REFUSED, SILENT, UNREACHABLE = "reachable", "refused", "silent", "unreachable"


class Trial(NamedTuple):
    """One address of one check: ``number`` in the cluster's list, ``source`` among the run's sources."""

    number: int
    source: int
    version: int
    address: str
    port: int
    protocol: str


def run(
    cluster: Cluster, node: str, ends: Sequence[expect.Endpoint], sockets: Sockets
) -> Tuple[Dict[str, CheckRow], Dict[str, Dict[str, bool]]]:
    """(results of the checks that start on ``node``, by number; by number and address, whether services on ``node`` for
    which ``denied`` is expected answer a control). Keys are text, as in JSON."""
    index = {source.name: number for number, source in enumerate(sockets.sources)}
    trials: List[Trial] = []
    controls: List[Trial] = []
    source_controls: List[Trial] = []
    for number, check in enumerate(cluster.checks):
        targets = _targets(cluster, ends, check)
        if check.source in index and node_of(cluster, check.source) == node:
            versions = _versions(cluster, ends, check.source)
            matching = [(version, address) for version, address in targets if version in versions]
            trials += [_trial(number, index[check.source], check, *target) for target in matching]
            if check.expect == "denied":
                for ip in cluster.node(node).public_ips:
                    if ip.version in versions:
                        source_controls.append(Trial(number, index[check.source], ip.version, str(ip), 0, "icmp"))
        if check.expect == "denied" and node_of(cluster, check.target) in (node, ""):
            inside = [0, *([index[check.target]] if check.target in index else [])]
            near = node_of(cluster, check.target) == node or node_of(cluster, check.source) == node
            controls += [_trial(number, source, check, *target) for target in targets for source in inside if near]
    outcomes = _until(cluster, trials, sockets)
    answering = _once(controls, sockets)
    source_answers = _once(source_controls, sockets)
    rows: Dict[str, CheckRow] = {}
    for trial in trials:
        outcome, tries, seconds = outcomes[trial]
        row = rows.setdefault(str(trial.number), _untried())
        row["outcomes"][trial.address] = outcome
        row["tries"], row["seconds"] = max(row["tries"], tries), max(row["seconds"], seconds)
    for key, row in rows.items():
        row["source_alive"] = any(
            source_answers[trial] == REACHABLE for trial in source_controls if trial.number == int(key)
        )
    _measure(cluster, [trial for trial in trials if outcomes[trial][0] == REACHABLE], sockets, rows)
    answered: Dict[str, Dict[str, bool]] = {}
    for trial in controls:
        answers = answered.setdefault(str(trial.number), {})
        answers[trial.address] = answers.get(trial.address, False) or answering[trial] == REACHABLE
    return rows, answered


def _untried() -> CheckRow:
    return {"outcomes": {}, "tries": 0, "seconds": 0.0, "mtu": "", "source_alive": False}


def node_of(cluster: Cluster, name: str) -> str:
    """The node of a pod or the node itself; empty for an address."""
    if name in cluster.by_name:
        return name
    return next((pod.node for pod in cluster.pods if pod.name == name), "")


def _trial(number: int, source: int, check: Check, version: int, address: str) -> Trial:
    return Trial(number, source, version, address, check.port, check.protocol)


def _targets(cluster: Cluster, ends: Sequence[expect.Endpoint], check: Check) -> List[Tuple[int, str]]:
    if check.target in cluster.by_name:
        return [(ip.version, str(ip)) for ip in cluster.node(check.target).public_ips]
    addresses = [(end.version, end.address) for end in ends if end.pod == check.target and end.address]
    if addresses or any(pod.name == check.target for pod in cluster.pods):
        return addresses
    return [(6 if ":" in check.target else 4, check.target)]


def _versions(cluster: Cluster, ends: Sequence[expect.Endpoint], source: str) -> List[int]:
    if source in cluster.by_name:
        return [ip.version for ip in cluster.node(source).public_ips]
    return [end.version for end in ends if end.pod == source and end.address]


def _until(cluster: Cluster, trials: Sequence[Trial], sockets: Sockets) -> Dict[Trial, Tuple[str, int, float]]:
    """The last outcome of each trial, how often it was tried, and for how many seconds."""
    began = time.monotonic()
    results: Dict[Trial, Tuple[str, int, float]] = {}
    pending = list(trials)
    tries = 0
    while pending:
        tries += 1
        outcomes = _once(pending, sockets)
        passed = time.monotonic() - began
        for trial, outcome in outcomes.items():
            results[trial] = outcome, tries, round(passed, 3)
        checks = cluster.checks
        pending = [
            trial
            for trial in pending
            if not fits(checks[trial.number].expect, outcomes[trial]) and passed < checks[trial.number].within
        ]
        if pending:
            time.sleep(_PAUSE)
    return results


def fits(expected: str, outcome: str) -> bool:
    """Whether an outcome is what was expected."""
    return outcome in (SILENT, UNREACHABLE) if expected == "denied" else outcome == expected


def _once(trials: Sequence[Trial], sockets: Sockets) -> Dict[Trial, str]:
    """Each trial once, in parallel."""
    outcomes = dict.fromkeys(trials, SILENT)
    opened: Dict[int, Tuple[socket.socket, Trial]] = {}
    poll = select.epoll()
    try:
        for number, trial in enumerate(trials):
            client = sockets.sources[trial.source].namespace.call(_open, trial)
            try:
                _send(client, trial, sockets.run, number)
            except BlockingIOError:
                pass
            except OSError as error:
                outcomes[trial] = _meaning(error.errno or errno.EIO)
                client.close()
                continue
            opened[client.fileno()] = client, trial
            poll.register(client.fileno(), select.EPOLLOUT if trial.protocol == "tcp" else select.EPOLLIN)
        until = time.monotonic() + _ANSWER
        while opened and time.monotonic() < until:
            for fd, _ in poll.poll(max(0.0, until - time.monotonic())):
                client, trial = opened[fd]
                outcome = _receive(client, trial, sockets.run)
                if outcome:
                    outcomes[trial] = outcome
                    poll.unregister(fd)
                    opened.pop(fd)[0].close()
    finally:
        for client, _ in opened.values():
            client.close()
        poll.close()
    return outcomes


def _open(trial: Trial) -> socket.socket:
    if trial.protocol == "icmp":
        return packets.echo_socket(trial.version)
    return socket.socket(FAMILY[trial.version], _KIND[trial.protocol] | socket.SOCK_NONBLOCK)


def _send(opened: socket.socket, trial: Trial, run: int, number: int) -> None:
    if trial.protocol == "icmp":
        packet = packets.EchoTemplate(trial.version, packets.PASS, run).packet(number)
        opened.sendto(packet, (trial.address, 0))
        return
    opened.connect((trial.address, trial.port))
    if trial.protocol == "udp":
        opened.send(packets.datagram(run, number))


def _receive(opened: socket.socket, trial: Trial, run: int) -> str:
    """The meaning of an event on the trial's socket; empty if it does not belong to the trial."""
    if trial.protocol == "tcp":
        failed = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return _meaning(failed) if failed else REACHABLE
    try:
        data, sender = opened.recvfrom(2048)
    except BlockingIOError:
        return ""
    except OSError as error:
        return _meaning(error.errno or errno.EIO)
    if trial.protocol == "udp":
        return REACHABLE
    answer = packets.parse_echo(trial.version, run, bytearray(data), len(data))
    if answer is None:
        return ""
    if answer.meaning == "reply":
        return REACHABLE if sender[0] == trial.address else ""
    return UNREACHABLE


def _meaning(code: int) -> str:
    if code == errno.ECONNREFUSED:
        return REFUSED
    return SILENT if code == errno.ETIMEDOUT else UNREACHABLE


def _measure(cluster: Cluster, trials: Sequence[Trial], sockets: Sockets, rows: Dict[str, CheckRow]) -> None:
    for size in sorted({cluster.checks[trial.number].mtu for trial in trials} - {0}):
        measured = [trial for trial in trials if cluster.checks[trial.number].mtu == size]
        probes = [Probe(trial.source, trial.version, trial.address, 0, "", None, ICMP) for trial in measured]
        for number, problem in PathMtu(sockets, probes, size).measure().items():
            rows[str(measured[number].number)]["mtu"] = problem.reason


def judge(cluster: Cluster, reports: Mapping[str, Observations], nodes: Sequence[str]) -> Guarantee:
    """The verdict on the checks that start on ``nodes``."""
    controls = {
        (number, address)
        for observed in reports.values()
        for number, row in observed.get("controls", {}).items()
        for address, answered in row.items()
        if answered
    }
    ran = not_run = 0
    failures: List[Failure] = []
    notes: List[str] = []
    for number, check in enumerate(cluster.checks):
        node = node_of(cluster, check.source)
        if node and node not in nodes:
            continue
        row = reports[node].get("checks", {}).get(str(number)) if node in reports else None
        if row is None or not row["outcomes"]:
            not_run += 1
            notes.append(f"not run: {check.name}: {check.source} or {check.target} does not run")
            continue
        wrong = {to: outcome for to, outcome in row["outcomes"].items() if not fits(check.expect, outcome)}
        uncontrolled = [address for address in row["outcomes"] if (str(number), address) not in controls]
        if check.expect == "denied" and not wrong and (uncontrolled or not row["source_alive"]):
            not_run += 1
            unreached = (
                check.target if len(uncontrolled) == len(row["outcomes"]) else uncontrolled[0] if uncontrolled else ""
            )
            why = f"no control reached {unreached}" if row["source_alive"] else f"{check.source} reaches nothing"
            notes.append(f"not run: {check.name}: {why}, so a missing answer proves nothing")
            continue
        ran += 1
        tried = f"after {row['tries']} {'try' if row['tries'] == 1 else 'tries'} in {row['seconds']:.1f} s"
        if wrong:
            to, outcome = next(iter(wrong.items()))
            reason = f"{check.name}: expected {check.expect}, found {outcome} {tried}"
            failures.append(Failure(check.source, check.target, to, outcome, reason))
        elif row["mtu"]:
            failures.append(Failure(check.source, check.target, "", "mtu", f"{check.name}: {row['mtu']}"))
    title = "the inventory's checks pass"
    took = max((float(observed.get("took", {}).get("checks", 0)) for observed in reports.values()), default=0.0)
    return guarantee("checks", title, "checks", ran, failures, not_run, notes)._replace(seconds=took)
