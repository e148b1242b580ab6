"""What modules need of ``typing`` when they run, without typing.

Installed CNI plugins need none of it (see cni/linker.py); everything else that starts often does.
"""

# mypy: ignore-errors

from __future__ import annotations


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
        from .lean import _Named, _tuplegetter

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
