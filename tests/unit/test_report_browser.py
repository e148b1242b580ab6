"""The report's page in a real browser: it opens, can be worked by mouse and keyboard, and complains about nothing."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

import pytest

from podwire.report import page
from tests import browser, documents
from tests.unit.test_report_page import evil

pytestmark = pytest.mark.skipif(browser.PROGRAM is None, reason="needs Chromium: apt-get install chromium")

TITLE = "document.querySelector('.path h3').textContent"
SAID = "document.querySelector('output').textContent"
ROOM = "document.querySelector('.crumbs span').textContent"
BAD = "[...document.querySelectorAll('.hops .bad')].map(e => e.textContent)"
#: Elements of a page with 1,000 pods, at most: some for each pod, none for each pair.
MOST_ELEMENTS = 12_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[browser.Browser]:
    with browser.Browser() as opened:
        yield opened


@pytest.fixture
def shown(chromium: browser.Browser, tmp_path: Path) -> Iterator[Callable[[Dict[str, Any]], browser.Browser]]:
    """``shown(document)`` opens its page; at the end nobody may have complained."""

    def show(document: Dict[str, Any]) -> browser.Browser:
        path = tmp_path / "index.html"
        path.write_text(page.render(document))
        seconds = chromium.open(path)
        print(f"{len(document['cluster']['pods'])} pods: {path.stat().st_size:,} bytes, drawn in {seconds:.2f} s")
        assert chromium.run("document.documentElement.dataset.ready") == "true", chromium.errors
        return chromium

    chromium.errors.clear()
    yield show
    assert chromium.errors == []


@pytest.fixture(scope="module")
def broken() -> Dict[str, Any]:
    """No packet passes between node-1 and node-2, and node-1's FDB entry for node-2 is missing."""
    ends = {("node-1", "node-2"), ("node-2", "node-1")}
    return documents.document(documents.cluster(3, 2), broken=ends, lost={"node-1": "node-2"})


@pytest.fixture(scope="module")
def large() -> Dict[str, Any]:
    return documents.document(documents.cluster(10, 100), broken={("node-3", "node-7")})


def test_the_checks_can_fail(chromium: browser.Browser, tmp_path: Path) -> None:
    """A positive control: what complains is heard, and the page's policy stops what is not its own."""
    text = page.render(documents.document(documents.cluster(2, 1)))
    path = tmp_path / "index.html"
    path.write_text(text.replace("</body>", "<script>window.hacked = 1</script></body>"))
    chromium.open(path)
    assert chromium.run("window.hacked") is None
    assert [each for each in chromium.errors if "Content Security Policy" in each]
    path.write_text("<script>throw new Error('on purpose')</script>")
    chromium.open(path)
    assert [each for each in chromium.errors if "on purpose" in each]


