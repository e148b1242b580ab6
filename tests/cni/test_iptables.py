"""ipMasq and portmap where iptables' rules are asked for: the reference's own chains, and nothing left of them."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from tests.cni.nodes import GO, Node, bridge, call, conflist, needs_go
from tests.cni.test_bridge import outside
from tests.cni.test_portmap import TCP, attach, connects

MASQUERADING: Dict[str, Any] = {"ipMasq": True, "ipMasqBackend": "iptables"}
DUAL = {
    "type": "host-local",
    "ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
}
#: iptables' two flavours, chosen as Debian's alternatives do.
FLAVOURS = ("nft", "legacy")


@pytest.fixture(params=FLAVOURS)
def flavoured(request: pytest.FixtureRequest, node: Node) -> Node:
    """A node whose iptables are of one flavour."""
    for command in ("iptables", "ip6tables"):
        for word in ("", "-save", "-restore"):
            real = f"/usr/sbin/{command}-{request.param}{word}"
            if not os.path.exists(real):
                pytest.skip(f"needs {real}")
            node.run("ln", "-sf", real, f"/etc/alternatives/{command}{word}")
    if node.run("iptables", "-t", "nat", "-S", status=None).returncode:
        pytest.skip(f"this kernel lacks iptables-{request.param}")
    return node


def chain(prefix: str, container: str = "c1", network: str = "net") -> str:
    """The reference's utils.FormatChainName."""
    return (prefix + hashlib.sha512((network + container).encode()).hexdigest())[:28]


def saved(node: Node, command: str = "iptables") -> List[str]:
    return [line for line in node.run(f"{command}-save", "-t", "nat").stdout.splitlines() if line[:1] in ":-"]


def left(node: Node) -> List[str]:
    """What is in the tables besides the chains that all containers share."""
    lines = [line for command in ("iptables", "ip6tables") for line in saved(node, command)]
    own = [line for line in lines if "CNI-" in line and "CNI-HOSTPORT-" not in line]
    return own + [line for line in lines if "CNI-DN-" in line]


def network(**more: Any) -> Dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": "net", **bridge(), **MASQUERADING, **more}


def test_masquerade(flavoured: Node, plugins: str) -> None:
    node = flavoured
    outside(node)
    conf = network(ipam=DUAL)
    netns = node.container("c1")
    result = call(node, f"{plugins}/bridge", "ADD", conf, netns=netns)
    own, said = chain("CNI-"), '--comment "name: \\"net\\" id: \\"c1\\""'
    rules = [line for line in saved(node) if own in line]
    assert rules == [
        f":{own} - [0:0]",
        f"-A POSTROUTING -s 10.1.0.2/32 -m comment {said} -j {own}",
        f"-A {own} -d 10.1.0.0/24 -m comment {said} -j ACCEPT",
        f"-A {own} ! -d 224.0.0.0/4 -m comment {said} -j MASQUERADE",
    ]
    assert any(line.startswith(f"-A {own} ! -d ff00::/8 ") for line in saved(node, "ip6tables"))
    assert "masquerad" not in node.run("nft", "list", "tables").stdout
    assert node.reaches("c1", "192.0.2.2"), "the outside knows no way back to 10.1.0.2"
    chained = {**conf, "prevResult": result}
    call(node, f"{plugins}/bridge", "CHECK", chained, netns=netns)
    node.run("iptables", "-t", "nat", "-D", own, "-d", "10.1.0.0/24", *_comment("c1"), "-j", "ACCEPT")
    error = call(node, f"{plugins}/bridge", "CHECK", chained, netns=netns, status=1)
    assert error["code"] == 100 and "-d 10.1.0.0/24" in error["details"]
    call(node, f"{plugins}/bridge", "DEL", chained, netns=netns)
    assert left(node) == []


def _comment(container: str) -> List[str]:
    return ["-m", "comment", "--comment", f'name: "net" id: "{container}"']


