"""What backends desire, the kernel takes and shows again; and no backend leaves anything of another behind."""

from __future__ import annotations

import subprocess
from typing import Any, Dict, Tuple

import pytest

from podwire.backend.routes import MANY_GATEWAYS
from podwire.converge import Outcome, Target, converge
from podwire.intent.cluster import Cluster
from podwire.intent.inventory import read
from podwire.intent.projection import desired, scope
from podwire.kernel.namespaces import Namespace

DUAL_STACK = {"cluster_cidrs": ["10.244.0.0/16", "fd00:10:244::/48"]}
IPV6 = {"cluster_cidrs": ["fd00:10:244::/48"]}
# Both families on the underlay in every case, so that the node's own addresses stay as they are.
UNDERLAY = {"underlay": {"segments": {"underlay": {"cidrs": ["172.30.0.0/16", "fd00:30::/64"]}}}}
CASES: Dict[str, Dict[str, Any]] = {
    "vxlan": {},
    "vxlan-dual-stack": DUAL_STACK,
    "vxlan-ipv6": IPV6,
    "vxlan-settings": {"backend": {"vni": 7, "port": 4789, "mtu": 1400}, "masquerade": False},
    "host-gw": {"backend": {"type": "host-gw"}},
    "host-gw-dual-stack": {"backend": {"type": "host-gw"}, **DUAL_STACK},
    "direct-routing": {"backend": {"direct_routing": True}},
    "other-range": {"cluster_cidrs": ["10.128.0.0/14"], "pods": 0},
}


def cluster(case: str, nodes: int = 3) -> Cluster:
    return read({f"node-{i + 1}": {**UNDERLAY, **CASES[case]} for i in range(nodes)}, source="lab/hosts.yml")


@pytest.fixture
def node(namespace: Namespace) -> Namespace:
    """A node with its external interface. A bridge stands in for it: this kernel may lack dummy."""
    for words in (
        "link add eth0 type bridge",
        "link set eth0 up",
        "address add 172.30.0.11/16 dev eth0",
        "address add fd00:30::11/64 dev eth0 nodad",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    return namespace


def bring(node: Namespace, made: Cluster) -> Outcome:
    """Converge without files, which would be this machine's."""
    state = desired(made, "node-1")._replace(files=frozenset())
    owned = scope(made, "node-1", desired(made, "node-1"))._replace(files=frozenset())
    return converge([Target(node, state, owned)])


def leftovers(made: Cluster) -> Tuple[set[str], str]:
    """Devices, and everything routed by our protocol."""
    links = {line.split()[0] for line in shown("ip", "-br", "link") if "flannel" in line}
    routed = [*shown("ip", "route", "show", "proto", "112"), *shown("ip", "-6", "route", "show", "proto", "112")]
    return links, "\n".join(sorted(routed))


def shown(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.mark.parametrize("case", CASES)
def test_the_kernel_takes_it_and_a_second_run_changes_nothing(node: Namespace, case: str) -> None:
    made = cluster(case)
    assert bring(node, made).changed
    assert bring(node, made).operations == ()


@pytest.mark.parametrize("before", CASES)
@pytest.mark.parametrize("after", ["vxlan", "host-gw", "vxlan-ipv6"])
def test_another_backend_leaves_nothing_behind(node: Namespace, before: str, after: str) -> None:
    bring(node, cluster(after))
    fresh = leftovers(cluster(after))
    bring(node, cluster(before))
    bring(node, cluster(after))
    assert leftovers(cluster(after)) == fresh
    assert bring(node, cluster(after)).operations == ()


def test_a_peer_more_than_the_threshold_and_back(node: Namespace) -> None:
    """Plain routes become next-hop objects in place, and plain routes again."""
    few, many = cluster("other-range", MANY_GATEWAYS + 1), cluster("other-range", MANY_GATEWAYS + 2)
    for made, hops in ((few, 0), (many, MANY_GATEWAYS + 1), (few, 0)):
        bring(node, made)
        assert bring(node, made).operations == ()
        assert len(shown("ip", "nexthop", "show", "protocol", "112")) == hops
        assert len(shown("ip", "route", "show", "proto", "112")) == len(made.nodes) - 1


def test_deleted_device_is_replayed(node: Namespace) -> None:
    made = cluster("vxlan-dual-stack")
    bring(node, made)
    before = tables()
    subprocess.run(["ip", "link", "del", "flannel.1"], check=True)
    assert tables() != before
    bring(node, made)
    assert tables() == before


def tables() -> list[list[str]]:
    """Neighbours, FDB and routes, whatever the order."""
    return [
        sorted(shown(*command.split()))
        for command in ("ip neigh show nud permanent", "bridge fdb", "ip route", "ip -6 route")
    ]


def test_strict_rp_filter_of_all_does_not_bind_the_device(node: Namespace) -> None:
    bring(node, cluster("vxlan"))
    assert shown("sysctl", "-n", "net/ipv4/conf/flannel.1/rp_filter") == ["2"]
    assert not [line for line in shown("ip", "-6", "address", "show", "dev", "flannel.1") if "inet6" in line]
