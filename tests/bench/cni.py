"""CNI executables against Debian's, process by process: ADD and DEL in fresh network namespaces, in turns."""

from __future__ import annotations

import json
import os
import subprocess
import time
from statistics import median
from typing import Any, Callable, Dict, List, NamedTuple

from podwire.cni.install.executables import install

from .measure import NotRun, in_room, run
from .report import Row

THEIRS = "/usr/lib/cni"
OURS = "/run/podwire-cni"
#: The interpreter of the distribution, which is the one that nodes have.
PYTHON = "/usr/bin/python3"
CALLS = 30
STALE = 1_000
LEASES = 5_000

Times = Dict[str, List[float]]


class Call(NamedTuple):
    """One plugin's executable with a configuration, for one container."""

    directory: str
    conf: Dict[str, Any]
    container: str

    def __call__(self, command: str) -> float:
        """Seconds that the whole process takes. NotRun if it fails."""
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": self.container,
            "CNI_NETNS": f"/run/netns/{self.container}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": self.directory,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",  # Go's plugins execute iptables
        }
        with open("/run/conf", "w") as file:
            json.dump(self.conf, file)
        program = f"{self.directory}/{self.conf['type']}"
        with open("/run/conf") as given, open("/run/said", "wb") as said:
            began = time.perf_counter()
            child = subprocess.Popen([program], stdin=given, stdout=said, stderr=said, env=environment)
            child.wait()
            took = time.perf_counter() - began
        if child.returncode != 0:
            raise NotRun(f"{program} {command} failed: {said_last()}")
        return took


def said_last() -> str:
    """What the last call printed."""
    with open("/run/said") as file:
        return file.read().strip()[-600:]


def conf_of(side: str, kind: str, subnets: List[str], **keys: Any) -> Dict[str, Any]:
    """A network of its own for each side; everything else is alike."""
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": subnet}] for subnet in subnets],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": f"/run/leases-{side}",
    }
    return {"cniVersion": "1.0.0", "name": f"net-{side}", "type": kind, "ipam": ipam, **keys}


def bench(runs: int) -> List[Row]:
    """The table of CNI speed: medians of 30 calls a side, whatever ``runs`` says."""
    bridge, masq = in_room(rounds, "bridge", {}), in_room(rounds, "bridge", {"ipMasq": True})
    one, ten = in_room(ports, 1), in_room(ports, 10)
    ptp = in_room(rounds, "ptp", {}, True)
    full = in_room(many_leases)
    collected = in_room(garbage)
    return [
        *_rows("bridge + host-local", bridge, 1.6, 1.1),
        *_rows("bridge + host-local, ipMasq", masq, 0.8, 0.6),
        *_rows("portmap, 1 port", one, 0.6, 0.6),
        *_rows("portmap, 10 ports", ten, 0.6, 0.6),
        _row(f"host-local ADD, {LEASES:,} leases in a /16", full, "ADD", 0.4),
        _row("ptp dual-stack ADD", ptp, "ADD", 0.05),
        Row(f"GC of {STALE:,} stale attachments", "<= 2 s", collected, limit=2, note="one process"),
    ]


def _rows(work: str, times: Times, add: float, delete: float) -> List[Row]:
    return [_row(f"{work} ADD", times, "ADD", add), _row(f"{work} DEL", times, "DEL", delete)]


def _row(work: str, times: Times, command: str, limit: float) -> Row:
    ours, theirs = (median(times[f"{side} {command}"]) * 1000 for side in ("ours", "theirs"))
    return Row(work, f"<= {limit} x", ours, theirs, unit="ms", limit=limit, relative=True, note=f"{CALLS} calls a side")


# --- what runs in a room ---------------------------------------------------------------------------


def _sides() -> None:
    for name in ("bridge", "ptp", "host-local", "portmap"):
        if not os.path.exists(f"{THEIRS}/{name}"):
            raise NotRun("apt-get install containernetworking-plugins")
    install(OURS, python=PYTHON)


