"""Text for XML 1.0 documents."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr


def content(text: str) -> str:
    """Text between tags."""
    return escape(_printable(text))


def quoted(text: str) -> str:
    """An attribute's value with its quotes."""
    return quoteattr(_printable(text))


def _printable(text: str) -> str:
    """XML 1.0 has no way to write control characters."""
    return "".join(
        each if each in "\n\t" or " " <= each < "\ud800" or "\ue000" <= each <= "\ufffd" else "\ufffd" for each in text
    )