@pytest.mark.parametrize("plugin", ["bridge", "ptp"])
@pytest.mark.parametrize("state", ["present", "empty", "gone", "no result"])
def test_del(node: Node, plugins: str, plugin: str, state: str) -> None:
    conf = {**network(), "type": plugin}
    results = [
        call(node, f"{plugins}/{plugin}", "ADD", conf, each, netns=node.container(each)) for each in ("c1", "c2")
    ]
    netns = "" if state == "empty" else "/run/netns/c1"
    if state in ("empty", "gone"):
        node.run("ip", "netns", "del", "c1")
    given = conf if state == "no result" else {**conf, "prevResult": results[0]}
    for _ in range(2):
        call(node, f"{plugins}/{plugin}", "DEL", given, netns=netns)
    assert all(chain("CNI-", "c2") in line for line in left(node)) and len(left(node)) == 4
    call(node, f"{plugins}/{plugin}", "CHECK", {**conf, "prevResult": results[1]}, "c2", netns="/run/netns/c2")


def test_gc_knows_networks_and_containers(node: Node, plugins: str) -> None:
    conf = {**network(), "cniVersion": "1.1.0"}
    for each in ("c1", "c2"):
        call(node, f"{plugins}/bridge", "ADD", conf, each, netns=node.container(each))
    other = {**conf, "name": "other", **bridge("10.2.0.0/24", bridge="cni1")}
    call(node, f"{plugins}/bridge", "ADD", other, "c3", netns=node.container("c3"))
    kept = [{"containerID": "c2", "ifname": "eth0"}]
    call(node, f"{plugins}/bridge", "GC", {**conf, "cni.dev/valid-attachments": kept})
    lines = left(node)
    assert len(lines) == 8
    assert not [line for line in lines if chain("CNI-", "c1") in line]


def test_two_interfaces_of_one_container(node: Node, plugins: str) -> None:
    """The reference's chain is the container's: DEL of one interface leaves the other's rules."""
    conf, netns = network(), node.container("c1")
    conf["ipam"] = {**conf["ipam"], "routes": []}  # only one of them could have the default route
    first = call(node, f"{plugins}/bridge", "ADD", conf, netns=netns)
    second = call(node, f"{plugins}/bridge", "ADD", conf, netns=netns, CNI_IFNAME="net1")
    call(node, f"{plugins}/bridge", "DEL", {**conf, "prevResult": first}, netns=netns)
    assert len(left(node)) == 4 and any("10.1.0.3/32" in line for line in left(node))
    call(node, f"{plugins}/bridge", "CHECK", {**conf, "prevResult": second}, netns=netns, CNI_IFNAME="net1")
    call(node, f"{plugins}/bridge", "DEL", {**conf, "prevResult": second}, netns=netns, CNI_IFNAME="net1")
    assert left(node) == []


def test_a_failed_add_leaves_nothing(node: Node, plugins: str) -> None:
    """In the tables, too: the rules were there when the last step failed."""
    netns = node.container("c1")
    chained = {"cniVersion": "1.0.0", "name": "net", "type": "portmap", "backend": "iptables"}
    ips = [{"address": "10.1.0.2/24", "interface": 1}, {"address": "fd00:1::2/64", "interface": 1}]
    chained["prevResult"] = {"interfaces": [{"name": "lo"}, {"name": "eth0", "sandbox": netns}], "ips": ips}
    chained["runtimeConfig"] = {"portMappings": [TCP]}
    broken = {**chained, "conditionsV6": ["-m", "nosuchmatch"]}
    before = saved(node), saved(node, "ip6tables")
    error = call(node, f"{plugins}/portmap", "ADD", broken, netns=netns, status=1)
    assert error["code"] == 100 and "nosuchmatch" in error["msg"] and "-A CNI-HOSTPORT-DNAT" in error["details"]
    after = saved(node), saved(node, "ip6tables")
    assert [line for lines in after for line in lines if "CNI" in line] == [], before
    external = {**chained, "externalSetMarkChain": "NOT-THERE"}
    error = call(node, f"{plugins}/portmap", "ADD", external, netns=netns, status=1)
    assert error["code"] == 100 and "NOT-THERE" in error["msg"]
    assert left(node) == []


