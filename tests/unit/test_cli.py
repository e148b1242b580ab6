"""The command line: how it is split and read, and how its errors look."""

from __future__ import annotations

import json
from ipaddress import ip_interface, ip_network
from pathlib import Path

import pytest

from podwire import cli
from podwire.backend import BackendSettings
from podwire.cli import inspect, intent
from podwire.errors import PodwireError
from podwire.intent.cluster import Cluster, CniSettings, Node, Pod
from podwire.intent.ids import cluster_id

CLUSTER = Cluster(
    "test-00000000",
    (ip_network("10.244.0.0/16"), ip_network("fd00:10:244::/56")),
    (ip_network("10.96.0.0/16"),),
    (24, 64),
    BackendSettings(),
    CniSettings(),
    True,
    tuple(
        Node(
            name,
            "netns",
            "eth0",
            (ip_interface(f"172.30.0.{i}/24"),),
            (ip_interface(f"172.30.0.{i}/24").ip,),
            (ip_network(f"10.244.{i}.0/24"), ip_network(f"fd00:10:244:{i}::/64")),
        )
        for i, name in enumerate(("node-1", "a-longer-name"), 1)
    ),
    (Pod("pod-a", "node-1"), Pod("agent", "a-longer-name", host_network=True)),
)


def test_describe_of_a_lab_that_is_not_up_has_everything_but_processes() -> None:
    found = inspect.describe(CLUSTER)
    assert found["nodes"][0] == {
        "name": "node-1",
        "kind": "netns",
        "pid": None,
        "public_ip": "172.30.0.1",
        "pod_cidrs": ["10.244.1.0/24", "fd00:10:244:1::/64"],
        "backend": "vxlan",
        "mtu": 1430,
    }
    assert found["pods"] == [
        {"name": "pod-a", "node": "node-1", "ips": [], "pid": None, "host_network": False},
        {"name": "agent", "node": "a-longer-name", "ips": [], "pid": None, "host_network": True},
    ]


def test_tables_are_aligned(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(inspect, "load", lambda inventory: CLUSTER)
    assert cli.main(["inspect"]) == 0
    assert capsys.readouterr().out == (
        "NODE           KIND   PID  PUBLIC IP   POD CIDRS                         BACKEND  MTU\n"
        "node-1         netns  -    172.30.0.1  10.244.1.0/24 fd00:10:244:1::/64  vxlan    1430\n"
        "a-longer-name  netns  -    172.30.0.2  10.244.2.0/24 fd00:10:244:2::/64  vxlan    1430\n"
        "\n"
        "POD    NODE           IPS  PID  HOST NETWORK\n"
        "pod-a  node-1         -    -    no\n"
        "agent  a-longer-name  -    -    yes\n"
    )


def test_json_is_for_programs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(inspect, "load", lambda inventory: CLUSTER)
    assert cli.main(["inspect", "--json", "-i", "x"]) == 0
    assert json.loads(capsys.readouterr().out) == inspect.describe(CLUSTER)


def test_the_command_is_everything_behind_the_first_two_dashes(monkeypatch: pytest.MonkeyPatch) -> None:
    import podwire.cli.exec

    seen: list[object] = []
    monkeypatch.setattr(podwire.cli.exec, "execute", lambda *arguments: seen.append(arguments) or 7)
    assert cli.main(["exec", "-i", "here", "node-1", "--", "sh", "-c", "exit 7", "--", "-i", "there"]) == 7
    assert seen == [("node-1", ["sh", "-c", "exit 7", "--", "-i", "there"], "here")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "-i", "/nowhere"], "failed to read inventory /nowhere: there is no such file"),
        (["exec", "node-1", "--"], "failed to run a command on node-1: none is given"),
        (["exec", "-i", "/nowhere", "node-1", "--", "id"], "failed to find node-1: the lab of /nowhere is not running"),
        (["inspect", "--", "id"], "failed to inspect: it takes no command"),
    ],
)
def test_errors_are_one_line_and_status_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith(f"podwire: {message}")
    assert output.err.count("\n") == 1


def test_an_inventory_is_read_as_ansible_reads_it(tmp_path: Path) -> None:
    inventory = tmp_path / "three.yml"
    inventory.write_text("all: {vars: {backend: {type: host-gw}}, children: {racks: {hosts: {b: {}, a: {}}}}}\n")
    cluster = intent.load(str(inventory))
    assert cluster.id == cluster_id(str(inventory))
    assert [node.name for node in cluster.nodes] == ["b", "a"]
    assert cluster.backend.type == "host-gw"


def test_an_inventory_that_ansible_cannot_read_is_named(tmp_path: Path) -> None:
    inventory = tmp_path / "broken.yml"
    inventory.write_text("all: [")
    with pytest.raises(PodwireError, match="broken.yml"):
        intent.load(str(inventory))


def test_help_shows_how(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "podwire exec node-1 -- ip route" in capsys.readouterr().out


def test_cluster_id_is_the_same_for_a_folder_and_its_hosts_file(tmp_path: Path) -> None:
    folder = tmp_path / "My Racks"
    folder.mkdir()
    (folder / "hosts.yml").write_text("")
    (tmp_path / "other.yml").write_text("")
    assert cluster_id(str(folder)) == cluster_id(str(folder / "hosts.yml"))
    assert cluster_id(str(folder)).startswith("my-racks-")
    assert cluster_id(str(tmp_path / "other.yml")).startswith("other-")
    assert len({cluster_id(str(path)) for path in (folder, tmp_path / "other.yml", tmp_path)}) == 3