def test_it_opens_with_a_failing_pair_and_its_failing_hop(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown(broken)
    assert opened.run("document.title").startswith("Failed: ")
    assert opened.run(TITLE) == "node-1-pod-1 → node-2-pod-1"
    (bad,) = opened.run(BAD)
    assert bad.startswith("flannel.1") and "fdb" in bad
    assert opened.run("document.querySelectorAll('.topology .bad').length") == 1
    hops = opened.run("[...document.querySelectorAll('.hops li:not(.zone) b')].map(e => e.textContent)")
    assert hops == ["eth0", "cni0", "flannel.1", "eth0", "underlay", "eth0", "flannel.1", "cni0", "eth0"]


def test_a_click_on_a_pair_shows_its_path(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown(broken)
    opened.click(".heat .hit", 5.5 / 6, 0.5 / 6)
    assert opened.run(TITLE) == "node-1-pod-1 → node-3-pod-2"
    assert opened.run(SAID) == "node-1-pod-1 → node-3-pod-2: passed"
    assert opened.run(BAD) == []
    opened.click(".heat .hit", 0.5 / 6, 2.5 / 6)
    assert opened.run(TITLE) == "node-2-pod-1 → node-1-pod-1"
    assert "no answer" in opened.run(SAID)
    opened.click(".path .note button")
    assert opened.run(TITLE) == "node-1-pod-1 → node-2-pod-1"


def test_a_failing_check_leads_to_its_path(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown(broken)
    opened.click(".failures tbody tr:nth-child(4) button")
    assert opened.run(TITLE) == "node-1-pod-2 → node-2-pod-2"
    assert opened.run("document.activeElement.className").startswith("path")


def test_the_heatmap_by_keyboard(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown(broken)
    opened.run("document.querySelector('.heatmap').focus()")
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight"):
        opened.press(key)
    assert opened.run(SAID).startswith("node-1-pod-2 → node-2-pod-2: failed: no answer")
    opened.press("Enter")
    assert opened.run(TITLE) == "node-1-pod-2 → node-2-pod-2"
    for _ in range(20):
        opened.press("ArrowUp")
    assert opened.run(SAID).startswith("node-1-pod-1 → node-2-pod-2")


def test_everything_is_reached_by_tab_and_has_a_name(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown(broken)
    opened.run("document.querySelectorAll('details').forEach(e => e.open = true)")
    seen = set()
    for _ in range(80):
        opened.press("Tab")
        seen.add(
            opened.run(
                "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"
            )
        )
    assert {"skip", "guarantee", "from", "to", "heatmap", "SUMMARY", "BUTTON"} <= seen
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "textbox", "application", "image", "img", "table", "heading", "region"}
    named = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]]
    assert {"application", "heading", "button"} <= {role for role, _ in named}
    assert [role for role, name in named if role in roles - {"table"} and not name] == []
    levels = opened.run("[...document.querySelectorAll('h1,h2,h3')].map(e => Number(e.tagName[1]))")
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:]))


