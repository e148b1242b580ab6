"""Docker nodes on a real engine: made, found again, mended, removed exactly; and what stands in their way, in words."""

from __future__ import annotations

import encodings.idna  # noqa: F401  # looked for by getaddrinfo(), which the tests call where this Python is not
import gc
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import docker as sdk
import pytest

from podwire.errors import LabError
from podwire.intent import underlay
from podwire.intent.cluster import Cluster
from podwire.intent.inventory import read
from podwire.kernel import Namespace, Reader, routes
from podwire.lab import docker, registry
from podwire.lab.image import MADE_HERE, Image
from podwire.lab.networks import container_name

from .labs import pid_of, run, talks, wait_until

pytestmark = pytest.mark.usefixtures("docker_engine")
Declare = Callable[..., Cluster]


@pytest.fixture
def declare(tmp_path: Path) -> Iterator[Declare]:
    """``declare(*names, lab=..., cidr=..., **variables)``: a cluster of docker nodes. Its lab is removed at the end."""
    made = set()

    def declared(*names: str, lab: str = "one", cidr: str = "172.29.77.0/24", **variables: Any) -> Cluster:
        hosts = {name: {"node_kind": "docker"} for name in names or ("node-1", "node-2")}
        common = {"underlay": {"segments": {"lan": {"cidrs": [cidr]}}}, **variables}
        cluster = read({name: {**common, **own} for name, own in hosts.items()}, source=str(tmp_path / lab / "hosts"))
        made.add(cluster.id)
        return cluster

    yield declared
    for each in made:
        docker.absent(each)
        registry.remove(each)


def on_engine(cluster: Cluster) -> list[str]:
    """Names of the containers and networks that carry the lab's label."""
    with closing(sdk.from_env()) as client:
        mine = {"label": f"podwire.lab={cluster.id}"}
        found = [*client.containers.list(all=True, filters=mine), *client.networks.list(filters=mine)]
        return sorted(each.name for each in found)


def inspected(cluster: Cluster, node: str) -> dict[str, Any]:
    """What Docker says of a node."""
    with closing(sdk.from_env()) as client:
        return dict(client.containers.get(container_name(cluster.id, node)).attrs)


def kill(cluster: Cluster, node: str) -> None:
    """As a crash of its host would: the container stays, and nothing in it runs."""
    with closing(sdk.from_env()) as client:
        client.containers.get(container_name(cluster.id, node)).kill()


def test_nodes_stand_as_declared_and_reach_each_other(declare: Declare) -> None:
    cluster = declare()
    told = docker.present(cluster, check=True)
    assert "+ node node-1" in told.lines and on_engine(cluster) == []
    assert docker.present(cluster).changed
    assert not docker.present(cluster).changed and not docker.present(cluster, check=True).changed
    assert on_engine(cluster) == [f"{cluster.id}-lan", f"{cluster.id}-node-1", f"{cluster.id}-node-2"]
    for node in cluster.nodes:
        state = underlay.inside(cluster)[node.name]
        with Namespace.open(f"/proc/{pid_of(cluster, node.name)}/ns/net", node.name) as there:
            assert Reader(there, underlay.scope(state)).show().state.addresses >= state.addresses
    assert talks(cluster, "node-1", "node-2", 4)
    assert run(cluster, "node-1", "hostname") == "node-1\n"
    assert Path(f"/proc/{pid_of(cluster, 'node-1')}/comm").read_text() == "tini\n"


def test_a_node_may_do_what_a_node_needs_and_is_not_privileged(declare: Declare) -> None:
    cluster = declare("node-1")
    docker.present(cluster)
    host = inspected(cluster, "node-1")["HostConfig"]
    assert host["Privileged"] is False
    assert sorted(each.replace("CAP_", "") for each in host["CapAdd"]) == ["NET_ADMIN", "NET_RAW", "SYS_ADMIN"]
    run(cluster, "node-1", "sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward && unshare --mount --net true'")