def test_ports(flavoured: Node, plugins: str) -> None:
    node = flavoured
    netns, conf = attach(node, plugins, TCP, {**TCP, "hostPort": 8081, "hostIP": "10.1.0.1"}, backend="iptables")
    own = chain("CNI-DN-")
    rules = saved(node)
    said = '-m comment --comment "dnat name: \\"net\\" id: \\"c1\\""'
    assert f"-A CNI-HOSTPORT-DNAT -p tcp {said} -m multiport --dports 8080,8081 -j {own}" in rules
    assert [line for line in rules if line.startswith(f"-A {own} ")][-2:] == [
        f"-A {own} -d 10.1.0.1/32 -p tcp -m tcp --dport 8081 -j DNAT --to-destination 10.1.0.2:9",
        f"-A {own} -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.1.0.2:9",
    ]
    for source in ("10.1.0.0/24", "127.0.0.1/32"):
        assert f"-A {own} -s {source} -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK" in rules
    for each in ("PREROUTING", "OUTPUT"):
        assert f"-A {each} -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT" in rules
    assert "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE" in rules
    assert next(line for line in rules if line.startswith("-A POSTROUTING")).endswith("-j CNI-HOSTPORT-MASQ")
    assert connects(node, "127.0.0.1") and connects(node, "10.1.0.1") and connects(node, "10.1.0.1", 8081)
    assert not connects(node, "127.0.0.1", 8081) or node.run("true", status=None), "hostIP"
    call(node, f"{plugins}/portmap", "CHECK", conf, netns=netns)
    node.run("iptables", "-t", "nat", "-F", own)
    assert call(node, f"{plugins}/portmap", "CHECK", conf, netns=netns, status=1)["code"] == 100
    call(node, f"{plugins}/portmap", "DEL", conf, netns=netns)
    assert left(node) == [] and "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE" in saved(node)


def test_a_rule_that_is_there_twice(node: Node, plugins: str) -> None:
    """As the reference makes of a port that is mapped twice."""
    _, conf = attach(node, plugins, TCP, TCP, backend="iptables")
    (rule,) = [line for line in saved(node) if "-j DNAT" in line]
    node.run("iptables", "-t", "nat", *rule.split())
    call(node, f"{plugins}/portmap", "CHECK", conf, netns="/run/netns/c1")
    call(node, f"{plugins}/portmap", "DEL", conf, netns="")
    assert left(node) == []


def test_more_ports_than_a_rule_takes(node: Node, plugins: str) -> None:
    mappings = [{**TCP, "hostPort": 8000 + number} for number in range(31)]
    _, conf = attach(node, plugins, *mappings, backend="iptables")
    listed = [line.split("--dports ")[1].split()[0] for line in saved(node) if "--dports" in line]
    assert [len(each.split(",")) for each in listed] == [15, 15, 1]
    call(node, f"{plugins}/portmap", "CHECK", conf, netns="/run/netns/c1")
    call(node, f"{plugins}/portmap", "DEL", conf, netns="")
    assert left(node) == []


