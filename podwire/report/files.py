"""The files of a report: written together, read again."""

from __future__ import annotations

import json
import os
from typing import Any, Callable, Dict, Mapping

from ..errors import ReportError
from ..files import replace_file
from . import junit, metrics, page, sarif
from .document import VERSION

#: The result of ``document.build``, or a results.json that was read.
Document = Mapping[str, Any]

#: File -> function that renders it from a document.
OUTPUTS: Dict[str, Callable[[Document], str]] = {
    "index.html": page.render,
    "junit.xml": junit.render,
    "results.sarif": sarif.render,
    "metrics.prom": metrics.render,
}
DOCUMENT = "results.json"
SCHEMA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "results.schema.json")


def write(document: Document, directory: str) -> None:
    """Write the document and all files made from it into a directory, each atomically. ReportError."""
    texts = {DOCUMENT: json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n"}
    texts.update({name: make(document) for name, make in OUTPUTS.items()})
    with open(SCHEMA, encoding="utf-8") as file:
        texts["results.schema.json"] = file.read()
    try:
        os.makedirs(directory, exist_ok=True)
        for name, text in texts.items():
            replace_file(os.path.join(directory, name), text.encode(), 0o644, fsync=False)
    except OSError as error:
        raise ReportError(f"failed to write the report into {directory}: {error.strerror}") from error


def load(path: str) -> Dict[str, Any]:
    """Read a results.json of this version. ReportError."""
    hint = "name a results.json that site.yml, verify.yml or podwire report wrote"
    try:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
    except OSError as error:
        raise ReportError(f"failed to read {path}: {error.strerror}", hint) from error
    except ValueError as error:
        raise ReportError(f"failed to read {path}: it is not JSON: {error}", hint) from error
    if not isinstance(document, dict) or document.get("format") != "podwire results":
        raise ReportError(f"failed to read {path}: it is not a podwire results document", hint)
    if document.get("version") != VERSION:
        raise ReportError(
            f"failed to read {path}: it has version {document.get('version')}, and this podwire reads {VERSION}",
            "use the podwire that wrote it, or run verify.yml again",
        )
    return document
