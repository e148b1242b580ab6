"""``podwire cni-install``: the plugins as executables in a directory, with their library beside them.

::

    DIR/bridge, DIR/ptp ...              a script of twenty lines each
    DIR/.podwire/<digest>/podwire/       the modules that they need, as sources and as byte code
    DIR/.podwire/<digest>/archive        the byte code of all in one file (see prelink.py, preload.py)
    DIR/.podwire/lock                    one installation at a time

Scripts find the library from where they stand, so DIR may be moved, mounted elsewhere or read-only. A new library
gets a directory of its own, whole before the first script names it, and scripts are replaced one by one by rename:
at every moment, and wherever an installation was interrupted, every plugin is an old one that works or a new one
that works. The library before stays until the next installation, for the processes that are running on it.

Nothing of anybody else's is replaced unless that is asked for: if one name is taken, nothing is installed.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from typing import Iterator, List, NamedTuple, Optional, Set, Tuple

from ...errors import ConflictError, PodwireError
from ...files import flush
from ...kernel.lock import locked
from ..spec.invoke import is_ours
from ..spec.registry import PLUGINS
from . import launcher

_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
#: What the modules of an installation are reached from.
_ROOTS = (
    "podwire.cni.install.launch",
    "podwire.cni.install.startup_os",
    "podwire.cni.install.preload",
    "podwire.cni.install.prelink",
)

#: Without columns in tracebacks: that is a third of the code to be read at each start.
_COMPILING = ("-IS", "-X", "no_debug_ranges")
#: What is installed.
NAMES = tuple(sorted(PLUGINS))

NEW, REPLACED, UNCHANGED, FOREIGN = "new", "replaced", "unchanged", "foreign"


class Entry(NamedTuple):
    """One executable: its path, and what an installation would do: ``new``, ``replaced``, ``unchanged``, or
    ``foreign`` for somebody else's, which stays unless forced."""

    path: str
    state: str


def look(directory: str, *, python: Optional[str] = None) -> List[Entry]:
    """What is to be installed, and what stands there. Changes nothing."""
    return _Installation(directory, python).entries()


def install(directory: str, *, python: Optional[str] = None, force: bool = False) -> List[Entry]:
    """Install all plugins into ``directory``, made if need be; what was there before.

    ``python``: the interpreter that they will have, by default the one that runs this (outside of any virtual
    environment). ConflictError, with nothing changed, for plugins of somebody else's unless ``force``.
    PodwireError for what cannot be written.
    """
    installation = _Installation(directory, python)
    try:
        os.makedirs(directory, exist_ok=True)
        _refuse_foreign(installation.entries(), force)
        if installation.is_there():
            return installation.entries()
        with locked(os.path.join(directory, ".podwire", "lock")):
            entries = installation.entries()
            _refuse_foreign(entries, force)
            installation.write()
    except OSError as error:
        raise PodwireError(
            f"failed to install CNI plugins in {directory}: {error.strerror}: {error.filename}"
        ) from error
    return entries


def _refuse_foreign(entries: List[Entry], force: bool) -> None:
    foreign = [entry.path for entry in entries if entry.state == FOREIGN]
    if foreign and not force:
        raise ConflictError(
            f"failed to install CNI plugins: not podwire's own: {', '.join(foreign)}",
            "nothing was installed; choose another directory, or --force to replace them",
        )