def _turns(number: int, prepare: Callable[[str, str, str], Call]) -> Times:
    """ADD and DEL of each side in turns, each for a new container; the first turn warms up and does not count."""
    times: Times = {}
    for turn in range(number + 1):
        for side, directory in _sides_in_turn(turn):
            container = f"{side}-{turn}"
            run("ip", "netns", "add", container)
            call = prepare(side, directory, container)
            for command in ("ADD", "DEL"):
                took = call(command)
                if turn:
                    times.setdefault(f"{side} {command}", []).append(took)
            run("ip", "netns", "delete", container)
    return times


def _sides_in_turn(turn: int) -> List[tuple[str, str]]:
    """Who comes first changes."""
    sides = [("ours", OURS), ("theirs", THEIRS)]
    return sides[:: 1 if turn % 2 else -1]


def rounds(kind: str, keys: Dict[str, Any], dual: bool = False) -> Times:
    """A plugin with host-local. One attachment stays, as on a node that works."""
    _sides()
    if kind == "bridge":
        keys = {"isGateway": True, **keys}

    def prepare(side: str, directory: str, container: str) -> Call:
        second = {"ours": 1, "theirs": 2}[side]
        subnets = [f"10.{second}.0.0/16"] + ([f"fd00:{second}::/64"] if dual else [])
        own = {"bridge": f"br-{side}"} if kind == "bridge" else {}
        return Call(directory, conf_of(side, kind, subnets, **keys, **own), container)

    for side, directory in _sides_in_turn(0):
        run("ip", "netns", "add", f"{side}-stays")
        prepare(side, directory, f"{side}-stays")("ADD")
    return _turns(CALLS, prepare)


def ports(number: int) -> Times:
    """portmap behind a bridge that is not measured."""
    _sides()
    mappings = [{"hostPort": 8000 + each, "containerPort": 80 + each, "protocol": "tcp"} for each in range(number)]

    def prepare(side: str, directory: str, container: str) -> Call:
        second = {"ours": 1, "theirs": 2}[side]
        conf = conf_of(side, "bridge", [f"10.{second}.0.0/16"], isGateway=True, bridge=f"br-{side}")
        Call(directory, conf, container)("ADD")
        with open("/run/said") as file:
            result = json.load(file)
        keys = {"capabilities": {"portMappings": True}, "runtimeConfig": {"portMappings": mappings}}
        chained = {"cniVersion": "1.0.0", "name": f"net-{side}", "type": "portmap", "prevResult": result, **keys}
        return Call(directory, chained, container)

    return _turns(CALLS, prepare)


def many_leases() -> Times:
    """host-local alone, in a network with thousands of leases."""
    _sides()
    for side in ("ours", "theirs"):
        os.makedirs(f"/run/leases-{side}/net-{side}")
        for number in range(LEASES):
            with open(f"/run/leases-{side}/net-{side}/10.9.{number // 250}.{number % 250 + 2}", "w") as file:
                file.write(f"container-{number}\r\neth0")
        with open(f"/run/leases-{side}/net-{side}/last_reserved_ip.0", "w") as file:
            file.write(f"10.9.{LEASES // 250 - 1}.251")

    def prepare(side: str, directory: str, container: str) -> Call:
        conf = conf_of(side, "bridge", ["10.9.0.0/16"])
        return Call(directory, {**conf, "type": "host-local"}, container)

    return _turns(CALLS, prepare)


def garbage() -> float:
    """GC of attachments whose runtime forgot them: leases, devices on the bridge and masquerading."""
    _sides()
    conf = conf_of("ours", "bridge", ["10.1.0.0/16"], isGateway=True, ipMasq=True, bridge="br-ours")
    conf["cniVersion"] = "1.1.0"
    for number in range(STALE):
        run("ip", "netns", "add", f"stale-{number}")
        Call(OURS, conf, f"stale-{number}")("ADD")
    took = Call(OURS, {**conf, "cni.dev/valid-attachments": []}, "none")("GC")
    ports = run("bridge", "link", "show").splitlines()
    left = [name for name in os.listdir("/run/leases-ours/net-ours") if name[0].isdigit()]
    if ports or left:
        raise NotRun(f"GC left {len(ports)} devices and {len(left)} leases")
    return took