def test_orphans_are_reaped(declare: Declare) -> None:
    cluster = declare("node-1")
    docker.present(cluster)
    # A shell whose parent is gone by the time it ends; its own parent is whoever the kernel gives it to.
    orphan = run(cluster, "node-1", "sh -c '(read _ < /proc/self/stat; sleep 0.01) >/dev/null & echo $!'")
    wait_until(lambda: orphan.strip() not in run(cluster, "node-1", "ls /proc").split())


def test_a_node_that_stopped_is_started_again_alone(declare: Declare) -> None:
    cluster = declare()
    docker.present(cluster)
    other, before = pid_of(cluster, "node-1"), inspected(cluster, "node-2")["Id"]
    kill(cluster, "node-2")
    told = docker.present(cluster)
    assert "~ node node-2 (started again)" in told.lines and "+ node node-2" not in told.lines
    assert (pid_of(cluster, "node-1"), inspected(cluster, "node-2")["Id"]) == (other, before)
    assert talks(cluster, "node-1", "node-2", 4)
    assert not docker.present(cluster).changed


def test_a_wrong_node_is_made_anew_and_an_undeclared_one_goes(declare: Declare) -> None:
    cluster = declare("node-1", "node-2")
    docker.present(cluster)
    before = inspected(cluster, "node-1")["Id"]
    moved = declare("node-1", node_address="172.29.77.40")
    told = docker.present(moved)
    assert f"- node node-2 (container {cluster.id}-node-2)" in told.lines and "+ node node-1" in told.lines
    assert inspected(moved, "node-1")["Id"] != before
    assert "172.29.77.40/24" in run(moved, "node-1", "ip -4 -o address show dev eth0")


def test_a_node_leaves_and_the_others_stay(declare: Declare) -> None:
    docker.present(declare())
    stays = declare("node-1")
    before = pid_of(stays, "node-1")
    assert docker.leave(stays, ["node-2"], check=True).changed and len(on_engine(stays)) == 3
    assert docker.leave(stays, ["node-2"]).changed
    assert on_engine(stays) == [f"{stays.id}-lan", f"{stays.id}-node-1"] and pid_of(stays, "node-1") == before
    assert "node-2" not in run(stays, "node-1", "cat /etc/hosts")
    assert not docker.leave(stays, ["node-2"]).changed and not docker.present(stays).changed


def test_limit_leaves_the_others_alone(declare: Declare) -> None:
    cluster = declare()
    assert docker.present(cluster, limit={"node-1"}).lines.count("+ node node-2") == 0
    assert on_engine(cluster) == [f"{cluster.id}-lan", f"{cluster.id}-node-1"]
    docker.present(cluster)
    assert not docker.present(cluster, limit={"node-1"}).changed and len(on_engine(cluster)) == 3
    narrow = declare(underlay={"segments": {"lan": {"cidrs": ["172.29.77.0/24"], "mtu": 1400}}})
    with pytest.raises(LabError, match="segment lan: its network has to be made anew.*without --limit"):
        docker.present(narrow, limit={"node-1"})
    assert docker.present(narrow).changed
    assert "mtu 1400" in run(cluster, "node-2", "ip link show eth0")


def test_two_segments_and_two_families(declare: Declare) -> None:
    segments = {"a": {"cidrs": ["172.29.78.0/24", "fd00:29:78::/64"]}, "b": {"cidrs": ["172.29.79.0/24"], "mtu": 9000}}
    cluster = declare(
        cluster_cidrs=["10.244.0.0/16", "fd00:10:244::/48"],
        service_cidrs=["10.96.0.0/16", "fd00:10:96::/112"],
        underlay={"segments": segments},
        node_segment=["a", "b"],
    )
    docker.present(cluster)
    assert not docker.present(cluster).changed
    assert talks(cluster, "node-1", "node-2", 4) and talks(cluster, "node-1", "node-2", 6)
    assert run(cluster, "node-1", "cat /proc/sys/net/ipv6/conf/default/disable_ipv6") == "0\n"
    shown = run(cluster, "node-1", "ip -o address show dev eth1") + run(cluster, "node-1", "ip link show eth1")
    assert "172.29.79.11/24" in shown and "mtu 9000" in shown
    kill(cluster, "node-2")  # its devices could come in another order
    assert "+ node node-2" in docker.present(cluster).lines


