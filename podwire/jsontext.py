"""JSON for processes that live for milliseconds: the C halves of Python's ``json`` without its regular expressions.

``json`` imports ``re``, which costs as much as Python's own start. Where the C halves are missing or differ, ``json``
itself does the work.
"""

from __future__ import annotations

from .startup_typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

_SPACE = " \t\n\r"


class _Context:
    """What ``_json.make_scanner`` asks of a json.JSONDecoder."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int

    @staticmethod
    def parse_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")


def loads(text: str) -> Any:
    """The value of a JSON text; ValueError for anything else (also NaN, and nesting without end)."""
    try:
        from _json import make_scanner
    except ImportError:
        import json

        return json.loads(text)
    start, end = 0, len(text)
    while start < end and text[start] in _SPACE:
        start += 1
    try:
        value, stop = make_scanner(_Context)(text, start)  # type: ignore[arg-type]
    except StopIteration as error:
        raise ValueError(f"no JSON value at character {error.value}") from None
    except SystemError:  # it raises json's own error, and only if json is loaded: json says what is wrong
        import json

        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text[stop:].strip(_SPACE):
        raise ValueError(f"something follows the JSON value at character {stop}")
    return value


def dumps(value: Any) -> str:
    """The JSON text of objects, lists, strings, numbers, booleans and None, without spaces."""
    try:
        from _json import encode_basestring_ascii, make_encoder

        encode: Any = make_encoder(None, None, encode_basestring_ascii, None, ":", ",", False, False, False)  # type: ignore[arg-type]
        return "".join(encode(value, 0))
    except (ImportError, TypeError):
        import json

        return json.dumps(value, separators=(",", ":"))
