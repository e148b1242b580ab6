"""Compile an installed library, and put the code that a plugin starts with into one file, for ``preload`` to run.

A program of its own, run by the interpreter that the plugins will have: ``python -IS prelink.py LIBRARY
PLUGIN...``. Which modules a plugin starts with, and in which order their imports end, is observed rather than
computed.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.util import find_spec

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, List, Sequence, Tuple

#: Modules of the standard library that come along. The others stay Python's to find: built in, or seldom needed.
_STANDARD = ("__future__", "_collections_abc", "stat", "genericpath", "posixpath", "os", "struct", "ipaddress")
#: Modules of the standard library in files of machine code, wherever they are.
_EXTENSIONS = ("_json", "_ctypes")
#: What a plugin calls in its own process, and therefore mostly needs as well.
_CALLED = {"bridge": ("host-local",), "ptp": ("host-local",), "flannel": ("bridge", "host-local")}


def observe(library: str, plugin: str) -> List[Tuple[str, bool, str]]:
    """(name, whether it is a package, path of its source) of a plugin's modules, in the order in which they end."""
    for name in _STANDARD:
        sys.modules.pop(name, None)
    before = set(sys.modules)
    sys.path.insert(0, library)
    ended: List[str] = []
    bootstrap: Any = sys.modules["_frozen_importlib"]
    load = bootstrap._load_unlocked

    def observed(spec: Any) -> Any:
        module = load(spec)
        ended.append(spec.name)
        return module

    bootstrap._load_unlocked = observed
    skel = __import__("podwire.cni.skel", fromlist=["load"])
    for each in (plugin, *_CALLED.get(plugin, ())):
        skel.load(each)
    __import__("podwire.cni.launch")
    found = []
    for name in ended:
        spec = sys.modules[name].__spec__
        origin = (spec and spec.origin) or ""
        wanted = name in _STANDARD or name.partition(".")[0] == "podwire"
        if wanted and name not in before and origin.endswith(".py"):
            found.append((name, spec is not None and spec.submodule_search_locations is not None, origin))
    return found


def prelink(library: str, plugin: str) -> bytes:
    """``sys.version``, and what ``marshal`` makes of (code of preload.py, modules, paths of extensions).

    Paths of podwire's own modules are relative to the library: it gets another name yet.
    """
    modules = []
    for name, package, path in observe(library, plugin):
        shown = os.path.relpath(path, library) if path.startswith(library) else path
        modules.append((name, package, shown, _compiled(path, shown)))
    first = "podwire/cni/preload.py"
    specs = ((name, find_spec(name)) for name in _EXTENSIONS)
    extensions = {name: spec.origin for name, spec in specs if spec and (spec.origin or "").endswith(".so")}
    return sys.version.encode() + marshal.dumps((_compiled(os.path.join(library, first), first), modules, extensions))


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


def main(library: str, plugins: Sequence[str]) -> int:
    """Each plugin is observed in a process of its own, because an import happens once."""
    compile_all(library)
    for plugin in plugins:
        child = os.fork()
        if child == 0:
            with open(os.path.join(library, plugin), "wb") as out:
                out.write(prelink(library, plugin))
            out.close()
            os._exit(0)
        if os.waitpid(child, 0)[1] != 0:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
