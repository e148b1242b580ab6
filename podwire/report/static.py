"""The part of the page that needs no script: verdict and failures, and empty elements for the drawings."""

from __future__ import annotations

import time
from typing import Any, Iterator, List, Mapping, Sequence, Set

from . import causes
from .markup import pair_button, text
from .phrases import capital

#: Failing checks of each guarantee that are shown, and that can be expanded.
SHOWN, MORE = 5, 200
#: Differing objects shown.
OBJECTS = 20

VERDICTS = {"passed": "Passed", "failed": "Failed", "not run": "Not proven"}
_COUNTED = (("passed", "passed"), ("failed", "failed"), ("not_run", "not run"))
_ICONS = {"passed": "pass", "failed": "fail", "not run": "none"}


def state(document: Mapping[str, Any]) -> str:
    """The state of the whole run: ``passed``, ``failed`` or ``not run``."""
    states = [guarantee["state"] for guarantee in document["guarantees"]]
    if "failed" in states:
        return "failed"
    return "passed" if document["ok"] else "not run"


def body(document: Mapping[str, Any]) -> Iterator[str]:
    """Everything but the scripts."""
    yield '<a class="skip" href="#connectivity">Skip to connectivity</a>'
    yield from _header(document)
    yield "<main>"
    yield from _guarantees(document)
    yield from causes.section(document)
    yield from _failed(document)
    yield from _differing(document)
    yield from _places()
    yield "</main>"
    run = document["run"]
    made = f"podwire {run['podwire']}" + (f", Linux {run['kernel']}" if run["kernel"] else "")
    yield f"<footer><p>{text(made)}. Made from <code>results.json</code>.</p></footer>"


def _header(document: Mapping[str, Any]) -> Iterator[str]:
    run, cluster, backend = document["run"], document["cluster"], document["cluster"]["backend"]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(run["finished"]))
    how = f"{backend['type']}, VNI {backend['vni']}" if backend["vni"] is not None else backend["type"]
    facts = [
        ("Nodes", len(cluster["nodes"])),
        ("Pods", f"{len(cluster['pods']):,}"),
        ("Backend", how),
        ("Pod MTU", f"{document['mtu']['expected']} bytes"),
        ("Pod CIDRs", ", ".join(cluster["cluster_cidrs"])),
        ("Took", f"{run['seconds']} s"),
    ]
    if run["limit"] is not None:
        facts.append(("Limited to", ", ".join(run["limit"])))
    whole = state(document)
    yield "<header>"
    yield f'<p class="where"><b>podwire</b> <span>{text(run["inventory"])}</span> <time>{when}</time></p>'
    yield f'<h1 class="{_ICONS[whole]}">{_icon(whole)}<span>{text(_sentence(document, whole))}</span></h1>'
    yield f'<p class="lead">{text(cluster["id"])}: {text(_lead(document))}{_named(document)}</p>'
    yield '<dl class="facts">'
    yield from (f"<div><dt>{name}</dt><dd>{text(value)}</dd></div>" for name, value in facts)
    yield "</dl>"
    yield from (f'<p class="note">Inferred: {text(source)}</p>' for source in run["inferred"])
    yield "</header>"


def _sentence(document: Mapping[str, Any], whole: str) -> str:
    guarantees = document["guarantees"]
    wrong = sum(guarantee["state"] == whole for guarantee in guarantees)
    if whole == "passed":
        return "Every guarantee holds"
    verb = "does" if wrong == 1 else "do"
    if whole == "failed":
        return f"{wrong} of {len(guarantees)} guarantees {verb} not hold"
    return "Nothing failed, but not everything was proven"


def _lead(document: Mapping[str, Any]) -> str:
    guarantees, missing = document["guarantees"], document["run"]["missing"]
    passed, *others = [(sum(guarantee[key] for guarantee in guarantees), word) for key, word in _COUNTED]
    lines = [", ".join([f"{passed[0]:,} checks passed", *(f"{count:,} {word}" for count, word in others if count)])]
    shared = next((guarantee["shared"][0] for guarantee in guarantees if guarantee["shared"]), "")
    lines += [f"failing {shared}"] if shared else []
    lines += [f"no report from {', '.join(missing)}"] if missing else []
    return "; ".join(lines) + "."


def _named(document: Mapping[str, Any]) -> str:
    count = len(document["causes"])
    return f' <a href="#h-causes">{count} root cause{"" if count == 1 else "s"} found</a>.' if count else ""


def _total(guarantee: Mapping[str, Any]) -> int:
    total: int = guarantee["passed"] + guarantee["failed"] + guarantee["not_run"]
    return total


def _guarantees(document: Mapping[str, Any]) -> Iterator[str]:
    yield '<section aria-labelledby="h-guarantees"><h2 id="h-guarantees">Guarantees</h2><ul class="guarantees">'
    for guarantee in document["guarantees"]:
        total = _total(guarantee)
        extra = [f"{guarantee[key]:,} {word}" for key, word in _COUNTED[1:] if guarantee[key]]
        counts = f"{guarantee['passed']:,} of {total:,} {guarantee['unit']}" + (
            f" ({', '.join(extra)})" if extra else ""
        )
        title = text(guarantee["title"])
        if guarantee["failed"]:
            title = f'<a href="#failed-{text(guarantee["key"])}">{title}</a>'
        yield f'<li class="{_ICONS[guarantee["state"]]}">{_icon(guarantee["state"])}<span class="title">{title}'
        yield from (f"<small>{text(note)}</small>" for note in guarantee["notes"])
        yield f'</span><span class="counts">{text(counts)}</span>{_bar(guarantee, total)}</li>'
    yield "</ul></section>"