def test_labs_side_by_side_and_the_range_of_another(declare: Declare) -> None:
    one, other = declare("node-1"), declare("node-1", lab="other", cidr="172.29.80.0/24")
    docker.present(one)
    with pytest.raises(LabError) as caught:
        docker.present(declare("node-1", lab="third", cidr="172.29.0.0/16"))
    assert f"172.29.77.0/24 of the Docker network {one.id}-lan" in str(caught.value)
    assert "set underlay.segments.lan.cidrs" in str(caught.value)
    docker.present(other)
    docker.absent(one.id)
    assert on_engine(one) == [] and len(on_engine(other)) == 2
    assert not docker.present(other).changed


def test_a_route_of_this_machine_is_in_the_way(declare: Declare) -> None:
    with Namespace.current() as here:
        taken = next(
            (each for each in routes(here) if each.destination.version == 4 and each.destination.prefixlen), None
        )
    if taken is None:
        pytest.skip("this machine has no route but the default")
    with pytest.raises(LabError, match=f"this machine's route to {taken.destination} dev {taken.device}"):
        docker.present(declare("node-1", cidr=str(ip_interface(taken.destination[0]).ip) + "/24"), check=True)


def test_removal_finds_what_a_crash_left_unrecorded(declare: Declare) -> None:
    cluster = declare()
    docker.present(cluster)
    registry.write_containers(cluster.id, {})
    kill(cluster, "node-1")
    assert len(docker.absent(cluster.id, check=True).lines) == 3 == len(on_engine(cluster))
    docker.absent(cluster.id)
    assert on_engine(cluster) == []
    assert not docker.absent(cluster.id).changed


def test_the_dockerfile_makes_an_image_on_any_base(declare: Declare) -> None:
    """The base is the image that all other tests run: it has everything, and nothing is fetched from anywhere."""
    cluster = declare("node-1")
    docker.present(cluster)
    built = Image(base=MADE_HERE.tag)
    with closing(sdk.from_env()) as client:
        try:
            said: list[str] = []
            told = docker.present(cluster, image=built, tell=said.append)
            assert said == [f"building image {built.tag} on {MADE_HERE.tag}"]
            assert f"+ image {built.tag} (built on {MADE_HERE.tag})" in told.lines and "+ node node-1" in told.lines
            assert not docker.present(cluster, image=built).changed
            assert client.images.get(built.tag).attrs["Config"]["Entrypoint"] == ["tini", "--", "sleep", "infinity"]
            docker.absent(cluster.id)
        finally:
            client.images.remove(built.tag, force=True)


def test_an_image_that_is_not_to_be_had(declare: Declare) -> None:
    with pytest.raises(LabError, match="failed to pull image podwire.invalid/none:1.*check lab_image"):
        docker.present(declare("node-1"), image=Image("podwire.invalid/none:1"))


def test_an_image_that_ends_at_once(declare: Declare) -> None:
    cluster = declare("node-1")
    docker.present(cluster)
    with closing(sdk.from_env()) as client:
        name = "podwire-test-ends:1"
        made = client.containers.create(MADE_HERE.tag)
        try:
            made.commit(*name.split(":"), changes='ENTRYPOINT ["false"]')
            with pytest.raises(LabError, match="failed to start node node-1: its container .* ended at once"):
                docker.present(cluster, image=Image(name=name))
            docker.absent(cluster.id)
        finally:
            made.remove()
            client.images.remove(name, force=True)


def test_no_engine_is_said_in_words(declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix:///run/{os.getpid()}-nobody.sock")
    cluster = declare("node-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Docker's package leaves its socket to the collector
        with pytest.raises(LabError, match="failed to reach the Docker engine.*DOCKER_HOST"):
            docker.present(cluster, check=True)
        gc.collect()
