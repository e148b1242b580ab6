"""The first code of an installed plugin: finds all modules in one file, and runs each when it is first needed.

Python's importer asks the file system and takes locks for every module, 0.1 ms each, and runs what is imported
whether or not it is used. Here every module stands ready from the beginning as an empty one. The first look for a
name in it reads its code from the archive that ``prelink`` made, and runs it. So an import statement costs nothing,
and a plugin that is asked for no masquerading never runs what would do it.
"""

from __future__ import annotations

import gc
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader
from marshal import loads

TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Dict, Optional, Tuple

    #: Name of a module to (whether it is a package, path of its source, where its code is in the archive, its length).
    #: Paths of podwire's own are relative to the library.
    Index = Dict[str, Tuple[bool, str, int, int]]
else:
    ModuleType = type(sys)  # types imports what it does not need


def preload(library: str, archive: int, start: int) -> None:
    """Have the modules stand ready. ``library``: the directory that holds the package. ``archive``: the open file,
    with its index at ``start``: the modules, and modules of machine code by name, to their paths."""
    gc.disable()
    index: Index
    extensions: Dict[str, str]
    index, extensions = loads(posix.pread(archive, 1 << 14, start))
    sys.meta_path.insert(0, _Extensions(extensions))
    found = sys.modules
    found.setdefault("os", _Os("os"))
    for name, (package, path, start, length) in index.items():
        if name in found:
            continue
        if path[0] != "/":
            path = f"{library}/{path}"
        module = found[name] = _Waiting(name)
        spec = ModuleSpec(name, None, origin=path, is_package=package)
        module.__dict__.update(
            __spec__=spec,
            __file__=path,
            __package__=name if package else name.rpartition(".")[0],
            __code__=(archive, length, start),
        )
        if package:
            module.__dict__["__path__"] = spec.submodule_search_locations = [path.rpartition("/")[0]]


class _Waiting(ModuleType):
    """A module that has not been run yet."""

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":  # asked by the importer itself
            raise AttributeError(name)
        _run(self)
        return getattr(self, name)


def _run(module: ModuleType) -> None:
    """Run a waiting module; its package first, as Python does."""
    package = sys.modules.get(module.__name__.rpartition(".")[0])
    if type(package) is _Waiting:
        _run(package)
        if type(module) is not _Waiting:
            return
    code = loads(posix.pread(*module.__dict__.pop("__code__")))
    module.__class__ = ModuleType
    if module.__name__ == "ipaddress":
        _run_without_functools(code, module)
        for each in ("_BaseNetwork", "IPv4Address", "IPv4Network", "IPv6Address", "IPv6Network"):
            kind = getattr(module, each)
            kind._constants = _Constants(kind)
    else:
        exec(code, module.__dict__)
    inside = module.__name__ + "."
    if "__path__" in module.__dict__:  # a name that the package has given itself goes before a module's
        for name in list(sys.modules):
            if name.startswith(inside) and "." not in name[len(inside) :]:
                module.__dict__.setdefault(name[len(inside) :], sys.modules[name])


class _Os(ModuleType):
    """os as far as plugins need it: the names that it has from posix, and a few more. The real one makes abstract
    base classes, which takes 1 ms; it comes as soon as any other name is looked for."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__dict__.update(vars(posix))
        self.__dict__.update(__name__=name, __spec__=ModuleSpec(name, None), makedirs=_makedirs, pathsep=":")

    def __getattr__(self, name: str) -> Any:
        if name == "path":
            import posixpath

            self.path = sys.modules["os.path"] = posixpath
            return posixpath
        if name[:2] == "__":
            raise AttributeError(name)
        del sys.modules["os"]
        import os

        self.__dict__.update(vars(os))
        return getattr(os, name)


def _makedirs(name: str, mode: int = 0o777, exist_ok: bool = False) -> None:
    """os.makedirs."""
    head, _, tail = name.rstrip("/").rpartition("/")
    if head and tail and not _exists(head):
        _makedirs(head, exist_ok=True)
    try:
        posix.mkdir(name, mode)
    except FileExistsError:
        if not exist_ok or posix.stat(name).st_mode & 0o170000 != 0o040000:
            raise


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


class _Extensions:
    """Finds modules of machine code without looking through directories for them."""

    def __init__(self, paths: Dict[str, str]) -> None:
        self._paths = paths

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Optional[ModuleSpec]:
        """What Python's importer asks."""
        origin = self._paths.get(name)
        return ModuleSpec(name, ExtensionFileLoader(name, origin), origin=origin) if origin else None


def _run_without_functools(code: CodeType, module: ModuleType) -> None:
    """ipaddress needs three things of functools, which with ``collections`` takes four times as long as it."""
    real = sys.modules.get("functools")
    stand_in: Any = ModuleType("functools")
    stand_in.lru_cache, stand_in.total_ordering, stand_in.cached_property = _lru_cache, _total_ordering, _CachedProperty
    sys.modules["functools"] = stand_in
    try:
        exec(code, module.__dict__)
    finally:
        del sys.modules["functools"]
        if real is not None:
            sys.modules["functools"] = real


class _Constants:
    """What ipaddress knows of special networks: 55 of them, which take three quarters of its time and are seldom
    asked for."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        waiting = sys.modules["ipaddress._constants"]
        exec(loads(posix.pread(*waiting.__dict__["__code__"])), vars(sys.modules["ipaddress"]))
        return getattr(self._kind._constants, name)


def _lru_cache(maxsize: int = 128) -> Callable[[Any], Any]:
    from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]

    return lambda function: _lru_cache_wrapper(function, maxsize, False, lambda *each: each)


class _CachedProperty:
    """functools.cached_property: what a method gave once is an attribute from then on."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self._function = function
        self._name = function.__name__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._function(instance)
        return value


def _total_ordering(kind: Any) -> Any:
    """functools.total_ordering for classes that have ``__lt__`` and ``__eq__``."""

    def greater(self: Any, other: Any) -> Any:
        less = type(self).__lt__(self, other)
        return less if less is NotImplemented else not less and self != other

    def at_most(self: Any, other: Any) -> Any:
        less = type(self).__lt__(self, other)
        return less if less is NotImplemented else less or self == other

    def at_least(self: Any, other: Any) -> Any:
        less = type(self).__lt__(self, other)
        return less if less is NotImplemented else not less

    for name, function in (("__gt__", greater), ("__le__", at_most), ("__ge__", at_least)):
        if getattr(kind, name, None) is getattr(object, name):
            setattr(kind, name, function)
    return kind
