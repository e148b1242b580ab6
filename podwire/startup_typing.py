"""What a CNI plugin's start-up can afford of ``typing``, ``collections``, ``functools`` and ``hashlib``.

A plugin is a process of its own, called for every pod. Python starts in 8 ms; ``typing`` costs 9 more,
``hashlib`` 5 (it loads OpenSSL) and ``collections`` 2 (see docs/ARCHITECTURE.md). So the modules on a plugin's
way import none of them at run time: they import from here, and the rest for type checkers only.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"

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

    class _Alias:
        """Stands for Callable and Union in the definitions of type aliases, which run."""

        def __getitem__(self, parameters):
            return object

    Callable = Union = _Alias()

    class Protocol:
        """typing.Protocol, without typing."""

    class _Maker(type):
        """Makes each subclass of NamedTuple a tuple with named fields, as typing's does (by the same code
        that collections.namedtuple generates, so that building one costs the same). Compiling that code would
        take longer than all the rest, so it comes from templates."""

        def __new__(mcs, name, bases, namespace):
            if not bases:
                return super().__new__(mcs, name, bases, namespace)
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = tuple(namespace.pop(field) for field in fields if field in namespace)
            namespace.update(
                __slots__=(),
                __match_args__=fields,
                __new__=_Function(mcs.code(fields), {"_new": tuple.__new__, "__builtins__": {}}, name, defaults),
                _fields=fields,
                _field_defaults=dict(zip(fields[len(fields) - len(defaults) :], defaults)),
            )
            for number, field in enumerate(fields):
                namespace[field] = _tuplegetter(number, field)
            return type(name, (_Named,), namespace)

        @classmethod
        def code(mcs, fields):
            """The code of ``__new__``."""
            count = len(fields)
            if count >= len(_TEMPLATES):
                arguments = ", ".join(fields)
                return eval(f"lambda _cls, {arguments}: _new(_cls, ({arguments},))").__code__
            return _TEMPLATES[count].__code__.replace(co_varnames=("_cls", *fields))

    _new = tuple.__new__
    _TEMPLATES = (  # for so many fields
        None,
        lambda _, a: _new(_, (a,)),
        lambda _, a, b: _new(_, (a, b)),
        lambda _, a, b, c: _new(_, (a, b, c)),
        lambda _, a, b, c, d: _new(_, (a, b, c, d)),
        lambda _, a, b, c, d, e: _new(_, (a, b, c, d, e)),
        lambda _, a, b, c, d, e, f: _new(_, (a, b, c, d, e, f)),
        lambda _, a, b, c, d, e, f, g: _new(_, (a, b, c, d, e, f, g)),
        lambda _, a, b, c, d, e, f, g, h: _new(_, (a, b, c, d, e, f, g, h)),
        lambda _, a, b, c, d, e, f, g, h, i: _new(_, (a, b, c, d, e, f, g, h, i)),
        lambda _, a, b, c, d, e, f, g, h, i, j: _new(_, (a, b, c, d, e, f, g, h, i, j)),
        lambda _, a, b, c, d, e, f, g, h, i, j, k: _new(_, (a, b, c, d, e, f, g, h, i, j, k)),
        lambda _, a, b, c, d, e, f, g, h, i, j, k, m: _new(_, (a, b, c, d, e, f, g, h, i, j, k, m)),
        lambda _, a, b, c, d, e, f, g, h, i, j, k, m, n: _new(_, (a, b, c, d, e, f, g, h, i, j, k, m, n)),
        lambda _, a, b, c, d, e, f, g, h, i, j, k, m, n, o: _new(_, (a, b, c, d, e, f, g, h, i, j, k, m, n, o)),
    )
    _Function = type(lambda: 0)

    class NamedTuple(metaclass=_Maker):
        """typing.NamedTuple, without typing."""
