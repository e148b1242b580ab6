"""podwire's runtime with plugins of all kinds: the reference's, its own, chains of both, and shell scripts."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Callable, Dict

import pytest

from tests.cni.nodes import GO, Node, bridge, conflist, needs_go

CACHE = "/var/lib/cni/results"


@pytest.fixture
def network(node: Node) -> Callable[[str], Dict[str, str]]:
    """``network(text)`` writes a list where NETCONFPATH says; the environment for it."""

    def write(text: str) -> Dict[str, str]:
        folder = node.home / "net.d"
        folder.mkdir(exist_ok=True)
        (folder / "10-net.conflist").write_text(text)
        return {"NETCONFPATH": str(folder)}

    return write


def script(folder: Path, name: str, body: str) -> str:
    """A plugin as shell script; its directory. It keeps the environment and stdin of every call in ``calls``."""
    plugins = folder / "plugins"
    plugins.mkdir(exist_ok=True)
    path = plugins / name
    keep = f'n=$(ls {plugins} | grep -c "^call-{name}"); env >{plugins}/env-{name}-$n; cat >{plugins}/call-{name}-$n\n'
    keep += f"echo $CNI_COMMAND {name} >>{plugins}/log\n"
    path.write_text(f"#!/bin/sh\n{keep}{body}\n")
    path.chmod(0o755)
    return str(plugins)


def calls(folder: str, name: str) -> list[tuple[str, Any]]:
    """(CNI_COMMAND, stdin) of every call of a script, in order."""
    found = []
    for path in sorted(Path(folder).glob(f"call-{name}-*"), key=lambda each: int(each.name.rpartition("-")[2])):
        environ = path.with_name(path.name.replace("call-", "env-")).read_text()
        command = next(line for line in environ.splitlines() if line.startswith("CNI_COMMAND="))
        found.append((command.partition("=")[2], json.loads(path.read_text())))
    return found


RESULT = '{"cniVersion": "1.0.0", "ips": [{"address": "10.9.0.2/24", "gateway": "10.9.0.1"}], "dns": {"domain": "x"}}'
#: Answers ADD with the previous result, or RESULT.
ECHO = f"[ \"$CNI_COMMAND\" = ADD ] && echo '{RESULT}'; exit 0"


@needs_go
@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_the_reference_s_plugins_as_cnitool_runs_them(
    node: Node, network: Callable[[str], Dict[str, str]], version: str
) -> None:
    firewall = {"type": "firewall", "backend": "iptables"} if version >= "0.4.0" else {"type": "tuning"}
    environ = {**network(conflist(bridge(), firewall, version=version)), "CNI_PATH": GO}
    paths = {name: node.container(name) for name in ("a", "b")}
    addresses = {}
    for name, path in paths.items():
        result = json.loads(node.podwire("cni", "add", "net", path, **environ).stdout)
        assert result["cniVersion"] == version
        addresses[name] = result["ips"][0]["address"].partition("/")[0]
    assert node.reaches("a", addresses["b"]) and node.reaches("b", addresses["a"])
    (cached, _) = [json.loads(text) for _, text in sorted(node.files(CACHE).items())]
    assert cached["kind"] == "cniCacheV1"
    assert json.loads(base64.b64decode(cached["config"]))["name"] == "net"
    if version >= "0.4.0":
        node.podwire("cni", "check", "net", paths["a"], **environ)
        node.run("ip", "-n", "a", "addr", "flush", "dev", "eth0")
        assert "10.1.0.2" in node.podwire("cni", "check", "net", paths["a"], status=1, **environ).stderr
    else:
        assert "does not support CHECK" in node.podwire("cni", "check", "net", paths["a"], status=1, **environ).stderr
    for path in (*paths.values(), paths["a"]):
        node.podwire("cni", "del", "net", path, **environ)
    assert node.links() == ["cni0"]
    assert node.leases("net") == {} and node.files(CACHE) == {}
    assert "10.1.0" not in node.rules()


@needs_go
def test_a_failed_add_leaves_nothing(node: Node, network: Callable[[str], Dict[str, str]]) -> None:
    plugins = script(node.home, "bad", 'echo \'{"code": 123, "msg": "no", "details": "why"}\'; exit 1')
    environ = {**network(conflist(bridge(), {"type": "bad"})), "CNI_PATH": f"{plugins}:{GO}"}
    failed = node.podwire("cni", "add", "net", node.container("a"), status=1, **environ)
    assert failed.stdout == "" and failed.stderr == "podwire: no (why)\n"
    assert [command for command, _ in calls(plugins, "bad")] == ["ADD", "DEL"]
    assert node.links() == ["cni0"]
    assert node.leases("net") == {} and node.files(CACHE) == {}


def test_what_cni_path_lacks_is_missing(node: Node, network: Callable[[str], Dict[str, str]], plugins: str) -> None:
    environ = network(conflist(bridge()))
    path = node.container("a")
    empty = str(node.home / "empty")
    failed = node.podwire("cni", "add", "net", path, status=1, **{**environ, "CNI_PATH": empty})
    assert f"failed to find plugin \"bridge\" in path ['{empty}']" in failed.stderr
    assert node.links() == []
    node.podwire("cni", "add", "net", path, **{**environ, "CNI_PATH": plugins})
    node.podwire("cni", "del", "net", path, **{**environ, "CNI_PATH": plugins})


def test_a_chain_hands_on_results_and_undoes_in_reverse(node: Node, network: Callable[[str], Dict[str, str]]) -> None:
    script(node.home, "one", ECHO)
    plugins = script(node.home, "two", f"echo from two >&2; {ECHO.replace('10.9.0.2', '10.9.0.3')}")
    environ = {**network(conflist({"type": "one"}, {"type": "two", "key": [1]}, version="1.1.0")), "CNI_PATH": plugins}
    path = node.container("a")
    added = node.podwire("cni", "add", "net", path, **environ)
    assert json.loads(added.stdout)["ips"][0]["address"] == "10.9.0.3/24"
    assert added.stderr == "from two\n"
    for command in ("check", "del", "status"):
        node.podwire("cni", command, "net", path, **environ)
    order = ["ADD one", "ADD two", "CHECK one", "CHECK two", "DEL two", "DEL one", "STATUS one", "STATUS two"]
    assert Path(plugins, "log").read_text().splitlines() == order
    one, two = calls(plugins, "one"), calls(plugins, "two")
    assert [command for command, _ in one] == [command for command, _ in two] == ["ADD", "CHECK", "DEL", "STATUS"]
    assert "prevResult" not in one[0][1] and "prevResult" not in one[3][1]
    assert two[0][1]["prevResult"]["ips"][0]["address"] == "10.9.0.2/24"
    assert two[0][1]["prevResult"]["dns"] == {"domain": "x"}
    assert {each["prevResult"]["ips"][0]["address"] for _, each in one[1:3] + two[1:3]} == {"10.9.0.3/24"}
    assert all(each["name"] == "net" and each["cniVersion"] == "1.1.0" and each["key"] == [1] for _, each in two)


def test_capabilities_and_arguments(node: Node, network: Callable[[str], Dict[str, str]]) -> None:
    plugins = script(node.home, "one", ECHO)
    ports = [{"hostPort": 80, "containerPort": 8080}]
    declared = {"type": "one", "capabilities": {"portMappings": True, "bandwidth": False}}
    environ = {
        **network(conflist(declared)),
        "CNI_PATH": plugins,
        "CAP_ARGS": json.dumps({"portMappings": ports, "bandwidth": {"ingressRate": 1}, "mac": "0"}),
        "CNI_ARGS": "IgnoreUnknown=1;K=V",
        "CNI_IFNAME": "net1",
    }
    path = node.container("a")
    node.podwire("cni", "add", "net", path, **environ)
    (call,) = calls(plugins, "one")
    assert call[1]["runtimeConfig"] == {"portMappings": ports}
    seen = Path(plugins, "env-one-0").read_text().splitlines()
    assert {"CNI_ARGS=IgnoreUnknown=1;K=V", "CNI_IFNAME=net1", f"CNI_NETNS={path}", f"CNI_PATH={plugins}"} <= {*seen}
    ((name, text),) = node.files(CACHE).items()
    cached = json.loads(text)
    assert name == f"net-{cached['containerId']}-net1" and name.startswith("net-cnitool-")
    assert cached["cniArgs"] == [["IgnoreUnknown", "1"], ["K", "V"]]
    assert cached["capabilityArgs"]["portMappings"] == ports
    # GC has no arguments of its own: the DEL of a stale attachment gets those of its ADD.
    node.podwire("cni", "gc", "net", path, NETCONFPATH=environ["NETCONFPATH"], CNI_PATH=plugins)
    assert calls(plugins, "one")[1][0] == "DEL"
    assert calls(plugins, "one")[1][1]["runtimeConfig"] == {"portMappings": ports}
    assert "CNI_ARGS=IgnoreUnknown=1;K=V" in Path(plugins, "env-one-1").read_text().splitlines()
    assert node.files(CACHE) == {}


def test_gc_dels_stale_attachments_and_then_goes_forward(node: Node, network: Callable[[str], Dict[str, str]]) -> None:
    script(node.home, "one", ECHO)
    plugins = script(node.home, "two", ECHO)
    environ = {**network(conflist({"type": "one"}, {"type": "two"}, version="1.1.0")), "CNI_PATH": plugins}
    node.podwire("cni", "add", "net", node.container("a"), **environ)
    node.podwire("cni", "gc", "net", **environ)
    for name in ("one", "two"):
        (add, _), (delete, _), (collect, conf) = calls(plugins, name)
        assert (add, delete, collect) == ("ADD", "DEL", "GC")
        assert conf["cni.dev/valid-attachments"] == conf["cni.dev/attachments"] == []
    network(conflist({"type": "one"}, {"type": "two"}, version="1.1.0", disableGC=True))
    node.podwire("cni", "add", "net", "/run/netns/a", **environ)
    node.podwire("cni", "gc", "net", "/run/netns/a", **environ)
    assert len(calls(plugins, "one")) == 4 and len(node.files(CACHE)) == 1


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("exit 3", "ended with status 3 and said nothing"),
        ("echo broken >&2; exit 1", "ended with status 1: broken"),
        ("echo broken; exit 1", "without a JSON error: 'broken'"),
        ("kill -9 $$", "was killed by signal 9"),
        ("echo []; exit 0", "not a JSON object"),
        ("exit 0", "failed to decode"),
        ("exec sleep 100", "did not end within 0.5 s"),
    ],
)
def test_plugins_that_misbehave(node: Node, network: Callable[[str], Dict[str, str]], body: str, said: str) -> None:
    plugins = script(node.home, "one", f'[ "$CNI_COMMAND" = DEL ] && exit 0; {body}')
    environ = {**network(conflist({"type": "one"})), "CNI_PATH": plugins}
    failed = node.podwire("cni", "add", "net", node.container("a"), "--timeout=0.5", status=1, **environ)
    assert said in failed.stderr
    assert node.files(CACHE) == {}


def test_a_plugin_that_is_being_written_is_waited_for(node: Node, network: Callable[[str], Dict[str, str]]) -> None:
    plugins = node.home / "plugins"
    plugins.mkdir()
    copy = plugins / "true"
    copy.write_bytes(Path("/bin/true").read_bytes())
    copy.chmod(0o755)
    environ = {**network(conflist({"type": "true"})), "CNI_PATH": str(plugins)}
    path = node.container("a")
    with copy.open("ab"):
        refused = node.podwire("cni", "del", "net", path, status=1, **environ)
    assert "Text file busy" in refused.stderr
    node.podwire("cni", "del", "net", path, **environ)


def test_where_lists_come_from(node: Node, network: Callable[[str], Dict[str, str]]) -> None:
    plugins = script(node.home, "one", ECHO)
    script(node.home, "two", ECHO)
    data = {
        "cniVersion": "0.4.0",
        "cniVersions": ["0.3.1", "1.1.0", "9.0.0"],
        "name": "net",
        "plugins": [{"type": "one"}],
    }
    environ = {**network(json.dumps(data)), "CNI_PATH": plugins}
    folder = Path(environ["NETCONFPATH"])
    (folder / "net").mkdir()
    (folder / "net" / "20-more.conf").write_text('{"type": "two"}')
    (folder / "05-single.conf").write_text('{"cniVersion": "0.4.0", "name": "single", "type": "one"}')
    path = node.container("a")
    assert json.loads(node.podwire("cni", "add", "net", path, **environ).stdout)["cniVersion"] == "1.1.0"
    assert [command for command, _ in calls(plugins, "two")] == ["ADD"]
    network(json.dumps({**data, "loadOnlyInlinedPlugins": True}))
    node.podwire("cni", "del", "net", path, **environ)
    assert len(calls(plugins, "two")) == 1
    assert json.loads(node.podwire("cni", "add", "single", path, **environ).stdout)["cniVersion"] == "0.4.0"
    missing = node.podwire("cni", "add", "nowhere", path, status=1, **environ).stderr
    assert "no net configuration with name 'nowhere'" in missing
    network(conflist({"type": "three"}))
    assert 'failed to find plugin "three"' in node.podwire("cni", "add", "net", path, status=1, **environ).stderr
    network(conflist({"type": "../one"}))
    assert "invalid plugin type '../one'" in node.podwire("cni", "add", "net", path, status=1, **environ).stderr


def test_podwire_s_own_plugins_need_no_directory(node: Node, network: Callable[[str], Dict[str, str]]) -> None:
    environ = network(conflist(bridge(), version="1.1.0"))
    paths = [node.container(name) for name in ("a", "b")]
    for path in paths:
        node.podwire("cni", "add", "net", path, **environ)
        node.podwire("cni", "check", "net", path, **environ)
    assert node.reaches("a", "10.1.0.3")
    node.podwire("cni", "status", "net", paths[0], **environ)
    node.podwire("cni", "gc", "net", paths[0], **environ)
    assert node.links() == ["cni0"] and node.leases("net") == {} and node.files(CACHE) == {}
