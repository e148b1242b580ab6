"""vlan, vlanTrunk and preserveDefaultVlan of bridge, where the kernel filters VLANs; and what it says where not."""

from __future__ import annotations

import subprocess
from typing import Any, Dict, List, Set

import pytest

from podwire.cni.plugins.naming import host_veth
from podwire.cni.spec.netconf import Attachment
from tests.cni.nodes import Node, bridge, call

PORT = host_veth(Attachment("c1"))


def lacks_filtering() -> bool:
    command = ["unshare", "--net", "ip", "link", "add", "probe", "type", "bridge", "vlan_filtering", "1"]
    return subprocess.run(command, capture_output=True).returncode != 0


needs_filtering = pytest.mark.skipif(
    lacks_filtering(), reason="needs VLAN filtering of bridges (CONFIG_BRIDGE_VLAN_FILTERING)"
)


def conf(subnet: str = "10.1.0.0/24", **keys: Any) -> Dict[str, Any]:
    return {"cniVersion": "1.1.0", "name": "net", **bridge(subnet), **keys}


def vlans(node: Node, port: str) -> Set[str]:
    """As ``100 pvid untagged``."""
    found = set()
    for each in node.json("bridge", "-j", "vlan", "show", "dev", port):
        for vlan in each["vlans"]:
            numbers = range(vlan["vlan"], vlan.get("vlanEnd", vlan["vlan"]) + 1)
            words = "".join(f" {flag.split()[-1].lower()}" for flag in sorted(vlan.get("flags", []), reverse=True))
            found |= {f"{number}{words}" for number in numbers}
    return found


@pytest.mark.skipif(not lacks_filtering(), reason="this kernel filters VLANs of bridges")
@pytest.mark.parametrize("keys", [{"vlan": 100}, {"vlanTrunk": [{"id": 101}]}, {"vlanTrunk": []}])
def test_a_kernel_without_filtering_is_told(node: Node, plugins: str, keys: Dict[str, Any]) -> None:
    error = call(node, f"{plugins}/bridge", "ADD", conf(**keys), netns=node.container("c1"), status=1)
    assert error["code"] == 2 and "VLAN filtering of bridges" in error["msg"]
    assert "vlan 100" in error["msg"] or "vlanTrunk" in error["msg"]
    assert node.links() == [] and node.leases("net") == {}


@needs_filtering
@pytest.mark.parametrize("preserved", [True, False])
def test_an_access_port(node: Node, plugins: str, preserved: bool) -> None:
    keys = {"vlan": 100, "preserveDefaultVlan": preserved}
    results: List[Any] = []
    for name in ("c1", "c2"):
        results.append(call(node, f"{plugins}/bridge", "ADD", conf(**keys), name, netns=node.container(name)))
    assert vlans(node, PORT) == {"100 pvid untagged"} | ({"1 untagged"} if preserved else set())
    assert [each["name"] for each in results[0]["interfaces"]] == ["cni0", PORT, "eth0", "cni0.100"]
    assert "10.1.0.1/24" in node.run("ip", "addr", "show", "cni0.100").stdout
    assert node.reaches("c1", "10.1.0.3") and node.reaches("c2", "10.1.0.1")
    other = conf("10.1.0.0/24", vlan=200, preserveDefaultVlan=False, isGateway=False)
    other["ipam"] = {**other["ipam"], "ranges": [[{"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.100"}]]}
    call(node, f"{plugins}/bridge", "ADD", other, "c3", netns=node.container("c3"))
    assert not node.reaches("c3", "10.1.0.2") and not node.reaches("c1", "10.1.0.100")
    chained = {**conf(**keys), "prevResult": results[0]}
    call(node, f"{plugins}/bridge", "CHECK", chained, netns="/run/netns/c1")
    node.run("bridge", "vlan", "del", "dev", PORT, "vid", "100")
    error = call(node, f"{plugins}/bridge", "CHECK", chained, netns="/run/netns/c1", status=1)
    assert "vlans 100 pvid untagged" in error["details"]
    for name in ("c1", "c2", "c3"):
        call(node, f"{plugins}/bridge", "DEL", conf(**keys), name, netns=f"/run/netns/{name}")
    assert sorted(node.links()) == sorted(["cni0", "cni0.100", host_veth(Attachment("cni0", "cni0.100"))])


@needs_filtering
def test_a_trunk_port(node: Node, plugins: str) -> None:
    keys = {"vlanTrunk": [{"id": 101}, {"minID": 200, "maxID": 203}], "preserveDefaultVlan": False}
    result = call(node, f"{plugins}/bridge", "ADD", conf(**keys), netns=node.container("c1"))
    assert vlans(node, PORT) == {"101", "200", "201", "202", "203"}
    call(node, f"{plugins}/bridge", "CHECK", {**conf(**keys), "prevResult": result}, netns="/run/netns/c1")


@needs_filtering
def test_a_bridge_that_is_there_learns_to_filter(node: Node, plugins: str) -> None:
    call(node, f"{plugins}/bridge", "ADD", conf(), "c0", netns=node.container("c0"))
    call(node, f"{plugins}/bridge", "ADD", conf("10.2.0.0/24", vlan=100), netns=node.container("c1"))
    shown = node.json("ip", "-j", "-d", "link", "show", "cni0")[0]["linkinfo"]["info_data"]
    assert shown["vlan_filtering"] == 1
    assert node.reaches("c0", "10.1.0.1") and node.reaches("c1", "10.2.0.1")
