"""Any bytes on stdin, any environment: exit status 1 and one JSON error, and nothing has changed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from podwire.cni.install.executables import NAMES
from tests.cni.calls import Worker, attached, configuration, environ, error_of
from tests.cni.nodes import start_node

COMMANDS = ("ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION")
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            "/",
            "..",
            "../x",
            "a/b",
            "/etc/passwd",
            "\0",
            "a" * 300,
            "10.1.0.0/33",
            "::/0",
            "1.2.3",
            "-1",
            "\ud7ff",
            "Ω",
        ]
    ),
    st.lists(st.integers(), max_size=2),
    st.builds(lambda: [[]]),
    st.builds(dict),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)
#: Values of the environment; a NUL cannot be in one.
WORDS = st.one_of(
    st.sampled_from(
        ["", "/", "..", "a/b", "eth0:1", "eth 0", "x" * 16, "/nowhere", "/proc/self/ns/net", "/etc/passwd", "K=V"]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
FUZZ = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, plugins: str) -> Iterator[Worker]:
    """One node for all examples; each leaves it as it was."""
    node = start_node(tmp_path_factory.mktemp("node"))
    made = Worker(node, plugins)
    yield made
    made.end()
    node.end()


def paths(value: Any, here: Tuple[Any, ...] = ()) -> List[Tuple[Any, ...]]:
    """Where values stand in a JSON value."""
    found = [here]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        found += paths(each, (*here, key))
    return found


@st.composite
def spoilt(draw: st.DrawFn, plugin: str) -> Any:
    """A valid configuration with some values replaced or removed."""
    data: Any = copy.deepcopy(configuration(plugin))
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(paths(data)))
        if not where:
            return draw(JUNK)
        parent = data
        for key in where[:-1]:
            parent = parent[key]
        if draw(st.booleans()):
            parent[where[-1]] = draw(JUNK)
        else:
            del parent[where[-1]]
        if not isinstance(data, dict):
            break
    return data


@st.composite
def surroundings(draw: st.DrawFn) -> Dict[str, str]:
    """A valid environment, at times with something replaced or removed."""
    found = environ(draw(st.sampled_from(COMMANDS)))
    for key in draw(st.lists(st.sampled_from([*found, "CNI_ARGS", "CNI_NETNS_OVERRIDE"]), max_size=2)):
        if key == "PATH":
            continue
        if draw(st.booleans()):
            found[key] = draw(WORDS)
        else:
            found.pop(key, None)
    return found


def hold(worker: Worker, plugin: str, stdin: bytes, environment: Dict[str, str]) -> None:
    """One call: either it fails properly and changed nothing, or what it did can be undone."""
    clean = {**environment, "CNI_COMMAND": "DEL"}
    before = worker.state
    answer = worker(plugin, stdin, environment)
    if answer.status == 1:
        error_of(answer)
        assert {**answer.state, "files": known(answer.state)} == {**before, "files": known(before)}
    elif answer.status == 0 and environment.get("CNI_COMMAND") == "ADD":
        assert isinstance(json.loads(answer.stdout), dict)
        undone = worker(plugin, stdin, clean)
        assert undone.status == 0, undone.stdout
        assert attached(undone.state) == []
    else:
        assert answer.status == 0, answer.stdout
        assert environment.get("CNI_COMMAND") in (None, "", "VERSION") or not answer.stdout


def known(state: Dict[str, Any]) -> Dict[str, str]:
    """Files but for those that a refused request may leave: directories, the lock, and the index of leases."""
    return {
        path: digest
        for path, digest in state["files"].items()
        if digest != "a directory" and not path.endswith("/lock") and "/.podwire" not in path
    }


@pytest.mark.parametrize("plugin", NAMES)
def test_spoilt_configurations(worker: Worker, plugin: str) -> None:
    @FUZZ
    @given(spoilt(plugin), st.sampled_from(COMMANDS))
    def run(data: Any, command: str) -> None:
        hold(worker, plugin, json.dumps(data).encode(), environ(command))

    run()


@pytest.mark.parametrize("plugin", NAMES)
def test_spoilt_environments(worker: Worker, plugin: str) -> None:
    @FUZZ
    @given(surroundings())
    def run(environment: Dict[str, str]) -> None:
        hold(worker, plugin, json.dumps(configuration(plugin)).encode(), environment)

    run()


@pytest.mark.parametrize("plugin", NAMES)
def test_spoilt_bytes(worker: Worker, plugin: str) -> None:
    text = json.dumps(configuration(plugin)).encode()

    @FUZZ
    @given(st.integers(0, len(text)), st.integers(0, 8), st.binary(max_size=8), st.sampled_from(COMMANDS))
    def run(at: int, length: int, put: bytes, command: str) -> None:
        hold(worker, plugin, text[:at] + put + text[at + length :], environ(command))

    run()


@pytest.mark.parametrize("plugin", NAMES)
@pytest.mark.parametrize(
    ("changes", "surrounding", "code"),
    [
        ({}, {"CNI_CONTAINERID": "../c1"}, 4),
        ({}, {"CNI_IFNAME": "a/b"}, 4),
        ({}, {"CNI_IFNAME": "eth%d"}, 4),
        ({}, {"CNI_IFNAME": "\udcff"}, 4),
        ({}, {"CNI_COMMAND": "ATTACH"}, 4),
        ({}, {"CNI_CONTAINERID": ""}, 4),
        ({"name": "../other"}, {}, 7),
        ({"name": ".."}, {}, 7),
        ({"name": "a/b"}, {}, 7),
        ({"name": ""}, {}, 7),
        ({"bridge": "\ud800", "dataDir": "\ud800"}, {}, 6),
        ({"cniVersion": "9.9.9"}, {}, 1),
        ({}, {"CNI_NETNS": "/proc/self/ns/net"}, 8),
    ],
)
def test_codes(worker: Worker, plugin: str, changes: Dict[str, Any], surrounding: Dict[str, str], code: int) -> None:
    before = worker.state
    answer = worker(plugin, json.dumps({**configuration(plugin), **changes}).encode(), {**environ(), **surrounding})
    assert error_of(answer)["code"] == code
    assert answer.state == before


@pytest.mark.parametrize("name", ["br%d", "a b", "a:b", "", "0123456789abcdef"])
def test_no_configuration_makes_the_kernel_choose_a_name(worker: Worker, name: str) -> None:
    before = worker.state
    data = {"cniVersion": "1.1.0", "name": "net", "type": "bridge", "bridge": name}
    answer = worker("bridge", json.dumps(data).encode(), environ())
    assert error_of(answer)["code"] == 7
    assert answer.state == before


@pytest.mark.parametrize("where", ["args", "runtimeConfig"])
@pytest.mark.parametrize("ips", [5, "10.1.0.20", {"a": 1}])
def test_addresses_that_are_no_list(worker: Worker, where: str, ips: object) -> None:
    asked = {"args": {"cni": {"ips": ips}}, "runtimeConfig": {"ips": ips}}[where]
    answer = worker("host-local", json.dumps({**configuration("host-local"), where: asked}).encode(), environ())
    assert error_of(answer)["code"] == 7
    assert attached(answer.state) == []


def test_a_result_that_the_version_cannot_express(worker: Worker) -> None:
    layer_2 = {"cniVersion": "0.2.0", "name": "net", "type": "bridge"}
    answer = worker("bridge", json.dumps(layer_2).encode(), environ())
    assert "no valid IP addresses" in error_of(answer)["msg"]
    assert attached(answer.state) == []


@pytest.mark.parametrize("kind", ["/opt/evil", "../evil", "evil/../evil", "/bin/sh", "..", "a\0b"])
@pytest.mark.parametrize("plugin", ["bridge", "ptp", "flannel"])
def test_no_configuration_chooses_what_is_executed(worker: Worker, plugin: str, kind: str) -> None:
    if plugin not in NAMES:
        pytest.skip(f"no {plugin}")
    evil = Path(f"/proc/{worker.node.pid}/root/opt/evil")
    evil.write_text("#!/bin/sh\ntouch /run/watched/executed\n")
    evil.chmod(0o755)
    data = configuration(plugin)
    data.update({"delegate": {"type": kind}} if plugin == "flannel" else {"ipam": {**data["ipam"], "type": kind}})
    try:
        answer = worker(plugin, json.dumps(data).encode(), environ())
        assert error_of(answer)["code"] in (2, 7)
        assert "/run/watched/executed" not in answer.state["files"] and attached(answer.state) == []
    finally:
        evil.unlink()


def test_one_network_does_not_touch_another_s_leases(worker: Worker) -> None:
    mine, other = ({**configuration("host-local"), "name": name} for name in ("net", "other"))
    assert worker("host-local", json.dumps(other).encode(), environ()).status == 0
    lease = "/run/watched/networks/other/10.1.0.20"
    valid = {"cni.dev/valid-attachments": []}
    for command, data in (("DEL", mine), ("GC", {**mine, **valid}), ("ADD", mine), ("DEL", mine)):
        assert lease in worker("host-local", json.dumps(data).encode(), environ(command)).state["files"]
    assert lease not in worker("host-local", json.dumps({**other, **valid}).encode(), environ("GC")).state["files"]
