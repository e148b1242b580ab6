"""The first code of an installed plugin: finds all modules in one file, and runs each when it is first needed.

Python's importer asks the file system and takes locks for every module, 0.1 ms each, and runs what is imported
whether or not it is used. Here every module stands ready from the beginning as an empty one. The first look for a
name in it reads its code from the archive that ``prelink`` made, and runs it. So naming a module costs nothing, and
a plugin that is asked for no masquerading never runs what would do it.
"""

from __future__ import annotations

import _imp
import sys
from _frozen_importlib import ModuleSpec
from marshal import loads

TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any, Callable, Dict, Tuple, Union

    #: Of a module, the number of its pack. Of one in machine code, its own name, and "built-in" or its file's path.
    Index = Dict[str, Union[int, Tuple[str, str]]]
    #: Code; the names that have to stand in the module before it runs, to the modules that they mean; and the names
    #: that it gets when they are asked for, to code that makes them, marshalled.
    Pack = Dict[str, Tuple[CodeType, Dict[str, str], Dict[str, bytes]]]
else:
    ModuleType = type(sys)  # types imports what it does not need


def preload(library: str, index: Index, read: Callable[[int], Pack]) -> None:
    """Have the modules stand ready. ``library``: the directory that holds the package. ``read`` gives the packs."""
    packs: Dict[int, Pack] = {}
    parts: Dict[str, Dict[str, bytes]] = {}
    modules = sys.modules

    class Waiting(ModuleType):
        """A module that has not been run yet, or not all of it."""

        __spec__ = None  # for the importer, which asks whether it is being run

        def __getattr__(self, name: str) -> Any:
            own = self.__name__
            if name[:2] != "__" or name == "__all__":  # others are asked by the importer
                if own in index:
                    run(self, own, index.pop(own))
                    return getattr(self, name)
                if name in parts.get(own, ()):
                    exec(loads(parts[own].pop(name)), self.__dict__)
                    return getattr(self, name)
            raise AttributeError(f"module {own!r} has no attribute {name!r}")

    def run(module: ModuleType, name: str, where: Union[int, Tuple[str, str]]) -> None:
        if isinstance(where, tuple):
            module.__dict__.update(vars(_machine_code(*where)))
            return
        pack = packs.get(where) or packs.setdefault(where, read(where))
        code, links, parts[name] = pack[name]
        path = code.co_filename
        module.__dict__.update(
            {each: modules[found] for each, found in links.items()},
            __file__=path if path[0] == "/" else f"{library}/{path}",
            __package__=name if path.endswith("__init__.py") else name.rpartition(".")[0],
        )
        exec(code, module.__dict__)

    for name in index:
        if name not in modules:
            modules[name] = Waiting(name)
    modules["gc"].disable()


def _machine_code(name: str, origin: str) -> ModuleType:
    """A module without the importer, which would look for it in all places."""
    spec = ModuleSpec(name, None, origin=origin)
    built_in = origin == "built-in"
    made = _imp.create_builtin(spec) if built_in else _imp.create_dynamic(spec)
    (_imp.exec_builtin if built_in else _imp.exec_dynamic)(made)
    return made
