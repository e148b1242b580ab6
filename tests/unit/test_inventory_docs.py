"""docs/INVENTORY.md names every variable and key, and its examples are inventories."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from podwire.intent.inventory import read
from podwire.intent.inventory.names import CLUSTER_VARIABLES, NODE_VARIABLES, misspelt

TEXT = (Path(__file__).parents[2] / "docs" / "INVENTORY.md").read_text()
EXAMPLES = re.findall(r"(?m)^(?:    .*\n)+", TEXT)
INLINE = re.findall(r"Example: `([^`]+)`", TEXT)


@pytest.mark.parametrize("name", CLUSTER_VARIABLES + NODE_VARIABLES)
def test_every_variable_has_a_row(name: str) -> None:
    assert re.search(rf"(?m)^\| `{name}` \|", TEXT)


def test_no_row_without_a_variable() -> None:
    tables = TEXT.split("## Variables of the cluster")[1].split("### ")[0] + TEXT.split("## Variables of a host")[1]
    rows = re.findall(r"(?m)^\| `(\w+)` \|", tables)
    assert set(rows) == {*CLUSTER_VARIABLES, *NODE_VARIABLES}
    assert not [name for name in rows if misspelt(name)]


@pytest.mark.parametrize("example", [each for each in EXAMPLES if "all hosts (" not in each] + INLINE)
def test_examples_are_inventories(example: str) -> None:
    declared = yaml.safe_load(example)
    if "all" in declared:
        read({name: variables or {} for name, variables in declared["all"]["hosts"].items()}, source="hosts.yml")
        return
    segments = list(declared.get("underlay", {}).get("segments", {"underlay": {}}))
    read({f"node-{i}": {**declared, "node_segment": name} for i, name in enumerate(segments, 1)}, source="hosts.yml")