@pytest.mark.parametrize(
    ("keys", "present", "absent"),
    [
        ({"backend": "iptables", "snat": False}, "-j DNAT", "SETMARK"),
        ({"backend": "iptables", "masqAll": True}, "-p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK", "127.0.0.1"),
        ({"markMasqBit": 5}, "-j MARK --set-xmark 0x20/0x20", "0x2000"),
        ({"markMasqBit": 0}, "-m mark --mark 0x1/0x1 -j MASQUERADE", "0x2000"),
        ({"externalSetMarkChain": "KUBE-MARK-MASQ"}, "--dport 8080 -j KUBE-MARK-MASQ", "CNI-HOSTPORT-SETMARK"),
        ({"backend": "iptables", "conditionsV4": ["!", "-s", "192.0.2.1"]}, "! -s 192.0.2.1/32 -p tcp", "never"),
        # in words that iptables-save writes otherwise, and that no other backend knows
        ({"conditionsV4": ["--syn", "-m", "mark", "--mark", "0"]}, "--tcp-flags FIN,SYN,RST,ACK SYN", "never"),
    ],
)
def test_keys(node: Node, plugins: str, keys: Dict[str, Any], present: str, absent: str) -> None:
    node.run("iptables", "-t", "nat", "-N", "KUBE-MARK-MASQ")
    _, conf = attach(node, plugins, TCP, **keys)
    lines = [line for line in saved(node) if "KUBE" not in line or "KUBE" in present]
    assert any(present in line for line in lines), lines
    assert not [line for line in lines if absent in line]
    call(node, f"{plugins}/portmap", "CHECK", conf, netns="/run/netns/c1")
    again = saved(node)
    call(node, f"{plugins}/portmap", "ADD", conf, netns="/run/netns/c1")
    assert saved(node) == again, "what is there is not added twice"
    call(node, f"{plugins}/portmap", "DEL", conf, netns="/run/netns/c1")
    assert left(node) == []


def test_rules_of_the_other_backend_go(node: Node, plugins: str) -> None:
    """Whoever changes a backend does so under running containers."""
    for before, after in (("iptables", "nftables"), ("nftables", "iptables")):
        netns, ports = attach(node, plugins, TCP, backend=before)
        conf = network(ipMasqBackend=before)
        call(node, f"{plugins}/bridge", "ADD", conf, "c2", netns=node.container("c2"))
        assert "dnat" in node.rules() and "masquerade" in node.rules().lower()
        call(node, f"{plugins}/portmap", "DEL", {**ports, "backend": after}, netns=netns)
        call(node, f"{plugins}/bridge", "DEL", network(ipMasqBackend=after), "c2", netns="")
        call(node, f"{plugins}/bridge", "DEL", network(), "c1", netns=netns)
        assert left(node) == [] and "10.1.0." not in node.rules()
        for each in ("c1", "c2"):
            node.run("ip", "netns", "del", each)


def test_rules_of_the_flavour_that_was_are_removed(flavoured: Node, plugins: str) -> None:
    """update-alternatives under a running container."""
    node = flavoured
    conf = network()
    call(node, f"{plugins}/bridge", "ADD", conf, netns=node.container("c1"))
    other = {"nft": "legacy", "legacy": "nft"}["nft" if "CNI-" in node.rules() else "legacy"]
    assert len(left(node)) == 4
    for word in ("", "-save", "-restore"):
        node.run("ln", "-sf", f"/usr/sbin/iptables-{other}{word}", f"/etc/alternatives/iptables{word}")
    call(node, f"{plugins}/bridge", "DEL", conf, netns="")
    for flavour in FLAVOURS:
        assert "CNI-" not in node.run(f"iptables-{flavour}-save", "-t", "nat").stdout


