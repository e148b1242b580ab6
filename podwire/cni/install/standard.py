"""The standard library's ``ipaddress`` for the archive: without functools, and in parts.

Its classes for IPv6 take a third of its time, and what it knows of special networks, 55 of them, as much as all the
rest. Both are parts of their own, which the module gets when they are first asked for (see preload.py).
"""

from __future__ import annotations

import ast

from .linker import Later

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Tuple

#: What it needs of functools, lean has.
LINKS = {"functools": "podwire.startup_typing", "ipaddress": "ipaddress"}


def ipaddress_parts(text: str) -> Iterator[Tuple[ast.AST, List[str]]]:
    """Syntax trees, and the names that are to be found in them: first the module itself."""
    bodies: Dict[str, List[ast.stmt]] = {"": [], "v6": [], "constants": []}
    for each in ast.parse(text).body:
        if not (isinstance(each, ast.Import) and each.names[0].name == "functools"):
            bodies[_part_of(each)].append(each)
    bodies["constants"] += ast.parse("def _with_constants(kind): return kind").body
    names = {part: [each.name for each in body if isinstance(each, _NAMED)] for part, body in bodies.items()}
    elsewhere = Later({each: ("ipaddress", each) for each in names["v6"]})
    for part, body in bodies.items():
        tree: Any = _Asking().visit(ast.Module(body, []))
        yield ast.fix_missing_locations(tree if part == "v6" else elsewhere.visit(tree)), names[part]


_NAMED = (ast.ClassDef, ast.FunctionDef)


def _part_of(node: ast.stmt) -> str:
    if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") == "_constants":
        return "constants"
    if isinstance(node, ast.ClassDef) and node.name.endswith("Constants"):
        return "constants"
    return "v6" if isinstance(node, ast.ClassDef) and "v6" in node.name else ""


class _Asking(ast.NodeTransformer):
    """Has the constants be there: ``x._constants`` becomes ``ipaddress._with_constants(x)._constants``."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        self.generic_visit(node)
        if node.attr == "_constants" and isinstance(node.ctx, ast.Load):
            asked = ast.Attribute(ast.Name("ipaddress", ast.Load()), "_with_constants", ast.Load())
            node.value = ast.copy_location(ast.Call(asked, [node.value], []), node)
        return node
