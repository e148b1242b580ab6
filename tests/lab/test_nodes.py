"""What the nodes hold: all of it by comparing with intent, some of it with the eyes of common tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, List, Tuple

import pytest

from podwire.intent.cluster import Cluster
from podwire.intent.projection import desired, scope
from podwire.kernel import Namespace, show
from podwire.plan import plan
from podwire.sandbox import sandboxes

if TYPE_CHECKING:
    from testinfra.host import Host

    from .conftest import Lab


def look(cluster: Cluster, node: str) -> Tuple[List[str], List[str]]:
    """Inside a node: what a converge would change, and the pods that run."""
    state = desired(cluster, node)
    with Namespace.current(node) as here:
        changes = plan(state, show(here, scope(cluster, node, state)).state)
    return [str(each) for each in changes], sorted(sandboxes.running())


def test_the_node_holds_what_is_declared(lab: Lab, node: str) -> None:
    changes, running = lab.call(node, look)
    assert changes == []
    assert running == sorted(pod.name for pod in lab.cluster.pods_of(node))


def test_the_node_has_a_name_and_forwards(lab: Lab, host: Host) -> None:
    node = lab.cluster.node(host.backend.get_hostname())
    sysctls = {} if node.kind == "ssh" else {"kernel/hostname": node.name}  # machines have names of their own
    if 4 in lab.cluster.versions:
        sysctls["net/ipv4/ip_forward"] = "1"
    if 6 in lab.cluster.versions:
        sysctls["net/ipv6/conf/all/forwarding"] = "1"
    values = host.check_output(" && ".join(f"cat /proc/sys/{key}" for key in sysctls))
    assert values.split() == list(sysctls.values())


def test_flannel_plugins_find_their_lease(lab: Lab, host: Host) -> None:
    node = lab.cluster.node(host.backend.get_hostname())
    keys = dict(line.split("=") for line in host.file("/run/flannel/subnet.env").content_string.split())
    assert keys["FLANNEL_MTU"] == str(lab.cluster.mtu)
    for name, version in (("FLANNEL_SUBNET", 4), ("FLANNEL_IPV6_SUBNET", 6)):
        block = node.pod_cidr(version)
        assert keys.get(name) == (f"{block[1]}/{block.prefixlen}" if block else None)


def test_the_vtep_is_there(lab: Lab, host: Host) -> None:
    if lab.cluster.backend.type != "vxlan" or 4 not in lab.cluster.versions:
        pytest.skip("no IPv4 VXLAN backend")
    needs_ip(host)
    vtep = host.interface(f"flannel.{lab.cluster.backend.vni}")
    block = lab.cluster.node(host.backend.get_hostname()).pod_cidr(4)
    assert vtep.exists and block is not None
    assert str(block[0]) in vtep.addresses


def test_there_is_a_route_to_every_other_block(lab: Lab, host: Host) -> None:
    needs_ip(host)
    me = host.backend.get_hostname()
    for version in lab.cluster.versions:
        routes = {route["dst"] for route in json_of(host, f"ip -{version} -j route show")}
        blocks = {str(node.pod_cidr(version)) for node in lab.cluster.nodes if node.name != me}
        assert blocks <= routes


def needs_ip(host: Host) -> None:
    if not host.exists("ip"):
        pytest.skip("needs iproute2")


def json_of(host: Host, command: str) -> Any:
    return json.loads(host.check_output(command))