def test_the_fields_choose_a_pair(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown(broken)
    opened.run(
        "(() => { const to = document.getElementById('to'); to.value = 'node-3-pod-1';"
        " to.dispatchEvent(new Event('change')); })()"
    )
    assert opened.run(TITLE) == "node-1-pod-1 → node-3-pod-1"


def test_another_guarantee(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown(broken)
    opened.run(
        "(() => { const s = document.getElementById('guarantee'); s.selectedIndex = 1;"
        " s.dispatchEvent(new Event('change')); })()"
    )
    opened.click(".heat .hit", 0.5 / 6, 0.5 / 3)
    assert opened.run(TITLE) == "node-1 → node-1-pod-1"
    hops = opened.run("[...document.querySelectorAll('.hops li:not(.zone) b')].map(e => e.textContent)")
    assert hops == ["node", "cni0", "eth0"]


def test_a_path_through_a_router_and_one_that_needs_no_tunnel(shown: Any) -> None:
    """Racks with direct routing: VXLAN between the racks, plain routes inside."""
    opened = shown(documents.document(documents.racks(), broken={("node-a1", "node-b2")}))
    devices = "[...document.querySelectorAll('.hops li:not(.zone) b')].map(e => e.textContent).slice(2, -2)"
    assert opened.run(devices) == ["flannel.1", "eth0", "rack-a", "spine", "rack-b", "eth0", "flannel.1"]
    opened.click(".heat .hit", 2.5 / 8, 0.5 / 8)
    assert opened.run(devices) == ["eth0", "rack-a", "eth0"]


def test_causes_are_drawn_where_they_are(shown: Any) -> None:
    cause = {
        "id": "underlay_mtu",
        "title": "The router takes 1,400 bytes",
        "object": "link to-b mtu 1400",
        "node": "spine",
        "device": "to-b",
        "pairs": [["node-a1-pod-1", "node-b2-pod-1"]],
        "evidence": ["1500 bytes vanish"],
        "fix": ["ip link set to-b mtu 1500"],
    }
    opened = shown(documents.document(documents.racks(), broken={("node-a1", "node-b2")}, causes=[cause]))
    (bad,) = opened.run(BAD)
    assert bad.startswith("spine") and "The router takes 1,400 bytes" in bad
    assert opened.run("document.querySelectorAll('.topology .router.bad').length") == 1
    assert "ip link set to-b mtu 1500" in opened.run("document.querySelector('.causes').textContent")
    opened.click(".failures tbody tr:nth-child(2) button")
    assert opened.run(BAD) == [], "the cause is not this pair's"


def cause(node: str, device: str = "", place: str = "node", pairs: Any = (), **more: Any) -> Dict[str, Any]:
    said = {
        "id": "it",
        "title": f"what is wrong with {device or node}",
        "object": "it",
        "evidence": [],
        "fix": ["true"],
    }
    return {**said, "node": node, "device": device, "place": place, "pairs": [list(pair) for pair in pairs], **more}


#: Cause -> the hop on the way of the first pair that is marked, and what is in the topology.
PLACES = {
    "a veth pair": (cause("node-2", "veth0eth0", pairs=[("node-1-pod-1", "node-2-pod-1")]), "cni0", "pod"),
    "inside a pod": (cause("node-2", "eth0", "pod:node-2-pod-1", [("node-1-pod-1", "node-2-pod-1")]), "eth0", "pod"),
    "the switch": (cause("node-2", "node-2.eth0", "underlay", [("node-1-pod-1", "node-2-pod-1")]), "underlay", "wire"),
    "a node": (cause("node-2", pairs=[("node-1-pod-1", "node-2-pod-1")]), "cni0", "box"),
    "a device": (cause("node-1", "flannel.1", pairs=[("node-1-pod-1", "node-2-pod-1")]), "flannel.1", "part"),
    "a device that nobody suffers from yet": (cause("node-1", "flannel.1"), "flannel.1", "part"),
    "a file": (cause("node-2"), "", "box"),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_cause_is_on_the_hop_and_in_the_topology(shown: Any, name: str) -> None:
    told, hop, part = PLACES[name]
    opened = shown(documents.document(documents.cluster(3, 1), broken={("node-1", "node-2")}, causes=[told]))
    bad = opened.run(BAD)
    assert [each.startswith(hop) for each in bad] == ([True] if hop else []), bad
    if name == "inside a pod":
        assert "node-2-pod-1" in bad[0]
    marked = "[...document.querySelectorAll('.topology .bad')].map(e => e.getAttribute('class'))"
    (classes,) = opened.run(marked)
    if part == "pod":
        assert "node-2-pod-1" in opened.run("document.querySelector('.topology .bad title').textContent")
    else:
        assert part in classes.split()
    assert told["title"] in opened.run("document.querySelector('.topology .bad > title').textContent")
    assert opened.run("document.querySelectorAll('.topology .cross').length") == 1


def test_a_cause_leads_to_its_pairs_and_a_pair_to_its_cause(shown: Any, broken: Dict[str, Any]) -> None:
    told = {**broken, "causes": [cause("node-1", "flannel.1", pairs=[("node-1-pod-2", "node-2-pod-1")])]}
    opened = shown(told)
    opened.click(".causes .pairs button")
    assert opened.run(TITLE) == "node-1-pod-2 → node-2-pod-1"
    opened.click(".hops .why a")
    assert opened.run("document.querySelector('#cause-1:target h3').textContent").startswith("What is wrong")


def test_a_fix_is_copied_or_selected(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown({**broken, "causes": [cause("node-1", fix=["ip link set it up"])]})
    opened.click(".fix button")
    said = opened.run(
        "new Promise(done => { const button = document.querySelector('.fix button');"
        " const look = () => button.textContent !== 'Copy' && done(button.textContent); look();"
        " new MutationObserver(look).observe(button, {childList: true, subtree: true, characterData: true}); })"
    )
    assert said in ("Copied", "Selected")
    if said == "Selected":
        assert opened.run("getSelection().toString()") == "ip link set it up"


def test_seventy_causes_are_there_and_fit(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown({**broken, "causes": [cause("node-1", "a-very-long-word-" * 20) for _ in range(70)]})
    assert opened.run("document.querySelectorAll('.causes > ol > li').length") == 10
    assert opened.run("document.querySelector('.causes > details summary').textContent") == "60 more"
    opened.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    assert opened.run("document.documentElement.scrollWidth") <= 390
    opened.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
    opened.run("dispatchEvent(new Event('beforeprint'))")
    assert opened.run("document.querySelector('.causes > details').open")


@pytest.mark.parametrize(("nodes", "pods"), [(1, 0), (1, 1), (2, 0), (1, 9)])
def test_clusters_with_next_to_nothing_in_them(shown: Any, nodes: int, pods: int) -> None:
    opened = shown(documents.document(documents.cluster(nodes, pods)))
    assert opened.run("document.querySelectorAll('.topology .node').length") == nodes


def test_a_hop_that_takes_less_than_expected_is_marked(shown: Any) -> None:
    told = documents.document(documents.cluster(2, 1))
    told["cluster"]["pods"][1]["mtu"] = 1400
    (bad,) = shown(told).run(BAD)
    assert bad.startswith("eth0 node-2-pod-1") and "MTU 1400 is smaller than the expected 1450" in bad


def test_of_two_families_the_one_that_fails_is_drawn(shown: Any) -> None:
    two: Dict[str, Any] = {
        "cluster_cidrs": ["10.244.0.0/16", "fd00:10:244::/48"],
        "node_prefix_length": {"ipv4": 24, "ipv6": 64},
    }
    two["service_cidrs"] = ["10.96.0.0/16", "fd00:10:96::/112"]
    two["underlay"] = {"segments": {"underlay": {"cidrs": ["172.30.0.0/16", "fd00:30::/64"]}}}
    told = documents.document(documents.cluster(2, 1, **two), broken={("node-1", "node-2")})
    seen = "document.querySelector('.path .results small').textContent"
    devices = "[...document.querySelectorAll('.hops li:not(.zone) b')].map(e => e.textContent)[2]"
    opened = shown(told)
    assert (opened.run(seen), opened.run(devices)) == ("Found: IPv4 and IPv6: no answer (ICMP, TCP)", "flannel.1")
    for each in told["guarantees"]:
        each["failures"] = [failure for failure in each["failures"] if ":" in failure["address"]]
        each["failed"] //= 2
        each["classes"] = [
            [*ends, passed + failed // 2, failed // 2, 0] for *ends, passed, failed, _ in each["classes"]
        ]
    opened = shown(told)
    assert (opened.run(seen), opened.run(devices)) == ("Found: no answer (ICMP, TCP)", "flannel-v6.1")


def test_checks_towards_nodes_and_what_comparisons_found(shown: Any, broken: Dict[str, Any]) -> None:
    """Guarantees that this page knows nothing of but their shape."""
    told = deepcopy(broken)
    told["routes"]["rows"] = []
    failure = {
        "source": "node-2-pod-1",
        "target": "node-2",
        "address": "172.30.0.12",
        "cause": "timeout",
        "reason": "no answer",
    }
    nodes = [["node-1", "node-1", 2, 0, 0], ["node-2", "node-2", 1, 1, 0], ["node-3", "node-3", 2, 0, 0]]
    extra = {"title": "pods reach their node", "key": "nodes", "targets": "nodes", "classes": nodes}
    told["guarantees"].insert(0, {**guarantee_like(), **extra, "failures": [failure], "failed": 1, "passed": 5})
    stale = {
        "source": "node-1",
        "target": "node-2",
        "address": "",
        "cause": "stale MAC",
        "reason": "flannel.1 has a stale MAC",
    }
    told["guarantees"].append(
        {**guarantee_like(), "title": "consistent", "key": "own", "failures": [stale], "failed": 1}
    )
    opened = shown(told)
    assert opened.run(TITLE) == "node-2-pod-1 → node-2"
    hops = "[...document.querySelectorAll('.hops li:not(.zone) b')].map(e => e.textContent)"
    assert opened.run(hops) == ["eth0", "cni0", "node"]
    opened.click(".heat .hit", 0.5 / 3, 0.5 / 6)
    assert opened.run(TITLE) == "node-1-pod-1 → node-1"
    opened.click("article:nth-of-type(2) .failures button")
    assert opened.run(TITLE) == "node-1-pod-1 → node-2-pod-1"
    (bad,) = opened.run(BAD)
    assert bad.startswith("flannel.1") and "stale MAC" in bad


def guarantee_like() -> Dict[str, Any]:
    """Fields that every guarantee has, of one without classes."""
    same = {"unit": "checks", "state": "failed", "not_run": 0, "seconds": 0, "sources": "pods", "targets": "pods"}
    return {**same, "shared": [], "notes": [], "classes": [], "passed": 0}


def test_a_thousand_pods(shown: Any, large: Dict[str, Any]) -> None:
    opened = shown(large)
    assert opened.run("document.querySelectorAll('*').length") <= MOST_ELEMENTS
    assert opened.run(ROOM) == "Pairs of nodes"
    opened.click(".heat .hit", 6.5 / 10, 2.5 / 10)
    assert opened.run(ROOM) == "Pods of node-3 to pods of node-7"
    assert opened.run("document.querySelectorAll('*').length") <= MOST_ELEMENTS
    assert opened.run(TITLE) == "node-3-pod-1 → node-7-pod-1"
    opened.press("ArrowRight")
    opened.press("Enter")
    assert opened.run(TITLE) == "node-3-pod-1 → node-7-pod-2"
    opened.press("Escape")
    assert opened.run(ROOM) == "Pairs of nodes"
    opened.click(".heat .hit", 0.5 / 10, 2.5 / 10)
    opened.click(".heat .hit", 0.5 / 100, 99.5 / 100)
    assert opened.run(TITLE) == "node-3-pod-100 → node-1-pod-1"
    assert "passed" in opened.run(SAID)


def test_what_was_measured_by_class_says_so(shown: Any, large: Dict[str, Any]) -> None:
    opened = shown(large)
    results = "[...document.querySelectorAll('.path .results small')].map(e => e.textContent)"
    assert opened.run(results)[0] == "Found: no answer (ICMP, TCP)"
    opened.run(
        "(e => { e.value = 'node-5-pod-7'; e.dispatchEvent(new Event('change')); })(document.getElementById('to'))"
    )
    assert opened.run(results)[1].startswith("Found: passed (sampled): ")


def test_names_that_want_to_break_out_are_text(shown: Any) -> None:
    opened = shown(evil())
    assert opened.run("typeof hacked") == "undefined"
    assert opened.run("document.images.length") == 0
    assert "</script><script>" in opened.run(TITLE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_dark_and_paper(shown: Any, broken: Dict[str, Any], scheme: str, tmp_path: Path) -> None:
    opened = shown(broken)
    opened.prefer(scheme)
    ground = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)[0]"
    assert (opened.run(ground) > 128) == (scheme == "light")
    opened.pdf(tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
    opened.call("Emulation.setEmulatedMedia", media="print")
    assert opened.run(ground) == 255, "paper is white"
    opened.call("Emulation.setEmulatedMedia", media="")


def test_a_narrow_screen_scrolls_one_way_only(shown: Any, broken: Dict[str, Any]) -> None:
    opened = shown(broken)
    opened.call("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    assert opened.run("document.documentElement.scrollWidth") <= 390
    opened.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
