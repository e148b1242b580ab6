"""What grows with a cluster, at 10 to 5,000 nodes, for docs/scale.md: bytes, CPU and memory."""

from __future__ import annotations

import json
import os
import sys
from typing import List

from podwire.agent.intent_store import intent_file
from podwire.intent.cluster_json import cluster_from_json

from .measure import ROOT, Sample, in_room, measured, middle
from .peers import FILES, again, fresh
from .report import Row

NODES = (10, 100, 1_000, 5_000)
#: One host more than this takes minutes of a controller's CPU; it is linear long before.
_MOST_HOST_TASKS = 1_000
_PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - podwire_declare:
      register: declare_result
      run_once: true
      check_mode: true
"""
_EACH = """
    - podwire_library:
        intent: "{{ declare_result.intent }}"
"""


def bench(runs: int) -> List[Row]:
    """One node's share, and the controller's."""
    rows: List[Row] = []
    for nodes in NODES:
        size = f"{nodes:,} nodes"
        new = in_room(fresh, nodes)
        unchanged, changed = (middle(each) for each in in_room(again, nodes, max(1, runs // 2)))
        intent, kept = in_room(_bytes, nodes)
        rows += [
            Row(f"{size}: intent, sent to each node", "", intent / 1000, unit="kB"),
            Row("  kept on a node", "", kept / 1000, unit="kB"),
            Row("  stage node from nothing: CPU", "", new.cpu, note="one process, Ansible's module code included"),
            Row("  nothing to change: CPU", "", unchanged.cpu),
            Row("  one peer changed: CPU", "", changed.cpu),
            Row("  peak memory on the node", "", new.memory, unit="MB"),
        ]
        declared = in_room(_declared, nodes, False)
        rows += [
            Row("  controller, start and declare: CPU", "", declared.cpu),
            Row("  controller: peak memory", "", declared.memory, unit="MB"),
        ]
        if nodes <= _MOST_HOST_TASKS:
            each = in_room(_declared, nodes, True)
            cost = (each.cpu - declared.cpu) / nodes
            rows.append(Row("  controller, a task of a host: CPU", "", cost, note="without what the host does itself"))
    return rows


def _bytes(nodes: int) -> tuple[int, int]:
    """(the intent's, the kept file's)."""
    from .fleet import write

    os.mkdir(FILES)
    write(FILES, nodes)
    path = os.path.join(FILES, "same")
    with open(path) as file:
        cluster = cluster_from_json(json.load(file))
    return os.path.getsize(path), len(intent_file(cluster, "node0").content)


def _declared(nodes: int, each: bool) -> Sample:
    """A playbook that reads the intent of so many lab nodes and, with ``each``, has a task on every one that does
    nothing there."""
    with open("/run/hosts.yml", "w") as file:
        variables = {"cluster_cidrs": ["10.0.0.0/8"], "service_cidrs": ["192.168.0.0/16"], "pods": 0}
        json.dump({"all": {"hosts": {f"node-[1:{nodes}]": {}}, "vars": variables}}, file)
    with open("/run/play.yml", "w") as file:
        file.write(_PLAY + (_EACH if each else ""))
    command = (sys.executable, "-m", "ansible", "playbook", "-i", "/run/hosts.yml", "/run/play.yml")
    environment = {"ANSIBLE_CONFIG": f"{ROOT}/ansible.cfg", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_DISPLAY_OK_HOSTS": "false"}
    return measured(*command, environment=environment)
