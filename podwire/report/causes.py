"""The page's section of root causes: object, evidence, affected pairs, fix."""

from __future__ import annotations

import shlex
from typing import Any, Collection, Iterator, Mapping, Sequence

from .markup import pair_button, text
from .phrases import capital, where

#: Causes and pairs that are shown; more can be expanded.
SHOWN, PAIRS, MORE_PAIRS = 10, 6, 200
#: Labels of evidence.
_LABELS = ("expected", "found", "missing")


def section(document: Mapping[str, Any]) -> Iterator[str]:
    """Empty without causes and unexplained pairs."""
    unexplained = document.get("unexplained", ())
    if not document["causes"] and not unexplained:
        return
    known = {item["name"] for kind in ("nodes", "pods") for item in document["cluster"][kind]}
    causes = [_cause(item, number, known, document) for number, item in enumerate(document["causes"], 1)]
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


def _ruled_out(reasons: Sequence[str]) -> Iterator[str]:
    if reasons:
        items = "".join(f"<li>{text(reason)}</li>" for reason in reasons)
        yield f"<details><summary>Ruled out</summary><ul>{items}</ul></details>"


def _cause(cause: Mapping[str, Any], number: int, known: Collection[str], document: Mapping[str, Any]) -> str:
    pairs = cause["pairs"]
    affected = f"{_count(pairs)}: {_pairs(pairs, known)}" if pairs else "No affected pairs yet."
    confidence = f", confidence {cause['confidence']:.0%}" if "confidence" in cause else ""
    evidence = "".join(f"<li>{_evidence(line)}</li>" for line in cause["evidence"])
    return (
        f'<li id="cause-{number}"><h3>{text(capital(cause.get("title") or cause["id"]))}</h3>'
        f'<p><span class="tag">{text(cause["id"])}</span> <code>{text(cause["object"])}</code> '
        f"on <b>{text(where(cause))}</b>{confidence}</p>"
        f'<ul class="evidence">{evidence}</ul><div class="pairs">{affected}</div>{_fixes(cause, document)}</li>'
    )


def _evidence(line: str) -> str:
    label, colon, rest = line.partition(": ")
    if colon and label in _LABELS:
        return f"<span>{text(label)}</span> <code>{text(rest)}</code>"
    return f"<span></span> {text(line)}"


def _fixes(cause: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """The command for the node, and the podwire command with the same effect, which runs on the controller."""
    verb, inventory = cause.get("verb", ""), shlex.quote(document["run"]["inventory"])
    parts = [_fix(f"Fix, in a shell on {where(cause)}", fix) for fix in cause["fix"] if fix != verb]
    kinds = {node["name"]: node["kind"] for node in document["cluster"]["nodes"]}
    if parts and kinds.get(cause["node"], "ssh") != "ssh":  # podwire exec does not work on SSH nodes
        place = "underlay" if cause.get("place") == "underlay" else shlex.quote(cause["node"])
        parts.append(f"<p><small>Open a shell: <code>.venv/bin/podwire exec -i {text(inventory)} {text(place)} -- bash")
        parts.append("</code></small></p>")
    if verb:
        command = f"{verb} -i {inventory}" if verb.startswith("./run ") else verb
        parts.append(_fix("Or on the controller" if parts else "Fix, on the controller", command))
    return "".join(parts)


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
