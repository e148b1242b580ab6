"""Escaping, and elements that several parts of the page use."""

from __future__ import annotations

import html
from typing import Collection

from .phrases import ends


def text(value: object) -> str:
    """Escaped for HTML, attributes too; control characters become visible."""
    return html.escape(
        "".join(character if character >= " " or character in "\n\t" else "\ufffd" for character in str(value))
    )


def pair_button(source: str, target: str, known: Collection[str]) -> str:
    """Source and target; a button if both are ``known``, so that the page can draw their path."""
    label = text(ends({"source": source, "target": target}, "→"))
    if source not in known or target not in known:
        return label
    return f'<button type="button" data-source="{text(source)}" data-target="{text(target)}">{label}</button>'
