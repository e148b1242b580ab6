"""Every mistake is reported, all at once, in words that golden/inventory_errors.txt holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podwire.errors import IntentError
from podwire.intent.inventory import read
from podwire.intent.inventory.names import CLUSTER_VARIABLES, NODE_VARIABLES, distance, misspelt

HERE = Path(__file__).parent
CASES = yaml.safe_load((HERE / "inventory_errors.yml").read_text())


def problems(case: Dict[str, Any]) -> tuple[str, ...]:
    hosts = case.get("hosts", {"node-1": {}})
    with pytest.raises(IntentError) as caught:
        read(
            {name: {**case.get("all", {}), **own} for name, own in hosts.items()},
            source="lab/hosts.yml",
            facts=case.get("facts"),
        )
    return caught.value.problems


def test_messages(golden: Callable[[Path, str], None]) -> None:
    told = [f"{name}:\n" + "".join(f"  {each}\n" for each in problems(case)) for name, case in CASES.items()]
    golden(HERE / "golden" / "inventory_errors.txt", "\n".join(told))


def test_origins_are_named() -> None:
    hosts = {"node-1": {"masquerade": "yes", "node_kind": "vm"}, "node-2": {"masquerade": "yes"}}
    origins = {
        ("node-1", "masquerade"): "group_vars/all.yml:3",
        ("node-2", "masquerade"): "group_vars/all.yml:3",
        ("node-1", "node_kind"): "hosts.yml:7",
    }
    with pytest.raises(IntentError) as caught:
        read(hosts, source="hosts.yml", origins=origins)
    assert [each.split(": ")[0] for each in caught.value.problems] == [
        "all hosts (group_vars/all.yml:3)",
        "node-1 (hosts.yml:7)",
    ]


def test_variables_of_others_are_left_alone() -> None:
    own = {"ansible_host": "x", "ansible_port": 22, "groups": {}, "ports": [1], "overlay": 1, "backups": [], "cli": 1}
    read({"node-1": own}, source="hosts.yml")


@pytest.mark.parametrize("name", CLUSTER_VARIABLES + NODE_VARIABLES)
def test_known_variables_are_not_misspelt(name: str) -> None:
    assert misspelt(name) is None
    assert misspelt(f"{name}z") == f"did you mean {name}?" or len(name) < 4


@given(st.text("abc", max_size=6), st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_distance_is_a_metric(one: str, two: str, three: str) -> None:
    assert distance(one, two) == distance(two, one)
    assert (distance(one, two) == 0) == (one == two)
    assert distance(one, three) <= distance(one, two) + distance(two, three)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.just("10.0.0.0/8"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
STRUCTURED = st.fixed_dictionaries(
    {},
    optional={
        "backend": st.dictionaries(st.sampled_from(["type", "vni", "port", "mtu", "direct_routing"]), JUNK),
        "cni": st.dictionaries(st.sampled_from(["type", "name", "bridge", "hairpin", "conflist", "plugin_dirs"]), JUNK),
        "underlay": st.fixed_dictionaries(
            {},
            optional={
                "segments": st.dictionaries(st.sampled_from(["a", "b"]), JUNK | st.fixed_dictionaries({"cidrs": JUNK})),
                "routers": st.dictionaries(st.sampled_from(["r"]), JUNK | st.fixed_dictionaries({"segments": JUNK})),
            },
        ),
        "pods": st.lists(st.dictionaries(st.sampled_from(["name", "node", "hostNetwork", "port"]), JUNK), max_size=3),
    },
)
ANY = st.dictionaries(st.sampled_from(CLUSTER_VARIABLES + NODE_VARIABLES), JUNK, max_size=4)


@given(ANY, STRUCTURED, ANY)
def test_junk_is_refused_and_never_crashes(shared: Dict[str, Any], structured: Dict[str, Any], own: Any) -> None:
    """Whatever stands in an inventory, the answer is a Cluster or an IntentError."""
    try:
        read({"node-1": {**shared, **structured}, "node-2": {**shared, **structured, **own}}, source="hosts.yml")
    except IntentError as error:
        assert error.problems
