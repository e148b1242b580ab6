"""podwire on a node: one directory of modules, the same as on the controller or replaced as a whole.

::

    /opt/podwire/lib -> <digest>     a symbolic link: changed by one rename, so there is no moment without a library
    /opt/podwire/<digest>/podwire/   the modules, and their byte code

Processes that run from the previous library keep its directory until the next change. A process resolves the link
once, when it starts (``os.path.realpath``), so it never mixes two libraries.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from hashlib import sha256
from typing import Dict, List

from ..agent.unit import HOME, LIBRARY
from ..errors import PodwireError
from ..files import flush
from ..kernel.lock import locked

__all__ = ["HOME", "LIBRARY", "digest", "install", "pack"]

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_DIGEST_LENGTH = 16
#: What only the controller runs, or what is a separate product.
_NOT_ON_NODES = tuple(
    os.path.join("podwire", *name.split("."))
    for name in ("conform", "report", "intent.inventory", "lab", "stages.controller")
)


def digest() -> str:
    """The name of this podwire: 16 hex digits over the paths and the text of all modules that nodes get."""
    hashed = sha256()
    for name, content in sorted(_modules().items()):
        hashed.update(f"{name}\0{len(content)}\0".encode() + content)
    return hashed.hexdigest()[:_DIGEST_LENGTH]


def pack(directory: str) -> str:
    """The modules that nodes get as one archive in ``directory``, written once. Returns its path."""
    path = os.path.join(directory, f"podwire-{digest()}.zip")
    if not os.path.exists(path):
        temporary = f"{path}.{os.getpid()}"
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(_modules().items()):
                archive.writestr(name, content)
        os.rename(temporary, path)
    return path


def _modules() -> Dict[str, bytes]:
    """Path below the root, and content, of every module that nodes get."""
    modules = {}
    for folder, folders, names in os.walk(os.path.join(_ROOT, "podwire")):
        folders[:] = [
            name for name in folders if os.path.relpath(os.path.join(folder, name), _ROOT) not in _NOT_ON_NODES
        ]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    modules[os.path.relpath(path, _ROOT)] = file.read()
    return modules


def install(archive: str, version: str, home: str = HOME) -> None:
    """Make what ``archive`` holds the library below ``home``, under its digest ``version``.

    The link changes when the directory is complete; the next run removes what a killed one left. PodwireError if it
    cannot be written.
    """
    try:
        with locked(os.path.join(home, "lock")):
            current = os.path.basename(os.path.realpath(os.path.join(home, "lib")))
            for name in _others(home, (version, current)):
                shutil.rmtree(os.path.join(home, name))
            if not os.path.isdir(os.path.join(home, version)):
                _write(archive, version, home)
            link = os.path.join(home, "new-link")
            os.symlink(version, link)
            os.rename(link, os.path.join(home, "lib"))
            flush(home)
    except OSError as error:
        where = error.filename or home
        raise PodwireError(f"failed to install podwire in {home}: {error.strerror}: {where}") from error


def _others(home: str, kept: tuple[str, ...]) -> List[str]:
    """Directories of earlier libraries. Removes what an interrupted installation left."""
    temporary = os.path.join(home, "new-link")
    if os.path.lexists(temporary):
        os.unlink(temporary)
    folders = [entry.name for entry in os.scandir(home) if entry.is_dir(follow_symlinks=False)]
    return [name for name in folders if name not in kept and (len(name) == _DIGEST_LENGTH or name == "new")]


def _write(archive: str, version: str, home: str) -> None:
    import compileall  # 20 ms that callers of digest need not pay
    from py_compile import PycInvalidationMode

    temporary = os.path.join(home, "new")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(temporary)
    # The directory never changes, so Python need not compare the times of source and byte code.
    compileall.compile_dir(
        temporary, ddir=os.path.join(home, version), quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
    )
    for folder, _, names in os.walk(temporary):
        for path in (*(os.path.join(folder, name) for name in names), folder):
            os.chmod(path, 0o755 if path == folder else 0o644)
            flush(path)
    os.rename(temporary, os.path.join(home, version))