class _Installation:
    """One directory, and what this podwire and this interpreter make of it."""

    def __init__(self, directory: str, python: Optional[str]) -> None:
        self._directory = os.path.abspath(directory)
        self._python = python or base_interpreter()
        self._sources = dict(_sources())
        self._version = self._digest()
        self._library = os.path.join(self._directory, ".podwire", self._version)

    def _digest(self) -> str:
        found = sha256(f"{self._python}\0{_version_of(self._python)}\0{launcher.TEXT}".encode())
        for name, content in sorted(self._sources.items()):
            found.update(f"\0{name}\0{len(content)}\0".encode() + content)
        return found.hexdigest()[:16]

    def entries(self) -> List[Entry]:
        """Every executable and its state."""
        return [Entry(os.path.join(self._directory, name), self._state(name)) for name in NAMES]

    def _state(self, name: str) -> str:
        path = os.path.join(self._directory, name)
        if not os.path.lexists(path):
            return NEW
        if not is_ours(path):
            return FOREIGN
        with open(path, encoding="utf-8") as file:
            return UNCHANGED if file.read() == self._script(name) and os.path.isdir(self._library) else REPLACED

    def is_there(self) -> bool:
        """Whether nothing is left to be done."""
        return all(entry.state == UNCHANGED for entry in self.entries())

    def write(self) -> None:
        """The library, then the scripts, then what has been out of use since the installation before."""
        used = self._used()
        self._remove_leftovers()
        if not os.path.isdir(self._library):
            self._write_library()
        for name in NAMES:
            if self._state(name) != UNCHANGED:
                self._write_script(name)
        for version in self._versions():
            if version not in (*used, self._version):
                shutil.rmtree(os.path.join(self._directory, ".podwire", version))

    def _script(self, name: str) -> str:
        text = launcher.TEXT
        for word, value in (("PYTHON", self._python), ("PLUGIN", name), ("VERSION", self._version)):
            text = text.replace(f"@{word}@", value)
        return text

    def _write_library(self) -> None:
        temporary = os.path.join(self._directory, ".podwire", "new-library")
        for name, content in self._sources.items():
            path = os.path.join(temporary, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(content)
        command = [self._python, *_COMPILING, os.path.join(temporary, "podwire/cni/install/prelink.py"), temporary]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode != 0:
            cause = (done.stderr.strip() or "no reason given").splitlines()[-1]
            raise PodwireError(f"failed to compile the CNI plugins with {self._python}: {cause}")
        for folder, _, names in os.walk(temporary):
            for path in (folder, *(os.path.join(folder, name) for name in names)):
                os.chmod(path, 0o755 if path == folder else 0o644)
                flush(path)
        os.rename(temporary, self._library)
        flush(os.path.dirname(self._library))

    def _write_script(self, name: str) -> None:
        temporary = os.path.join(self._directory, ".podwire", "new-script")
        with open(temporary, "w", encoding="utf-8") as out:
            out.write(self._script(name))
        os.chmod(temporary, 0o755)
        flush(temporary)
        os.rename(temporary, os.path.join(self._directory, name))

    def _used(self) -> Set[str]:
        """The versions that scripts name now."""
        found = set()
        for name in NAMES:
            path = os.path.join(self._directory, name)
            if is_ours(path):
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                found |= {version for version in self._versions() if version in text}
        return found

    def _versions(self) -> List[str]:
        return [name for name in os.listdir(os.path.join(self._directory, ".podwire")) if len(name) == 16]

    def _remove_leftovers(self) -> None:
        """Of an installation that was interrupted: the lock says that nobody is writing them."""
        for name in os.listdir(os.path.join(self._directory, ".podwire")):
            path = os.path.join(self._directory, ".podwire", name)
            if name == "new-library":
                shutil.rmtree(path)
            elif name == "new-script":
                os.unlink(path)


def base_interpreter() -> str:
    """The interpreter that runs this, outside of any virtual environment."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def _version_of(python: str) -> str:
    """``sys.version`` of an interpreter. PodwireError for what is none, too old, or unfit for a first line."""
    if not os.path.isabs(python) or any(each.isspace() for each in python) or len(python) > 100:
        raise PodwireError(f"failed to use {python}: an absolute path is needed, of at most 100 bytes without space")
    if python == base_interpreter():
        return sys.version
    code = "import sys; assert sys.version_info >= (3, 9); print(sys.version)"
    try:
        done = subprocess.run([python, "-IS", "-c", code], capture_output=True, text=True)
    except OSError as error:
        raise PodwireError(f"failed to use {python}: {error.strerror}") from error
    if done.returncode != 0:
        raise PodwireError(f"failed to use {python}: it is no Python 3.9 or newer")
    return done.stdout


# --- which modules ---------------------------------------------------------------------------------


def _sources() -> Iterator[Tuple[str, bytes]]:
    """(path in the library, content) of every module of podwire that a plugin can come to import."""
    pending = [*_ROOTS, *(f"podwire.cni.plugins.{module}" for module, _, _ in PLUGINS.values())]
    seen: Set[str] = set()
    while pending:
        name = pending.pop()
        path = _path(name)
        if name in seen or path is None:
            continue
        seen.add(name)
        with open(os.path.join(_HOME, path), "rb") as file:
            content = file.read()
        yield path, content
        pending += [name.rpartition(".")[0], *_imports(name, path, content)]


def _path(name: str) -> Optional[str]:
    """Where a module of podwire is; None for what is a name in a module, or not podwire's."""
    base = name.replace(".", "/")
    for path in (f"{base}/__init__.py", f"{base}.py"):
        if name.partition(".")[0] == "podwire" and os.path.isfile(os.path.join(_HOME, path)):
            return path
    return None


def _imports(name: str, path: str, content: bytes) -> Iterator[str]:
    """Full names of everything that a module imports anywhere, those that are no modules among them."""
    package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
            full = ".".join(each for each in (base, node.module) if each)
            yield full
            yield from (f"{full}.{each.name}" for each in node.names)
