"""The same on nodes that Go's plugins and hand-written VXLAN objects wired, where nobody declared what is right.

By default a sample; all of them with ``-m drill`` or ``./run drill --foreign``.
"""

from __future__ import annotations

from typing import Callable, Iterator

import pytest

from podwire.faults.catalogue import CATALOGUE

from . import by_hand
from .foreign import PLUGINS, STYLES, ForeignLab, is_installed
from .labs import check_explained, check_fix, names

pytestmark = pytest.mark.skipif(
    not is_installed(), reason=f"needs Go's plugins in {PLUGINS}: apt-get install containernetworking-plugins"
)
#: What only the other nodes tell, and a remade device with all that stood on it.
SAMPLE = {("flannel", "cni_binary_not_executable"), ("flannel", "vni_mismatch")}
NODE = "node-1"


@pytest.fixture(scope="module")
def lab_of() -> Iterator[Callable[[str], ForeignLab]]:
    """``lab_of(style)``: the lab of a style, healthy whenever a test begins."""
    made: dict[str, ForeignLab] = {}

    def get(style: str) -> ForeignLab:
        if style not in made:
            made[style] = ForeignLab(style)
        return made[style]

    yield get
    for each in made.values():
        each.close()


def marked(style: str, name: str) -> object:
    return pytest.param(style, name, marks=() if (style, name) in SAMPLE else pytest.mark.drill)


@pytest.mark.parametrize("style, name", [marked(style, name) for style in STYLES for name in CATALOGUE])
def test_fault_is_explained_and_mended_by_what_is_said(
    style: str, name: str, lab_of: Callable[[str], ForeignLab]
) -> None:
    lab = lab_of(style)
    lacking = lab.lacking(name, NODE)
    if lacking:
        pytest.skip(lacking)
    check_explained(lab, name, NODE)


@pytest.mark.parametrize(
    "style, name", [marked(style, name) for name, each in by_hand.FAULTS.items() for style in each.styles]
)
def test_what_no_fault_injects_is_named_and_mended(style: str, name: str) -> None:
    lab = ForeignLab(style)
    try:
        expects = by_hand.inject(lab, name)
        found = lab.explain()
        assert [each.id for each in found.causes] == [expects.cause]
        assert names(found.causes[0], expects), found.causes[0]
        check_fix(lab, found)
    finally:
        lab.close()


@pytest.mark.parametrize(
    "style", [pytest.param(each, marks=() if each == "flannel" else pytest.mark.drill) for each in STYLES]
)
def test_a_healthy_lab_has_no_cause(style: str, lab_of: Callable[[str], ForeignLab]) -> None:
    found = lab_of(style).explain()
    assert (found.causes, found.failing, found.unexplained) == ((), {}, ())
    assert len(found.inferred) > 2
