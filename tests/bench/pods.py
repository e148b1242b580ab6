"""200 pods attached on one node, against Debian's bridge and host-local plugins."""

from __future__ import annotations

import json
import os
from typing import Dict, List

from .measure import NotRun, Sample, in_room, measured, middle, python, run
from .report import Row

PODS = 200
INTENT = "/run/intent"
PLUGINS = "/usr/lib/cni"
PARALLELISM = (1, 2, 4, 8)
#: The same objects: one bridge with the gateway, hairpin on its ports, a default route in each pod.
CONFLIST = {
    "cniVersion": "1.0.0",
    "name": "podwire",
    "type": "bridge",
    "bridge": "cni0",
    "isGateway": True,
    "hairpinMode": True,
    "mtu": 1450,
    "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.0.0.0/24"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
        "dataDir": "/run/cni",
    },
}


def bench(runs: int) -> List[Row]:
    """Sandboxes present on both sides; ours also with starting them."""
    there = all(os.path.exists(os.path.join(PLUGINS, name)) for name in ("bridge", "host-local"))
    ours: List[Sample] = []
    started: List[Sample] = []
    theirs: Dict[int, List[Sample]] = {parallel: [] for parallel in PARALLELISM}
    for _ in range(runs):
        ours.append(in_room(podwire_attaches))
        started.append(in_room(podwire_starts_and_attaches))
        for parallel in PARALLELISM if there else ():
            theirs[parallel].append(in_room(plugins_attach, parallel))
    medians = {parallel: middle(samples).wall for parallel, samples in theirs.items() if samples}
    best = min(medians.values(), default=None)
    note = "not run: apt-get install containernetworking-plugins"
    if medians:
        note = "peer in parallel: " + ", ".join(f"{parallel}: {wall:.2f} s" for parallel, wall in medians.items())
    made = middle(ours)
    return [
        Row(f"{PODS} pods attached on one node", ">= 3 x faster", made.wall, best, limit=3, faster=True, note=note),
        Row("  with starting the sandboxes", "", middle(started).wall),
        Row("  peak memory", "", made.memory, unit="MB"),
    ]


def podwire_attaches() -> Sample:
    """One call for the whole list."""
    python("-m", "tests.bench.drive", "intent", INTENT, "1", str(PODS))
    python("-m", "tests.bench.drive", "sandboxes", INTENT)
    return _attach()


def podwire_starts_and_attaches() -> Sample:
    """The same from nothing."""
    python("-m", "tests.bench.drive", "intent", INTENT, "1", str(PODS))
    return _attach()


def _attach() -> Sample:
    sample = python("-m", "tests.bench.drive", "pods", INTENT)
    _check()
    return sample


def plugins_attach(parallel: int) -> Sample:
    """xargs starts the plugin, which starts host-local; dash's exec adds half a millisecond."""
    names = [f"pod{number}" for number in range(PODS)]
    run("ip", "-batch", "-", stdin="\n".join(f"netns add {name}" for name in names))
    with open("/run/conf", "w") as file:
        json.dump(CONFLIST, file)
    with open("/run/names", "w") as file:
        file.write("\n".join(names))
    add = f"CNI_CONTAINERID=$0 CNI_NETNS=/run/netns/$0 exec {PLUGINS}/bridge </run/conf"
    environment = {"CNI_COMMAND": "ADD", "CNI_IFNAME": "eth0", "CNI_PATH": PLUGINS}
    sample = measured(
        "xargs", "-P", str(parallel), "-n", "1", "sh", "-c", add, stdin="/run/names", environment=environment
    )
    _check()
    return sample


def _check() -> None:
    ports = len(run("bridge", "link", "show").splitlines())
    if ports != PODS:
        raise NotRun(f"{ports} pods on the bridge instead of {PODS}")
    last = sorted(os.listdir("/run/netns"))[-1]
    run("ip", "netns", "exec", last, "fping", "-c1", "-t5000", "10.0.0.1")
