"""index.html: one self-contained file that works offline.

Verdict and failures are plain HTML, for readers without scripts (Jenkins blocks them in archived files by
default); topology, heatmap, paths and tables are drawn from the embedded document by the scripts in assets/.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from typing import Any, List, Mapping

from . import static
from .markup import text

_ASSETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "assets")
STYLES = ("base.css", "verdict.css", "drawing.css", "print.css")
#: In this order: the others only define functions, main.js runs them.
SCRIPTS = (
    "dom.js",
    "model.js",
    "path.js",
    "node.js",
    "topology.js",
    "marks.js",
    "heatmap.js",
    "tables.js",
    "views.js",
    "pair.js",
    "main.js",
)


def render(document: Mapping[str, Any]) -> str:
    """The whole file."""
    style = "\n".join(map(_asset, STYLES))
    script = '"use strict";\n(() => {\n' + "\n".join(map(_asset, SCRIPTS)) + "\n})();\n"
    # Nothing is loaded, and only these scripts run.
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    cluster, word = document["cluster"], static.VERDICTS[static.state(document)]
    parts: List[str] = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{text(word)}: {text(cluster['id'])} – podwire</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        *static.body(document),
        f'<script type="application/json" id="document">{embedded(document)}</script>',
        f"<script>{script}</script>",
        "</body>",
        "</html>",
    ]
    return "\n".join(parts) + "\n"


def embedded(document: Mapping[str, Any]) -> str:
    """JSON that is safe between script tags: nothing in it can end them or begin a comment (HTML, "script data")."""
    plain = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        plain = plain.replace(character, f"\\u{ord(character):04x}")
    return plain


def _asset(name: str) -> str:
    with open(os.path.join(_ASSETS, name), encoding="utf-8") as file:
        return file.read()


def _hash(content: str) -> str:
    """A source expression of the Content Security Policy for one inline element."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
