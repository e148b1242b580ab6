"""How the playbooks behave when something is in the way: wrong intent, a broken network, an interruption."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest

from podwire.intent.cluster import Cluster
from podwire.intent.cluster_json import cluster_from_json
from podwire.intent.underlay import is_infrastructure
from podwire.kernel import Namespace, enter, show
from podwire.kernel import execute as kernel_execute
from podwire.lab import registry
from podwire.model.state import EMPTY, Scope
from podwire.plan import plan
from podwire.sandbox import pods, sandboxes

from .playbooks import COMMAND, ROOT, Playbooks, environment

PODWIRE = [sys.executable, "-c", "import sys; from podwire.cli import main; sys.exit(main())"]


@pytest.fixture
def fresh(copied: Callable[[str], Playbooks]) -> Playbooks:
    """The lab inventory, not built."""
    return copied("lab")


@pytest.fixture(scope="module")
def built(copied: Callable[[str], Playbooks]) -> Iterator[Playbooks]:
    """The lab inventory, built."""
    lab = copied("lab")
    lab.run("site.yml")
    yield lab


def vanish(link: str) -> None:
    """Inside a node: take one device away."""
    scope = Scope(links=frozenset({link}))
    with Namespace.current("node") as here:
        steps = [(here, operation) for operation in plan(EMPTY, show(here, scope).state)]
        kernel_execute(steps, {})


def test_every_problem_of_the_intent_is_said_and_nothing_touched(fresh: Playbooks) -> None:
    folder = fresh.inventory / "group_vars"
    folder.mkdir(exist_ok=True)
    (folder / "all.yml").write_text('masquerade: "yes"\nbackend: {type: vxlam}\nservice_cidrs: [10.244.0.0/24]\n')
    run = fresh.run("site.yml", status=2)
    for word in ("masquerade", "vxlam", "10.244.0.0/24"):
        assert word in run.output
    assert "group_vars/all.yml:1" in run.output
    assert fresh.left() == []


def test_one_node_by_limit(built: Playbooks) -> None:
    run = built.run("site.yml", "--limit", "node-2")
    assert list(run.recap) == ["node-2"]
    assert run.changed == 0


def test_one_node_of_a_lab_that_is_not_there_yet(fresh: Playbooks) -> None:
    assert "not run" in fresh.run("site.yml", "--limit", "node-1").output
    assert fresh.run("site.yml").recap["node-1"].failed == 0


def test_an_inventory_that_is_not_there_is_no_success(tmp_path: Path) -> None:
    assert "No inventory was parsed" in Playbooks(tmp_path / "nowhere", tmp_path).run("site.yml", status=1).output


def test_a_list_of_hosts_is_an_inventory_and_its_lab_goes_as_a_whole(tmp_path: Path) -> None:
    lab = Playbooks(Path("list-1,list-2,list-3,"), tmp_path)
    try:
        assert "30 of 30 pairs" in lab.run("site.yml").output
        assert "removed as a whole" in lab.run("playbooks/reset.yml", "--limit", "list-1", status=2).output
    finally:
        lab.run("playbooks/reset.yml")
    assert lab.left() == []


def test_a_broken_guarantee_fails_with_its_pairs_and_the_next_run_mends_it(built: Playbooks) -> None:
    enter.call(built.node("node-1"), vanish, "flannel.1")
    broken = built.run("playbooks/verify.yml", status=2)
    assert "FAILED  pods reach each other" in broken.output
    assert "pod-a -> pod-b" in broken.output
    check = built.run("site.yml", "--check", "--diff")
    assert "+ link flannel.1" in check.output
    assert check.recap["node-1"].changed == 1
    assert check.recap["node-2"].changed == 0
    assert built.run("site.yml").changed == 1
    assert built.run("site.yml").changed == 0


def test_a_node_that_fails_drops_out_and_the_others_go_on(built: Playbooks) -> None:
    def route(verb: str) -> int:
        """A foreign one on a wanted prefix: a conflict, though one that no packet takes."""
        words = ["ip", "route", verb, "10.244.2.0/24", "via", "172.30.0.13", "metric", "500"]
        return subprocess.run(words).returncode

    enter.call(built.node("node-1"), vanish, "flannel.1")
    assert enter.call(built.node("node-2"), route, "add") == 0
    try:
        run = built.run("site.yml", status=2)
        assert {name for name, each in run.recap.items() if each.failed} == {"node-2"}
        assert run.recap["node-1"].changed == 1, "the others converge"
        assert "LOST    node-2 failed or was not reached" in run.output
        assert "these nodes still route 10.244.1.0/24 to it: node-1, node-3" in run.output
        results = Path(registry.state_dir(built.id), "results")
        assert not (results / "junit.xml").exists(), "an earlier run's tests"
        told = json.loads((results / "report" / "results.json").read_text())
        assert (told["ok"], told["run"]["missing"], told["run"]["limit"]) == (False, ["node-2"], None)
        assert all(each["not_run"] for each in told["guarantees"]), "an earlier run's observations prove nothing"
    finally:
        enter.call(built.node("node-2"), route, "delete")
    assert built.run("site.yml").changed == 0


def restart(cluster: Cluster) -> Dict[str, List[str]]:
    """Inside node-1: what is left of its pods after a restart, and what ``podwire apply`` makes of that."""
    sandboxes.stop(sandboxes.recorded())
    return pods.reconcile(cluster, "node-1").results


def test_pods_that_came_back_without_a_controller_are_proven(built: Playbooks) -> None:
    """They have other addresses than the controller was told."""
    intent = registry.intent(built.id)
    assert intent is not None
    kept = Path(registry.state_dir(built.id)) / "results" / "pods" / "node-1.json"
    before = json.loads(kept.read_text())
    assert enter.call(built.node("node-1"), restart, cluster_from_json(intent)) != before
    assert built.run("playbooks/verify.yml").changed == 0
    assert json.loads(kept.read_text()) != before


def test_a_dead_node_is_made_anew_alone(built: Playbooks) -> None:
    others = {name: built.node(name) for name in ("node-1", "node-3")}
    os.kill(built.node("node-2"), signal.SIGKILL)
    built.run("site.yml")
    assert {name: built.node(name) for name in others} == others
    assert built.run("site.yml").changed == 0


def test_watching_tells_what_the_restart_of_a_node_costs(built: Playbooks) -> None:
    """Pods of the other nodes never lose sight of each other."""
    site = shlex.join([*COMMAND, "-i", str(built.inventory), str(ROOT / "site.yml")])
    command = f"kill -9 {built.node('node-2')} && {site} >/dev/null"
    watch = [*PODWIRE, "watch", "-i", str(built.inventory), "--longest", "0.05", "--", "sh", "-c", command]
    done = subprocess.run(
        watch, cwd=ROOT, env=environment(built.scratch), text=True, capture_output=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 1, "a gap longer than allowed is an error"
    lines = done.stdout.splitlines()
    assert all("node-2" in line for line in lines[:-1]) and "(node-1 -> node-2)" in done.stdout
    assert "packets lost on 9 pairs, longest gap" in lines[-1]
    assert built.run("site.yml").changed == 0


def test_a_node_leaves_another_comes_and_the_first_comes_back_as_it_was(fresh: Playbooks) -> None:
    """Its block and address are kept for it, and what it told before is not taken for news."""
    hosts = fresh.inventory / "hosts.yml"
    declared = hosts.read_text()
    fresh.run("site.yml")
    before = lease(fresh, "node-2")
    hosts.write_text(declared.replace("node-2:", "node-9:"))
    fresh.run("site.yml")
    assert lease(fresh, "node-9") != before
    assert registry.node_pid(fresh.id, "node-2") is None
    hosts.write_text(declared)
    fresh.run("site.yml")
    assert lease(fresh, "node-2") == before
    assert fresh.run("site.yml").changed == 0


def lease(lab: Playbooks, node: str) -> Any:
    return json.loads(Path(f"/proc/{lab.node(node)}/root/etc/podwire/node.json").read_text())["pod_cidrs"]


def test_two_labs_side_by_side(built: Playbooks, fresh: Playbooks) -> None:
    fresh.run("site.yml")
    assert built.run("playbooks/verify.yml").changed == 0
    fresh.run("playbooks/reset.yml")
    assert built.run("site.yml").changed == 0


def test_a_run_without_podwire_on_the_path(built: Playbooks) -> None:
    """Plugins find the library beside themselves, from any directory."""
    environ = {key: value for key, value in environment(built.scratch).items() if key != "PYTHONPATH"}
    command = [*COMMAND, "-i", str(built.inventory), str(ROOT / "playbooks/verify.yml")]
    subprocess.run(command, cwd="/", env=environ, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)


def test_ansible_modules_run_inside_the_node(built: Playbooks) -> None:
    """The connection plugin, with a module of Ansible's own."""
    command = [sys.executable, "-m", "ansible", "adhoc", "node-2", "-i", str(built.inventory), "-c", "netns"]
    done = subprocess.run(
        [*command, "-m", "ansible.builtin.command", "-a", "cat /proc/sys/kernel/hostname"],
        cwd=ROOT,
        env=environment(built.scratch),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["node-2"], done.stdout + done.stderr


def test_people_can_look_and_run_commands(built: Playbooks) -> None:
    def podwire(*arguments: str) -> str:
        return subprocess.run(
            [*PODWIRE, *arguments], env=environment(built.scratch), text=True, capture_output=True, check=True
        ).stdout

    seen = json.loads(podwire("inspect", "--json", "-i", str(built.inventory)))
    ips = {pod["name"]: pod["ips"][0] for pod in seen["pods"]}
    fetch = f"import urllib.request as r; print(r.urlopen('http://{ips['pod-b']}:8080/').read().decode())"
    answer = json.loads(podwire("exec", "-i", str(built.inventory), "pod-a", "--", sys.executable, "-c", fetch))
    assert answer == {"pod": "pod-b", "node": "node-2", "client": ips["pod-a"]}


@pytest.mark.parametrize("task", ["Create the lab's nodes", "Configure the backend", "Attach the pods", "Probe"])
def test_an_interrupted_run_is_healed_by_the_next(fresh: Playbooks, task: str) -> None:
    running = subprocess.Popen(
        [*COMMAND, "-i", str(fresh.inventory), str(ROOT / "site.yml")],
        cwd=ROOT,
        env=environment(fresh.scratch),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        if task in line and line.startswith("TASK"):
            os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C does: Ansible and all its workers
            break
    try:
        running.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        # A worker that ends while it holds the lock of Ansible's queue leaves Ansible waiting. People press harder.
        os.killpg(running.pid, signal.SIGKILL)
        running.communicate()
    assert running.returncode != 0
    fresh.run("site.yml")
    assert fresh.run("site.yml").changed == 0


def test_reset_after_a_crash_half_way(fresh: Playbooks) -> None:
    fresh.run("site.yml")
    lab = registry.read(fresh.id)
    assert lab is not None
    for name, process in lab.processes.items():
        if name == "node-1" or is_infrastructure(name):
            os.kill(process.pid, signal.SIGKILL)
    (fresh.inventory / "group_vars").mkdir(exist_ok=True)
    (fresh.inventory / "group_vars" / "all.yml").write_text("backend: {type: no such thing}\n")
    fresh.run("playbooks/reset.yml")
    assert fresh.left() == []


@pytest.mark.skipif(not shutil.which("ip"), reason="needs iproute2")
def test_a_node_of_another_kind_gets_the_module(tmp_path: Path) -> None:
    """As over SSH: the intent is copied and the module runs in a process of its own, here in a fresh namespace."""
    (tmp_path / "ansible").mkdir()
    (tmp_path / "hosts.ini").write_text(
        f"""n1 node_address=192.0.2.1/24
            n2 node_address=192.0.2.2/24
            [all:vars]
            node_kind=ssh
            node_interface=eth0
            ansible_connection=local
            ansible_remote_tmp={tmp_path}/ansible
            ansible_python_interpreter={sys.executable}
        """
    )
    play = [{"hosts": "all", "gather_facts": False, "roles": [{"role": "declare", "run_once": True}, "node"]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    arguments = ["-i", str(tmp_path / "hosts.ini"), str(tmp_path / "play.yml"), "--limit", "n1", "--check", "--diff"]
    network = "ip link set lo up && ip link add eth0 type veth peer name peer && ip address add 192.0.2.1/24 dev eth0"
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", f'{network} && exec "$@"', "sh", *COMMAND, *arguments],
        env=environment(tmp_path / "ansible"),
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "+ link flannel.1 vxlan vni 1 port 8472 local 192.0.2.1 dev eth0" in done.stdout
    assert "dst 192.0.2.2" in done.stdout
