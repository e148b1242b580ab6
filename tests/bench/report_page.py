"""The report of 1,000 pods on 10 nodes, one of which nobody reaches: how large, and how long until it is drawn."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any, Dict, List

from podwire.report.files import write

from .. import browser, documents
from .report import Row

_NODES, _PODS = 10, 100


def bench(runs: int) -> List[Row]:
    """Size, and medians of making and of opening it."""
    broken = {(f"node-{number}", "node-7") for number in range(1, _NODES + 1)}
    document = documents.document(documents.cluster(_NODES, _PODS), broken=broken)
    with tempfile.TemporaryDirectory(prefix="podwire-report-") as directory:
        making = [_make(document, directory) for _ in range(runs)]
        path = Path(directory, "index.html")
        row = Row("report of 1,000 pods", "<= 5 MB", path.stat().st_size / 1e6, unit="MB", limit=5)
        opening = Row("  opens in Chromium", "< 3 s", limit=3, note="not installed: apt-get install chromium")
        if browser.PROGRAM:
            opening.ours, opening.note = median(_open(path) for _ in range(runs)), "a new browser each time"
    return [row, Row("  all its files written", "", median(making)), opening]


def _make(document: Dict[str, Any], directory: str) -> float:
    began = time.perf_counter()
    write(document, directory)
    return time.perf_counter() - began


def _open(path: Path) -> float:
    """Seconds from the navigation's start to the second frame after everything was loaded and drawn."""
    with browser.Browser() as opened:
        return opened.open(path)