def _bar(guarantee: Mapping[str, Any], total: int) -> str:
    """Failures come first and have a minimal width, so that one of thousands is visible."""
    offset, parts = 0.0, []
    for key, name in (("failed", "fail"), ("not_run", "none"), ("passed", "pass")):
        width = max(1.5, 100 * guarantee[key] / total) if guarantee[key] else 0
        width = min(width, 100 - offset)
        parts.append(f'<rect class="{name}" x="{offset:.2f}%" width="{width:.2f}%" height="100%"/>' if width else "")
        offset += width
    return f'<svg class="bar" aria-hidden="true">{"".join(parts)}</svg>'


def _failed(document: Mapping[str, Any]) -> Iterator[str]:
    failing = [guarantee for guarantee in document["guarantees"] if guarantee["failed"]]
    if not failing:
        return
    yield '<section aria-labelledby="h-failed"><h2 id="h-failed">What failed</h2>'
    known = {item["name"] for kind in ("nodes", "pods") for item in document["cluster"][kind]}
    for guarantee in failing:
        yield f'<article id="failed-{text(guarantee["key"])}"><h3>{text(guarantee["title"])}</h3>'
        if guarantee["shared"]:
            yield (
                '<ul class="shared">'
                + "".join(f"<li>{text(capital(line))}</li>" for line in guarantee["shared"])
                + "</ul>"
            )
        failures = guarantee["failures"]
        yield _table(failures[:SHOWN], known)
        rest = failures[SHOWN : SHOWN + MORE]
        if rest:
            more = f"{len(rest)} more of {guarantee['failed']:,}"
            yield f"<details><summary>{more}</summary>{_table(rest, known)}</details>"
        if guarantee["failed"] > SHOWN + len(rest):
            unshown = guarantee["failed"] - min(len(failures), SHOWN) - len(rest)
            yield f'<p class="note">{unshown:,} more are counted in the heatmap below.</p>'
        yield "</article>"
    yield "</section>"


def _table(failures: Sequence[Mapping[str, str]], known: Set[str]) -> str:
    """Failing checks; those for which the page can draw a path are buttons."""
    rows: List[str] = []
    for failure in failures:
        check = pair_button(failure["source"], failure["target"], known)
        rows.append(
            f'<tr><th scope="row">{check}</th><td><code>{text(failure["address"])}</code></td>'
            f"<td>{text(failure['cause'])}</td><td>{text(failure['reason'])}</td></tr>"
        )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Check", "Address", "Cause", "Reason"))
    table = f'<table class="failures"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _differing(document: Mapping[str, Any]) -> Iterator[str]:
    rows = [row for row in document["routes"]["rows"] if row[5] is not None and row[5] != row[6]]
    if not rows:
        return
    yield '<section aria-labelledby="h-differs"><h2 id="h-differs">Where nodes differ from intent</h2>'
    yield '<ul class="differs">'
    for node, _, _, peer, what, desired, _ in rows[:OBJECTS]:
        word = "Missing or different" if desired else "Unexpected"
        towards = f" <small>to {text(peer)}</small>" if peer else ""
        yield f'<li><b>{text(node)}</b> <span class="tag">{word}</span> <code>{text(what)}</code>{towards}</li>'
    yield "</ul>"
    if len(rows) > OBJECTS:
        yield f'<p class="note">{len(rows) - OBJECTS} more are listed under Routes.</p>'
    yield "</section>"


def _places() -> Iterator[str]:
    """Elements that the scripts fill."""
    for key, title in (
        ("topology", "Topology"),
        ("connectivity", "Connectivity"),
        ("leases", "Leases"),
        ("routes", "Routes, neighbours and forwarding entries"),
    ):
        yield f'<section id="{key}" aria-labelledby="h-{key}"><h2 id="h-{key}">{title}</h2>'
        yield '<div class="place"></div></section>'
    yield "<noscript><p>The topology, the heatmap and the tables need JavaScript.</p></noscript>"


def _icon(state: str) -> str:
    """A shape for each state, so that states do not differ by colour alone."""
    name = _ICONS[state]
    shapes = {
        "pass": '<circle cx="12" cy="12" r="10"/><path d="M7.5 12.5l3 3 6-7"/>',
        "fail": '<rect x="2" y="2" width="20" height="20" rx="4"/><path d="M8 8l8 8M16 8l-8 8"/>',
        "none": '<circle cx="12" cy="12" r="9.5" stroke-dasharray="4 3"/><path d="M8 12h8"/>',
    }
    return (
        f'<svg class="icon {name}" viewBox="0 0 24 24" role="img" aria-label="{VERDICTS[state]}">{shapes[name]}</svg>'
    )
