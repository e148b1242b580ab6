"""The part of the page about root causes: what is wrong where, how that is known, whom it hurts, what mends it."""

from __future__ import annotations

import shlex
from typing import Any, Collection, Iterator, Mapping, Sequence

from .markup import pair_button, text
from .phrases import capital, where

#: Causes shown at once; the others are behind a click, as are pairs.
SHOWN, PAIRS, MORE_PAIRS = 10, 6, 200
#: What evidence begins with.
_LABELS = ("expected", "found", "missing")


def section(document: Mapping[str, Any]) -> Iterator[str]:
    """Nothing where nobody looked for causes."""
    unexplained = document.get("unexplained", ())
    if not document["causes"] and not unexplained:
        return
    known = {each["name"] for kind in ("nodes", "pods") for each in document["cluster"][kind]}
    causes = [_cause(each, number, known, document) for number, each in enumerate(document["causes"], 1)]
    yield '<section class="causes" aria-labelledby="h-causes"><h2 id="h-causes">Root causes</h2>'
    if causes:
        yield f"<ol>{''.join(causes[:SHOWN])}</ol>"
    if causes[SHOWN:]:
        yield f"<details><summary>{len(causes) - SHOWN} more</summary><ol>{''.join(causes[SHOWN:])}</ol></details>"
    if unexplained:
        yield f"<article><h3>Unexplained: {_count(unexplained)}</h3>"
        yield f'<div class="pairs">{_pairs(unexplained, known)}</div>'
        yield from _ruled_out(document.get("ruled_out", ()))
        yield "</article>"
    yield "</section>"


def _ruled_out(told: Sequence[str]) -> Iterator[str]:
    if told:
        items = "".join(f"<li>{text(each)}</li>" for each in told)
        yield f"<details><summary>Ruled out</summary><ul>{items}</ul></details>"


def _cause(cause: Mapping[str, Any], number: int, known: Collection[str], document: Mapping[str, Any]) -> str:
    pairs = cause["pairs"]
    hurt = f"{_count(pairs)}: {_pairs(pairs, known)}" if pairs else "No affected pairs yet."
    sure = f", confidence {cause['confidence']:.0%}" if "confidence" in cause else ""
    evidence = "".join(f"<li>{_evidence(line)}</li>" for line in cause["evidence"])
    return (
        f'<li id="cause-{number}"><h3>{text(capital(cause.get("title") or cause["id"]))}</h3>'
        f'<p><span class="tag">{text(cause["id"])}</span> <code>{text(cause["object"])}</code> '
        f"on <b>{text(where(cause))}</b>{sure}</p>"
        f'<ul class="evidence">{evidence}</ul><div class="pairs">{hurt}</div>{_fixes(cause, document)}</li>'
    )


def _evidence(line: str) -> str:
    label, colon, rest = line.partition(": ")
    if colon and label in _LABELS:
        return f"<span>{text(label)}</span> <code>{text(rest)}</code>"
    return f"<span></span> {text(line)}"


def _fixes(cause: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The command for the node, and what of podwire does the same, which runs where podwire is."""
    verb, inventory = cause.get("verb", ""), shlex.quote(document["run"]["inventory"])
    told = [_fix(f"Fix, in a shell on {where(cause)}", each) for each in cause["fix"] if each != verb]
    kinds = {node["name"]: node["kind"] for node in document["cluster"]["nodes"]}
    if told and kinds.get(cause["node"], "ssh") != "ssh":  # podwire exec knows no way to machines
        place = "underlay" if cause.get("place") == "underlay" else shlex.quote(cause["node"])
        told.append(f"<p><small>Open a shell: <code>.venv/bin/podwire exec -i {text(inventory)} {text(place)} -- bash")
        told.append("</code></small></p>")
    if verb:
        command = f"{verb} -i {inventory}" if verb.startswith("./run ") else verb
        told.append(_fix("Or on the controller" if told else "Fix, on the controller", command))
    return "".join(told)


def _fix(label: str, command: str) -> str:
    return f'<p class="label">{text(label)}</p><div class="fix"><pre>{text(command)}</pre></div>'


def _pairs(pairs: Sequence[Sequence[str]], known: Collection[str]) -> str:
    shown = " ".join(pair_button(source, target, known) for source, target in pairs[:PAIRS])
    more = pairs[PAIRS : PAIRS + MORE_PAIRS]
    if not more:
        return shown
    rest = " ".join(pair_button(source, target, known) for source, target in more)
    unshown = len(pairs) - PAIRS - len(more)
    note = f" and {unshown:,} more" if unshown > 0 else ""
    return f"{shown} <details><summary>{len(pairs) - PAIRS:,} more</summary>{rest}{note}</details>"


def _count(pairs: Sequence[object]) -> str:
    return f"{len(pairs):,} failing pair{'' if len(pairs) == 1 else 's'}"
