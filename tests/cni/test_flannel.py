"""flannel keeps what it made of each interface until that is gone."""

from __future__ import annotations

from tests.cni.nodes import Node, call

CONF = {"cniVersion": "1.1.0", "name": "net", "type": "flannel", "dataDir": "/run/kept"}
SUBNET = "FLANNEL_NETWORK=10.1.0.0/16\nFLANNEL_SUBNET=10.1.0.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"


def test_gc_tells_interfaces_of_containers_apart(node: Node, plugins: str) -> None:
    node.run("sh", "-c", "mkdir /run/flannel && cat >/run/flannel/subnet.env", stdin=SUBNET)
    netns, flannel = node.container("c"), f"{plugins}/flannel"
    for name in ("net_1", "net_2"):  # whose files begin alike whatever comes between id and name
        call(node, flannel, "ADD", CONF, "c_1", netns=netns, CNI_IFNAME=name)
    valid = {"cni.dev/valid-attachments": [{"containerID": "c_1", "ifname": "net_1"}]}
    call(node, flannel, "GC", {**CONF, **valid})
    assert len(node.files("/run/kept")) == 1 and list(node.leases("net")) == ["10.1.0.2"]
    call(node, flannel, "DEL", CONF, "c_1", CNI_IFNAME="net_1")
    assert node.files("/run/kept") == {} and node.leases("net") == {} and node.links() == ["cni0"]


def test_ipam_of_the_delegate_is_flannels_own(node: Node, plugins: str) -> None:
    netns, delegate = node.container("c"), {"ipam": {"type": "static", "addresses": [{"address": "10.9.9.9/24"}]}}
    error = call(node, f"{plugins}/flannel", "ADD", {**CONF, "delegate": delegate}, netns=netns, status=1)
    assert error["code"] == 7 and "must not have 'ipam'" in error["msg"]
