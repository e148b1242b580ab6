"""index.html without a browser: what is in it, and that nothing in the data gets out of it."""

from __future__ import annotations

import html
import json
import re
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

from podwire.report import page
from tests import documents

ASSETS = Path(page.__file__).parent / "assets"
EVIL = '</script><script>hacked = 1</script><img src=x onerror="hacked = 1">\'"&<!--\u2028'


class Elements(HTMLParser):
    """The tags of a page with their attributes, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: List[Tuple[str, Dict[str, Any]]] = []
        self.scripts: List[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag == "script"
        if self._inside:
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


def evil() -> Dict[str, Any]:
    """A document whose every name and reason wants to break out."""
    told = documents.document(documents.cluster(2, 2), broken={("node-1", "node-2")}, lost={"node-1": "node-2"})
    text = json.dumps(told)
    for number, name in enumerate(sorted({pod["name"] for pod in told["cluster"]["pods"]})):
        text = text.replace(json.dumps(name), json.dumps(f"{EVIL}{number}"))
    told = json.loads(text.replace("no answer (ICMP, TCP)", json.dumps(EVIL)[1:-1]))
    for key in ("inventory", "kernel", "podwire"):
        told["run"][key] = EVIL
    told["cluster"]["id"] = told["cluster"]["segments"][0]["cidrs"][0] = EVIL
    told["routes"]["rows"][0][4] = EVIL
    cause = dict.fromkeys(("id", "object", "device"), EVIL)
    told["causes"] = [{**cause, "node": "node-1", "pairs": [], "evidence": [EVIL], "fix": [EVIL]}]
    return told


def test_a_cause_says_where_its_fix_is_run() -> None:
    told = documents.document(documents.cluster(2, 2), broken={("node-1", "node-2")})
    pairs = [["node-1-pod-1", "node-2-pod-1"], ["node-1-pod-1", "gone"]]
    same = {"id": "underlay_mtu_low", "object": "link x", "node": "node-1", "device": "x", "place": "underlay"}
    told["causes"] = [
        {**same, "pairs": pairs, "evidence": ["expected: a", "b"], "fix": ["ip x", "./run site"], "verb": "./run site"}
    ]
    told["unexplained"], told["ruled_out"] = [["node-2-pod-1", "node-2"]], ["route_missing on node-1"]
    shown = page.render(told).partition('<script type="application/json"')[0]
    assert "Fix, in a shell on the underlay of node-1" in shown
    assert ".venv/bin/podwire exec -i inventories/made-up underlay -- bash" in shown
    assert "<pre>./run site -i inventories/made-up</pre>" in shown
    assert "<span>expected</span> <code>a</code></li><li><span></span> b" in shown
    assert '<button type="button" data-source="node-1-pod-1" data-target="node-2-pod-1">' in shown
    assert 'data-target="gone"' not in shown and "node-1-pod-1 → gone" in shown
    assert "Unexplained: 1 failing pair" in shown and "route_missing on node-1" in shown
    assert '<a href="#h-causes">1 root cause found</a>' in shown
    machines = json.loads(json.dumps(told).replace('"kind": "netns"', '"kind": "ssh"'))
    assert "podwire exec" not in page.render(machines).partition('<script type="application/json"')[0]


def test_nothing_in_the_data_becomes_markup() -> None:
    told = evil()
    plain = Elements(page.render(documents.document(documents.cluster(2, 2))))
    found = Elements(page.render(told))
    assert len(found.scripts) == len(plain.scripts) == 2
    assert not [tag for tag, _ in found.tags if tag == "img"]
    assert json.loads(found.scripts[0]) == told


def test_the_page_loads_nothing() -> None:
    text = page.render(documents.document(documents.cluster(2, 2)))
    for tag, attributes in Elements(text).tags:
        assert not {"src", "srcset"} & set(attributes), tag
        assert tag not in ("link", "iframe", "object", "base", "form")
        assert attributes.get("href", "#").startswith("#")
    assert "@import" not in text and "url(http" not in text
    assert "default-src 'none'" in text


def test_what_failed_can_be_read_without_scripts() -> None:
    text = page.render(documents.document(documents.cluster(3, 2), broken={("node-1", "node-2")}))
    static = html.unescape(re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL))
    assert "2 of 4 guarantees do not hold" in static
    assert "All from node-1 to node-2: 4" in static
    assert "node-1-pod-1 → node-2-pod-1" in static


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "Every guarantee holds"),
        ({"missing": ["node-2"]}, "Nothing failed, but not everything was proven"),
        ({"broken": {("node-1", "node-1-pod-1")}}, "guarantees do not hold"),
    ],
)
def test_the_verdict_in_a_sentence(arguments: Dict[str, Any], says: str) -> None:
    assert says in page.render(documents.document(documents.cluster(2, 2), **arguments))


def test_a_guarantee_of_any_key_is_shown() -> None:
    """Checks that this report was not written for."""
    told = deepcopy(documents.document(documents.cluster(2, 2)))
    new = {**told["guarantees"][0], "key": "own-checks", "title": "checks of the user's own", "classes": []}
    told["guarantees"].append(new)
    assert "checks of the user&#x27;s own" in page.render(told)


# --- colours ------------------------------------------------------------------------------------------

#: Text on ground, and the contrast that WCAG 2.1 asks for at level AA: 4.5 for text, 3 for what is only drawn.
PAIRS = [
    *((text, ground, 4.5) for text in ("text", "muted", "pass", "fail", "none") for ground in ("page", "panel")),
    *((text, "soft", 4.5) for text in ("text", "muted")),
    ("fail", "fail-soft", 4.5),
    ("text", "fail-soft", 4.5),
    ("pass-text", "pass-fill", 4.5),
    ("fail-text", "fail-fill", 4.5),
    ("fail-fill", "panel", 3),
    ("fail-fill", "pass-fill", 3),
    ("focus", "page", 3),
]


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_contrast(scheme: str) -> None:
    css = (ASSETS / "base.css").read_text() + (ASSETS / "print.css").read_text()
    blocks = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    ]
    light, dark, paper = blocks
    colours = {"light": light, "dark": {**light, **dark}, "print": {**light, **paper}}[scheme]
    for ink, ground, least in PAIRS:
        one, other = (luminance(colours[name]) for name in (ink, ground))
        contrast = (max(one, other) + 0.05) / (min(one, other) + 0.05)
        assert contrast >= least, f"{scheme}: {ink} on {ground} has {contrast:.2f}, not {least}"


def luminance(colour: str) -> float:
    """Relative luminance, WCAG 2.1."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
