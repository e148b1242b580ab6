"""The first code of an installed plugin: puts the modules that it needs in place, all from one file.

Python's importer asks the file system and takes locks for every module, 0.1 ms each. Here the modules' code
comes in one piece, in the order in which their imports ended when the plugin was installed, and is run in that
order: every import statement then finds its module there. What a plugin imports later, and seldom, comes
from the library beside it in the usual way.
"""

from __future__ import annotations

import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader

TYPE_CHECKING = False  # not from podwire.lean, which comes second

if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Dict, List, Optional, Tuple

    #: (name, whether it is a package, path of its source (podwire's own: in the library), code)
    Preloaded = List[Tuple[str, bool, str, CodeType]]
else:
    ModuleType = type(sys)  # types imports what it does not need


def preload(library: str, modules: Preloaded, extensions: Dict[str, str]) -> None:
    """Run the modules. ``library``: the directory that holds the package. ``extensions``: name to path."""
    sys.meta_path.insert(0, _Extensions(extensions))
    found = sys.modules
    for name, package, path, _ in modules:
        module = found[name] = ModuleType(name)
        if path[0] != "/":
            path = f"{library}/{path}"
        module.__spec__ = ModuleSpec(name, None, origin=path, is_package=package)
        module.__file__ = path
        module.__package__ = name if package else name.rpartition(".")[0]
        if package:
            module.__path__ = module.__spec__.submodule_search_locations = [path.rpartition("/")[0]]
    for name, _, _, code in modules:
        if name == "ipaddress":
            _run_without_functools(code, found[name])
        else:
            exec(code, found[name].__dict__)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(found[parent], child, found[name])


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
