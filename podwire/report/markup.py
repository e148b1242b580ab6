"""Text as HTML, and pieces of HTML that several parts of the page have."""

from __future__ import annotations

import html
from typing import Collection

from .phrases import ends


def text(value: object) -> str:
    """Escaped for HTML, attributes too; control characters become visible."""
    return html.escape("".join(each if each >= " " or each in "\n\t" else "\ufffd" for each in str(value)))


def pair_button(source: str, target: str, known: Collection[str]) -> str:
    """Who to whom; a button where the page can draw a path, which it can between ``known``."""
    told = text(ends({"source": source, "target": target}, "→"))
    if source not in known or target not in known:
        return told
    return f'<button type="button" data-source="{text(source)}" data-target="{text(target)}">{told}</button>'
