"""Compile an installed library, and put the code of all its modules into one archive, for ``preload`` to read.

A program of its own, run by the interpreter that the plugins will have: ``python -IS prelink.py LIBRARY``.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.util import find_spec

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Tuple

#: The archive's name in the library.
ARCHIVE = "archive"
#: Modules of the standard library that come along, if they are in files at all.
_STANDARD = ("__future__", "_collections_abc", "genericpath", "ipaddress", "os", "posixpath", "stat", "struct")
#: Modules of the standard library in files of machine code, wherever they are.
_EXTENSIONS = ("_json", "_ctypes")


def archive_of(library: str) -> bytes:
    """``sys.version``, the length of the index (8 digits), the index, and the modules' code.

    The index is what ``marshal`` makes of (code of preload.py, modules, paths of extensions). It is bound to
    ``sys.version``: byte code and the standard library's modules are this very Python's.
    """
    modules: Dict[str, Tuple[bool, str, int, int]] = {}
    parts = []
    start = 0
    for name, package, path, code in _modules(library):
        data = marshal.dumps(code)
        shown = os.path.relpath(path, library) if path.startswith(library) else path
        modules[name] = (package, shown, start, len(data))
        parts.append(data)
        start += len(data)
    version = sys.version.encode()
    specs = ((name, find_spec(name)) for name in _EXTENSIONS)
    extensions = {name: spec.origin for name, spec in specs if spec and (spec.origin or "").endswith(".so")}
    first = _compiled(os.path.join(library, "podwire/cni/preload.py"), "podwire/cni/preload.py")
    size = len(marshal.dumps((first, modules, extensions)))
    while True:  # numbers take as many bytes whatever they are, but the first time they do not know how many
        before = len(version) + 8 + size
        placed = {
            name: (package, path, start + before, length) for name, (package, path, start, length) in modules.items()
        }
        head = marshal.dumps((first, placed, extensions))
        if len(head) == size:
            return version + b"%08d" % size + head + b"".join(parts)
        size = len(head)


def _modules(library: str) -> Iterator[Tuple[str, bool, str, Any]]:
    """(name, whether it is a package, path of its source, code) of everything that goes into the archive."""
    for name in _STANDARD:
        spec = find_spec(name)
        if spec is not None and (spec.origin or "").endswith(".py"):
            yield name, False, str(spec.origin), _compiled(str(spec.origin), str(spec.origin))
    for folder, _, names in os.walk(library):
        for each in names:
            path = os.path.join(folder, each)
            shown = os.path.relpath(path, library)
            parts = shown[: -len(".py")].split("/")
            package = parts[-1] == "__init__"
            if each.endswith(".py"):
                yield ".".join(parts[:-1] if package else parts), package, path, _compiled(path, shown)


def _compiled(path: str, shown: str) -> Any:
    """Without docstrings and assertions, which are for people and mypy."""
    with open(path, "rb") as file:
        return compile(file.read(), shown, "exec", dont_inherit=True, optimize=2)


def compile_all(library: str) -> None:
    """Byte code beside each source, taken as it is: not to be compared with times of files, or written again."""
    from py_compile import PycInvalidationMode, compile

    for folder, _, names in os.walk(library):
        for name in names:
            path = os.path.join(folder, name)
            if name.endswith(".py"):
                shown = os.path.relpath(path, library)
                compile(path, dfile=shown, doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)


if __name__ == "__main__":
    with open(os.path.join(sys.argv[1], ARCHIVE), "wb") as out:
        out.write(archive_of(sys.argv[1]))
    compile_all(sys.argv[1])
