"""Compile an installed library, and put the code of all its modules into one archive, for ``preload`` to read.

A program of its own, run by the interpreter that the plugins will have: ``python -IS prelink.py LIBRARY``.
"""

from __future__ import annotations

import ast
import marshal
import os
import sys
from importlib.util import find_spec

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Tuple

#: The archive's name in the library.
ARCHIVE = "archive"
#: So much room its index has, for preload to read.
INDEX_BYTES = 1 << 14
#: Modules of the standard library that come along, if they are in files at all.
_STANDARD = ("__future__", "genericpath", "ipaddress", "posixpath", "stat", "struct")
#: Modules of the standard library in files of machine code, wherever they are.
_EXTENSIONS = ("_json", "_ctypes")


def archive_of(library: str) -> bytes:
    """``sys.version``, the length of the first code (8 digits), that, the index, and the modules' code.

    The first code is preload.py and a call of it; the index is (modules, paths of extensions). All is bound to
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
    with open(os.path.join(library, "podwire/cni/preload.py"), encoding="utf-8") as file:
        text = file.read() + "\npreload(library, file, len(head) + int(head[-8:]))\n"  # in the launcher's names
    first = marshal.dumps(compile(text, "podwire/cni/preload.py", "exec", dont_inherit=True, optimize=2))
    head = version + b"%08d" % len(first) + first
    placed = {name: (*each[:2], len(head) + INDEX_BYTES + each[2], each[3]) for name, each in modules.items()}
    index = marshal.dumps((placed, extensions))
    assert len(index) <= INDEX_BYTES
    return head + index.ljust(INDEX_BYTES) + b"".join(parts)


def _modules(library: str) -> Iterator[Tuple[str, bool, str, Any]]:
    """(name, whether it is a package, path of its source, code) of everything that goes into the archive."""
    for name in _STANDARD:
        spec = find_spec(name)
        origin = (spec and spec.origin) or ""
        if name == "ipaddress":
            yield from _split_ipaddress(origin)
        elif origin.endswith(".py"):
            yield name, False, origin, _compiled(origin, origin)
    for folder, _, names in os.walk(library):
        for each in names:
            path = os.path.join(folder, each)
            shown = os.path.relpath(path, library)
            parts = shown[: -len(".py")].split("/")
            package = parts[-1] == "__init__"
            if each.endswith(".py"):
                yield ".".join(parts[:-1] if package else parts), package, path, _compiled(path, shown)


def _split_ipaddress(path: str) -> Iterator[Tuple[str, bool, str, Any]]:
    """The module without its constants, and these (see preload.py)."""
    with open(path, encoding="utf-8") as file:
        whole = ast.parse(file.read())
    constants: List[ast.stmt] = [each for each in whole.body if _is_constant(each)]
    rest: List[ast.stmt] = [each for each in whole.body if not _is_constant(each)]
    for name, body in (("ipaddress", rest), ("ipaddress._constants", constants)):
        yield name, False, path, compile(ast.Module(body, []), path, "exec", dont_inherit=True, optimize=2)


def _is_constant(node: ast.stmt) -> bool:
    if isinstance(node, ast.ClassDef):
        return node.name in ("_BaseConstants", "_IPv4Constants", "_IPv6Constants")
    return isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") == "_constants"


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
