"""What a CNI plugin's start-up can afford of ``typing``, ``collections``, ``functools`` and ``hashlib``.

A plugin is a process of its own, called for every pod. Python starts in 8 ms; ``typing`` costs 9 more,
``hashlib`` 5 (it loads OpenSSL) and ``collections`` 2 (see docs/ARCHITECTURE.md). So the modules on a plugin's
way import none of them at run time: they import from here, and the rest for type checkers only.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections import defaultdict as defaultdict
    from functools import cached_property as cached_property
    from functools import lru_cache as lru_cache
    from functools import total_ordering as total_ordering
    from hashlib import sha256 as sha256
    from hashlib import sha512 as sha512
    from typing import Callable as Callable
    from typing import NamedTuple as NamedTuple
    from typing import Protocol as Protocol
    from typing import Union as Union
else:
    from _collections import _tuplegetter as _tuplegetter
    from _collections import defaultdict as defaultdict
    from _functools import _lru_cache_wrapper

    from .untyped import Callable as Callable
    from .untyped import NamedTuple as NamedTuple
    from .untyped import Protocol as Protocol
    from .untyped import Union as Union

    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256 as sha256
            from _sha2 import sha512 as sha512
        else:
            from _sha256 import sha256 as sha256
            from _sha512 import sha512 as sha512
    except ImportError:  # built without
        from hashlib import sha256 as sha256
        from hashlib import sha512 as sha512

    _new = tuple.__new__

    def lru_cache(maxsize=128):
        """functools.lru_cache, without functools."""
        return lambda function: _lru_cache_wrapper(function, maxsize, False, lambda *each: each)

    class cached_property:
        """functools.cached_property: what a method gave once is an attribute from then on."""

        def __init__(self, function):
            self._function = function

        def __set_name__(self, owner, name):
            self._name = name

        def __get__(self, instance, owner=None):
            if instance is None:
                return self
            value = instance.__dict__[self._name] = self._function(instance)
            return value

    def total_ordering(kind):
        """functools.total_ordering, for classes that have ``__lt__`` and ``__eq__``."""

        def greater(self, other):
            less = type(self).__lt__(self, other)
            return less if less is NotImplemented else not less and self != other

        def at_most(self, other):
            less = type(self).__lt__(self, other)
            return less if less is NotImplemented else less or self == other

        def at_least(self, other):
            less = type(self).__lt__(self, other)
            return less if less is NotImplemented else not less

        for name, function in (("__gt__", greater), ("__le__", at_most), ("__ge__", at_least)):
            if getattr(kind, name, None) is getattr(object, name):
                setattr(kind, name, function)
        return kind

    class _Named(tuple):
        """What all named tuples have in common."""

        __slots__ = ()

        @classmethod
        def _make(cls, values):
            return tuple.__new__(cls, values)

        def _replace(self, **changes):
            made = self._make([changes.pop(field, value) for field, value in zip(self._fields, self)])
            if changes:
                raise ValueError(f"Got unexpected field names: {list(changes)!r}")
            return made

        def _asdict(self):
            return dict(zip(self._fields, self))

        def __getnewargs__(self):
            return tuple(self)

        def __repr__(self):
            pairs = ", ".join(f"{field}={value!r}" for field, value in zip(self._fields, self))
            return f"{type(self).__name__}({pairs})"
