"""Compile an installed library, and put the code of all its modules into one archive, for ``preload`` to read.

A program of its own, run by the interpreter that the plugins will have: ``python -IS prelink.py LIBRARY``.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from podwire.cni.install.linker import Module
from podwire.cni.install.standard import LINKS, ipaddress_parts

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Tuple

    #: A module's name, its code, the names that have to stand in it, and what it gets later (see preload.py).
    Coded = Tuple[str, Any, Dict[str, str], Dict[str, Any]]

#: The archive's name in the library.
ARCHIVE = "archive"
#: So much room its head has; launchers read it whole.
HEAD_BYTES = 1 << 15
#: Modules of the standard library that come along, if they are in files at all.
_STANDARD = ("genericpath", "ipaddress", "posixpath")
#: Modules of the standard library in machine code, wherever they are.
_MACHINE = ("_collections", "_ctypes", "_functools", "_json", "_sha2", "_sha256", "_socket", "errno", "fcntl", "gc")
#: Those that are nothing but another name for one in machine code.
_RENAMED = {"stat": "_stat", "struct": "_struct"}
#: What makes the archive is not in it.
_PROGRAMS = (
    "podwire.cni.install.linker",
    "podwire.cni.install.prelink",
    "podwire.cni.install.preload",
    "podwire.cni.install.standard",
)
#: What stands in for os.
_OS = "podwire.cni.install.startup_os"
#: Modules that are read together, because a call that needs one of them needs most: texts that many have in common
#: are there once. The first are what DEL needs before it asks the kernel to remove a device.
_TOGETHER = (
    "cni.install.launch cni.skel cni.spec.cmdargs cni.spec.keys cni.spec.netconf cni.spec.registry "
    "cni.engine.background cni.engine.commands cni.engine.ipam cni.engine.removal cni.plugins.naming "
    "cni.plugins.base jsontext kernel.netlink.link_removal kernel.namespaces kernel.netlink.socket "
    "model.device_name model.wire startup_typing os",
    "cni.spec.delegate cni.spec.invoke cni.plugins.host_local cni.spec.result cni.spec.route ipam.allocator ipam.index "
    "ipam.ranges ipam.store model.values boot files",
    "cni.engine.adoption cni.engine.engine cni.engine.namespaces cni.engine.step cni.engine.targets cni.plugins.common "
    "cni.plugins.plugin converge errors kernel.announce kernel.devices kernel.execute kernel.lock kernel.show "
    "model.address model.devices.bridge model.devices.device model.devices.table model.devices.veth model.kind "
    "model.link model.neighbour model.route model.state model.sysctl plan",
)
_PACK_OF = {
    name if name == "os" else f"podwire.{name}": str(number)
    for number, names in enumerate(_TOGETHER)
    for name in names.split()
}
#: Modules that every Python has loaded when a plugin begins, and preload's.
_LOADED = ("marshal", "os", "posix", "sys")


def archive_of(library: str) -> bytes:
    """``sys.version``, NUL, the head in HEAD_BYTES, and the packs.

    The head is (first code, index, length and place of each pack): the code is preload.py and a call of it, in the
    launcher's names; the index and packs are described there. All is bound to ``sys.version``: byte code and the
    standard library's modules are this very Python's.
    """
    index: Dict[str, Any] = dict(_machine_code())
    packs: Dict[str, Any] = {}
    for name, code, links, later in [*_standard(), *_podwire(library, index)]:
        pack = packs.setdefault(_PACK_OF.get(name, name), {})
        pack[name] = code, links, {each: marshal.dumps(part) for each, part in later.items()}
    numbers = {pack: number for number, pack in enumerate(packs)}
    index.update({name: numbers[pack] for pack, names in packs.items() for name in names})
    parts = [marshal.dumps(pack) for pack in packs.values()]
    starts = [HEAD_BYTES + sum(map(len, parts[:number])) for number in range(len(parts))]
    head = marshal.dumps((_first_code(library), index, [(len(part), start) for part, start in zip(parts, starts)]))
    head = sys.version.encode() + b"\0" + head
    assert len(head) <= HEAD_BYTES
    return head.ljust(HEAD_BYTES) + b"".join(parts)


def _first_code(library: str) -> Any:
    path = "podwire/cni/install/preload.py"
    text = _read(os.path.join(library, path)) + _CALL
    return _compiled(Module("preload", False, text).tree, path)


_CALL = """
preload(library, index, lambda pack: marshal.loads(posix.pread(archive, *packs[pack])))
from podwire.cni.install.launch import launch
launch(plugin)
"""


def _machine_code() -> Iterator[Tuple[str, Tuple[str, str]]]:
    for name, real in {**dict(zip(_MACHINE, _MACHINE)), **_RENAMED}.items():
        spec = find_spec(real)
        origin = (spec and spec.origin) or ""
        if origin == "built-in" or origin.endswith(".so"):
            yield name, (real, origin)


def _standard() -> Iterator[Coded]:
    for name in _STANDARD:
        path = os.path.join(os.path.dirname(os.__file__), f"{name}.py")
        if name != "ipaddress" and os.path.isfile(path):
            yield name, _compiled(_read(path), path), {}, {}
        elif name == "ipaddress":
            whole, *parts = ipaddress_parts(_read(path))
            later = {each: _compiled(tree, path) for tree, names in parts for each in names}
            yield name, _compiled(whole[0], path), LINKS, later


def _podwire(library: str, index: Dict[str, Any]) -> Iterator[Coded]:
    modules: Dict[str, Module] = {}
    paths = {}
    for folder, _, names in os.walk(library):
        for each in names:
            path = os.path.join(folder, each)
            shown = os.path.relpath(path, library)
            parts = shown[: -len(".py")].split("/")
            package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if package else parts)
            if each.endswith(".py") and name not in _PROGRAMS:
                paths[name] = shown
                modules[name] = Module(name, package, _read(path))
    known = {*modules, *index, *_STANDARD, *_LOADED}
    lent = {place for module in modules.values() for place in module.lent(modules)}
    for name, module in modules.items():
        links = module.link(modules, known, lent)
        later = {each: _compiled(part, paths[name]) for each, part in module.parts.items()}
        yield "os" if name == _OS else name, _compiled(module.tree, paths[name]), links, later


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def _compiled(source: Any, shown: str) -> Any:
    """Without docstrings and assertions, which are for people and mypy."""
    return compile(source, shown, "exec", dont_inherit=True, optimize=2)


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