def test_many_at_once(node: Node, plugins: str) -> None:
    conf = network()
    names = [f"c{number}" for number in range(8)]
    for each in names:
        node.container(each)

    def do(command: str, name: str) -> None:
        call(node, f"{plugins}/bridge", command, conf, name, netns=f"/run/netns/{name}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: do("ADD", name), names))
        assert len(left(node)) == 4 * len(names)
        list(pool.map(lambda name: do("DEL", name), names))
    assert left(node) == []


def test_without_iptables(node: Node, plugins: str, tmp_path: Path) -> None:
    for each in Path("/usr/sbin").glob("*tables*"):
        node.run("mount", "--bind", "/dev/null", str(each))
    netns = node.container("c1")
    error = call(node, f"{plugins}/bridge", "ADD", network(), netns=netns, status=1)
    assert error["code"] == 100 and "iptables-save: there is none" in error["msg"]
    assert "install iptables" in error["details"]
    assert node.links() == ["cni0"] or node.links() == []
    assert node.leases("net") == {}
    call(node, f"{plugins}/bridge", "ADD", network(ipMasqBackend="nftables"), netns=netns)
    call(node, f"{plugins}/bridge", "DEL", network(), netns=netns)


def test_the_runtime_in_one_process(node: Node, plugins: str) -> None:
    """A batch of attachments, whose rules are one transaction."""
    folder = node.home / "net.d"
    folder.mkdir()
    (folder / "10-net.conflist").write_text(conflist({**bridge(), **MASQUERADING}))
    environ = {"NETCONFPATH": str(folder), "CNI_PATH": plugins}
    for name in ("a", "b"):
        node.podwire("cni", "add", "net", node.container(name), **environ)
    assert len(left(node)) == 8
    node.podwire("cni", "check", "net", "/run/netns/a", **environ)
    node.run("iptables", "-t", "nat", "-F", "POSTROUTING")
    node.podwire("cni", "check", "net", "/run/netns/a", status=1, **environ)
    for name in ("a", "b"):
        node.podwire("cni", "del", "net", f"/run/netns/{name}", **environ)
    assert left(node) == []


@pytest.fixture
def directories(plugins: str) -> Iterator[Dict[str, str]]:
    yield {"go": GO, "our": plugins}


@needs_go
@pytest.mark.parametrize(("first", "second"), [("go", "our"), ("our", "go")])
def test_what_one_added_the_other_removes(node: Node, directories: Dict[str, str], first: str, second: str) -> None:
    """Go's plugins and podwire's, executable by executable."""
    netns = node.container("c1")
    conf = {"cniVersion": "1.0.0", "name": "net", **bridge(ipMasq=True, ipMasqBackend="iptables")}
    result = call(node, f"{directories[first]}/bridge", "ADD", conf, netns=netns)
    ports = {"cniVersion": "1.0.0", "name": "net", "type": "portmap", "backend": "iptables", "prevResult": result}
    ports["runtimeConfig"] = {"portMappings": [TCP, {**TCP, "hostPort": 8081, "protocol": "udp"}]}
    call(node, f"{directories[first]}/portmap", "ADD", ports, netns=netns)
    made = saved(node)
    assert any(chain("CNI-DN-") in line for line in made) and any(chain("CNI-") in line for line in made)
    call(node, f"{directories['our']}/portmap", "CHECK", ports, netns=netns)
    call(node, f"{directories[second]}/portmap", "DEL", ports, netns=netns)
    call(node, f"{directories[second]}/bridge", "DEL", {**conf, "prevResult": result}, netns=netns)
    assert left(node) == []


@needs_go
def test_gc_of_what_the_reference_left(node: Node, plugins: str) -> None:
    """The leak of its DEL where the namespace is gone (plugins issue 810)."""
    netns = node.container("c1")
    conf = {"cniVersion": "1.0.0", "name": "net", **bridge(ipMasq=True)}
    result = call(node, f"{GO}/bridge", "ADD", conf, netns=netns)
    node.run("ip", "netns", "del", "c1")
    call(node, f"{GO}/bridge", "DEL", {**conf, "prevResult": result}, netns="")
    assert len(left(node)) == 4, "it does not leak any more"
    call(node, f"{plugins}/bridge", "GC", {**conf, "cniVersion": "1.1.0", "cni.dev/valid-attachments": []})
    assert left(node) == []


def test_a_comment_is_cut_to_what_fits(node: Node, plugins: str) -> None:
    name = "c" * 200
    conf = network(name="n" * 60)
    call(node, f"{plugins}/bridge", "ADD", conf, name, netns=node.container("c1"))
    assert len(left(node)) == 4
    call(node, f"{plugins}/bridge", "GC", {**conf, "cniVersion": "1.1.0", "cni.dev/valid-attachments": []})
    assert left(node) == []


def test_words_are_read_as_they_are_written() -> None:
    from hypothesis import given
    from hypothesis import strategies as st

    from podwire.kernel.iptables.rules import join, split

    @given(st.lists(st.text(alphabet="ab-,/.\"\\' \t#", min_size=1), min_size=1))
    def check(words: List[str]) -> None:
        if not any("\t" in word for word in words):
            assert split(join(words)) == tuple(words)

    check()
