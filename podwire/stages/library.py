"""podwire on a node: one directory of modules, the same as on the controller or replaced whole.

::

    /opt/podwire/lib -> <digest>     a symbolic link: changed by one rename, so there is no moment without a library
    /opt/podwire/<digest>/podwire/   the modules, and their byte code

What runs on the library before keeps its directory until the next change; whoever starts looks the link up once and
stays with what it names (``os.path.realpath``), so no process ever mixes two.
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
#: Packages that no node imports (pyproject.toml has the contract): what makes labs, and products of their own.
_NOT_SHIPPED = ("conform", "lab", "report")


def digest() -> str:
    """The name of this very podwire: 16 hex digits over the paths and the text of all its modules."""
    found = sha256()
    for name, content in sorted(_modules().items()):
        found.update(f"{name}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:_DIGEST_LENGTH]


def pack(directory: str) -> str:
    """All modules as one archive in ``directory``; made once, however many processes want it. Returns its path."""
    path = os.path.join(directory, f"podwire-{digest()}.zip")
    if not os.path.exists(path):
        temporary = f"{path}.{os.getpid()}"
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in sorted(_modules().items()):
                archive.writestr(name, content)
        os.rename(temporary, path)
    return path


def _modules() -> Dict[str, bytes]:
    """Path below the root, and content, of every module that a node needs."""
    found = {}
    top = os.path.join(_ROOT, "podwire")
    for folder, below, names in os.walk(top):
        if folder == top:
            below[:] = [name for name in below if name not in _NOT_SHIPPED]
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, _ROOT)] = file.read()
    return found


def install(archive: str, version: str, home: str = HOME) -> None:
    """Make what ``archive`` holds the library below ``home``, under its digest ``version``.

    Whole before it is named; what a killed run left is cleared by the next. PodwireError for what cannot be written.
    """
    try:
        with locked(os.path.join(home, "lock")):
            used = os.path.basename(os.path.realpath(os.path.join(home, "lib")))
            for name in _others(home, (version, used)):
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
    """Directories of earlier libraries; clears what an interrupted installation left on the way."""
    temporary = os.path.join(home, "new-link")
    if os.path.lexists(temporary):
        os.unlink(temporary)
    folders = [each.name for each in os.scandir(home) if each.is_dir(follow_symlinks=False)]
    return [name for name in folders if name not in kept and (len(name) == _DIGEST_LENGTH or name == "new")]


def _write(archive: str, version: str, home: str) -> None:
    import compileall  # 20 ms that those who only ask for a digest need not pay
    from py_compile import PycInvalidationMode

    temporary = os.path.join(home, "new")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(temporary)
    # Taken as it is, without a look at the source's time: the directory never changes.
    compileall.compile_dir(
        temporary, ddir=os.path.join(home, version), quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
    )
    for folder, _, names in os.walk(temporary):
        for path in (*(os.path.join(folder, name) for name in names), folder):
            os.chmod(path, 0o755 if path == folder else 0o644)
            flush(path)
    os.rename(temporary, os.path.join(home, version))
