"""site.yml end to end, first and second run, and what it costs a node in tasks."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import List, Tuple

from .measure import ROOT, NotRun, Sample, in_room, measured, middle
from .report import Row


def lab(runs: int) -> List[Row]:
    """Three nodes, six pods."""
    (first, second, tasks), done = _site("lab", runs)
    return [
        Row("site.yml, lab, first run", "<= 15 s", first.wall, limit=15, note=f"CPU {first.cpu:.1f} s, {done} runs"),
        Row("site.yml, lab, second run", "<= 10 s", second.wall, limit=10, note=f"CPU {second.cpu:.1f} s"),
        Row("  tasks a node", "", tasks, unit="tasks"),
    ]


def scale(runs: int) -> List[Row]:
    """50 nodes, 200 pods."""
    (first, second, tasks), done = _site("scale", max(1, runs // 2))
    return [
        Row("site.yml, scale", "<= 60 s", first.wall, limit=60, note=f"CPU {first.cpu:.1f} s, {done} runs"),
        Row("  second run", "", second.wall, note=f"CPU {second.cpu:.1f} s"),
        Row("site.yml, scale: tasks a node", "<= 10", tasks, unit="tasks", limit=10),
    ]


def join(runs: int) -> List[Row]:
    """One node more than 50, against the run that made the 50. In turns by nature: each room has both."""
    rounds = [in_room(_grow) for _ in range(max(1, runs // 2))]
    full, one = middle(each[0] for each in rounds), middle(each[1] for each in rounds)
    note = f"peer: site.yml of 50; CPU {one.cpu:.1f} s against {full.cpu:.1f} s, {len(rounds)} runs"
    return [
        Row("join.yml, node 51", "<= 0.2 x", one.wall, full.wall, limit=0.2, relative=True, note=note),
        Row("  CPU of it", "", one.cpu, full.cpu),
    ]


def _grow() -> Tuple[Sample, Sample]:
    """(site.yml of 50 nodes, join.yml of one more)."""
    shutil.copytree(f"{ROOT}/inventories/scale", "/run/scale")
    full, _ = _playbook("/run/scale")
    with open("/run/scale/hosts.yml", "w") as file:
        file.write("all: {hosts: {'node-[01:51]': {}}}\n")
    one, recap = _playbook("/run/scale", "playbooks/join.yml", "-e", "node=node-51")
    if not all(changed for _, changed in recap):
        raise NotRun("join.yml did not change both the new node and its peers")
    return full, one


def _site(inventory: str, runs: int) -> Tuple[Tuple[Sample, Sample, int], int]:
    rounds = [in_room(_twice, inventory) for _ in range(runs)]
    return (middle(each[0] for each in rounds), middle(each[1] for each in rounds), rounds[0][2]), runs


def _twice(inventory: str) -> Tuple[Sample, Sample, int]:
    """(first run, second run, most tasks that one node had): the second has to change nothing."""
    first, _ = _playbook(inventory)
    second, recap = _playbook(inventory)
    if any(changed for _, changed in recap):
        tasks = [each for each in _output().split("\nTASK ") if "\nchanged: " in each]
        raise NotRun(f"the second run of site.yml on {inventory} changed something: {tasks[0][:300]}")
    return first, second, max(tasks for tasks, _ in recap)


def _playbook(inventory: str, playbook: str = "site.yml", *arguments: str) -> Tuple[Sample, List[Tuple[int, int]]]:
    """The sample, and (tasks, changed) of each host in the recap. ``inventory``: a shipped one's name, or a path."""
    where = os.path.join(ROOT, "inventories", inventory)
    command = (sys.executable, "-m", "ansible", "playbook", f"{ROOT}/{playbook}", "-i", where, *arguments)
    try:
        sample = measured(*command, environment={"ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg", "ANSIBLE_NOCOLOR": "1"})
    except NotRun:
        raise NotRun(f"{playbook} failed on {inventory}: {_output().partition('fatal: ')[2][:600]}") from None
    text = _output()
    line = re.compile(r"^\S+\s+: ok=(\d+)\s+changed=(\d+)\s.*skipped=(\d+)", re.MULTILINE)
    recap = [(int(ok) + int(skipped), int(changed)) for ok, changed, skipped in line.findall(text)]
    if not recap:
        raise NotRun(f"site.yml said no recap: {text[-300:]}")
    return sample, recap


def _output() -> str:
    with open("/run/out") as file:
        return file.read()
