"""An older podwire beside this one, in interpreters of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: ``podwire`` of the directory that is the first argument.
CLI = "import sys; sys.path.insert(0, sys.argv.pop(1)); from podwire.cli import main; sys.exit(main(sys.argv[1:]))"


def unpack(commit: str, folder: Path, *paths: str) -> Path:
    """Write ``paths`` of a commit to a folder; skip where the history does not go back that far."""
    archive = subprocess.run(["git", "archive", commit, *paths], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip(f"needs podwire's history back to {commit}: no git, or a shallow clone")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def python(code: str, *arguments: str, **environment: str) -> str:
    """Standard output of code in a new interpreter, which has to succeed."""
    done: Any = subprocess.run(
        [sys.executable, "-I", "-c", code, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)
