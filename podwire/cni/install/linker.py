"""What prelink does to podwire's modules before it compiles them, so that the archive's do the same with less.

- Annotations, ``if TYPE_CHECKING``, protocols and ``__future__`` are for people and mypy: they are left out.
- A class of ``lean.NamedTuple`` is written out as what that would make of it.
- Imports are linked. The modules that a module names stand in it before it runs (see preload.py). A name *of* a module
  that only functions read becomes an attribute of that module, which so runs when a function first needs it. A name
  that a module only passes on is taken from where it comes from, and one that nothing reads from nowhere.
- Making a class takes 15 us. One that only functions need is a part of its own, which runs when it is asked for.
"""

from __future__ import annotations

import ast

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Container, Dict, Iterator, List, Mapping, Set, Tuple

    #: A module and a name in it, which is "" for the module itself.
    Place = Tuple[str, str]

#: Modules with classes of which a call needs few.
_SPARSE = ("podwire.errors", "podwire.model.address", "podwire.model.nft_rule")
#: What type aliases are made with.
_GENERICS = ("Callable", "Dict", "List", "Mapping", "Tuple", "Union", "dict", "list", "tuple")
#: What named tuples stand on when they are written out.
_TUPLE_PARTS = ("_Named", "_new", "_tuplegetter")


class Module:
    """A module of podwire: its syntax tree, without what nothing looks at when it runs."""

    def __init__(self, name: str, package: bool, text: str) -> None:
        self.name = name
        self.tree: ast.Module = _Essence().visit(ast.parse(text))
        early, late = _reads(self.tree)
        self.tree.body = [each for each in self.tree.body if not _is_alias(each, early | late)]
        #: Classes that wait, after linking.
        self.parts: Dict[str, ast.Module] = {}
        self._folder = name if package else name.rpartition(".")[0]
        #: What it imports at its top level, by the names that this has here.
        self.imports: Dict[str, Place] = {each: ("podwire.startup_typing", each) for each in _TUPLE_PARTS}
        #: The names that it binds itself.
        self.own: Set[str] = set()
        for statement in self.tree.body:
            places = dict(self._imported(statement))
            self.imports.update(places)
            self.own |= set() if places else _bound_by(statement)
        for each in self.own:
            self.imports.pop(each, None)

    def _imported(self, statement: ast.stmt) -> Iterator[Tuple[str, Place]]:
        if isinstance(statement, ast.Import):
            yield from ((each.asname or each.name, (each.name, "")) for each in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.names[0].name != "*":
            parts = self._folder.split(".")
            base = ".".join(parts[: len(parts) - statement.level + 1]) if statement.level else ""
            module = ".".join(each for each in (base, statement.module) if each)
            yield from ((each.asname or each.name, (module, each.name)) for each in statement.names)

    def lent(self, modules: Mapping[str, Module]) -> Iterator[Place]:
        """The names that other modules have to have, because it reads them as attributes or imports them later."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in self.imports:
                module, name = _origin(self.imports[node.value.id], modules)
                if not name:
                    yield module, node.attr
            elif isinstance(node, ast.stmt) and node not in self.tree.body:
                yield from (place for _, place in self._imported(node))

    def link(self, modules: Mapping[str, Module], known: Container[str], lent: Container[Place]) -> Dict[str, str]:
        """Link what comes from ``known`` modules. The names that have to stand in the module, to modules."""
        clashing = _bound_inside(self.tree)
        waiting, early, late = self._waiting(clashing)
        early |= {each for each in self.imports if (self.name, each) in lent} | late & {*clashing, "_new"}
        links: Dict[str, str] = {}
        made: List[ast.stmt] = []
        attributes: Dict[str, Place] = {}
        for name, place in self.imports.items():
            module, attribute = _origin(place, modules)
            if name not in early and name not in late or module not in known:
                continue
            assert module not in modules or not attribute or attribute in modules[module].own, (self.name, name)
            links[module if attribute else name] = module
            if attribute and name in early:
                made.append(ast.Assign([ast.Name(name, ast.Store())], _attribute(module, attribute), lineno=1))
            elif attribute:
                attributes[name] = module, attribute
        self.tree.body = made + [each for each in self.tree.body if not self._is_linked(each, modules, known)]
        if waiting:
            links[self.name] = self.name
            attributes.update({each: (self.name, each) for each in waiting})
        self.tree = ast.fix_missing_locations(Later(attributes).visit(self.tree))
        for node in self.tree.body[:]:
            if isinstance(node, ast.ClassDef) and node.name in waiting:
                self.tree.body.remove(node)
                self.parts[node.name] = ast.Module([node], [])
        return links

    def _waiting(self, clashing: Container[str]) -> Tuple[Set[str], Set[str], Set[str]]:
        """The classes that can wait; the names that are read while the module runs without them, and later."""
        classes = {each.name: each for each in self.tree.body if isinstance(each, ast.ClassDef)}
        waiting = {cls_ for cls_ in classes if cls_ not in clashing} if self.name in _SPARSE else set()
        while True:
            rest = [each for each in self.tree.body if getattr(each, "name", "") not in waiting]
            early, late = _reads(ast.Module(rest, []))
            if not early & waiting:
                return waiting, early, late | {name for each in waiting for name in _all_reads(classes[each])}
            waiting -= early

    def _is_linked(self, statement: ast.stmt, modules: Mapping[str, Module], known: Container[str]) -> bool:
        places = [place for _, place in self._imported(statement)]
        return bool(places) and all(_origin(place, modules)[0] in known for place in places)


def _origin(place: Place, modules: Mapping[str, Module]) -> Place:
    """Where a name comes from, whatever modules have passed it on."""
    module, name = place
    while name and module in modules:
        if name in modules[module].imports:
            module, name = modules[module].imports[name]
        elif name not in modules[module].own and f"{module}.{name}" in modules:
            module, name = f"{module}.{name}", ""
        else:
            break
    return module, name


def _attribute(module: str, name: str) -> ast.Attribute:
    return ast.Attribute(ast.Name(module, ast.Load()), name, ast.Load())


def _is_alias(statement: ast.stmt, read: Container[str]) -> bool:
    """Whether it gives a name to a type, for annotations."""
    if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
        return False
    value = statement.value.value if isinstance(statement.value, ast.Subscript) else None
    return isinstance(value, ast.Name) and value.id in _GENERICS and statement.targets[0].id not in read


# --- names --------------------------------------------------------------------------------------------


def _reads(tree: ast.AST) -> Tuple[Set[str], Set[str]]:
    """Names that are read while a module runs, and those that its functions read later."""
    early: Set[str] = set()
    late: Set[str] = set()

    def visit(node: ast.AST, names: Set[str]) -> None:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
        for child in ast.iter_child_nodes(node):
            visit(child, late if _is_body(node, child) else names)

    visit(tree, early)
    return early, late


def _all_reads(tree: ast.AST) -> Set[str]:
    early, late = _reads(tree)
    return early | late


def _is_body(node: ast.AST, child: ast.AST) -> bool:
    """Whether a part of a syntax tree is what a function executes; its defaults and decorators are not."""
    return (
        isinstance(node, ast.Lambda) and child is node.body or isinstance(node, ast.FunctionDef) and child in node.body
    )


def _bound_by(node: ast.AST) -> Set[str]:
    """The names that a statement binds where it stands."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    found = set()
    if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
        found.add(node.id)
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        found |= {(each.asname or each.name).partition(".")[0] for each in node.names}
    elif isinstance(node, ast.ExceptHandler) and node.name:
        found.add(node.name)
    for child in ast.iter_child_nodes(node):
        found |= _bound_by(child)
    return found


def _bound_inside(tree: ast.AST) -> Set[str]:
    """The names that any function or comprehension binds: they may mean something else there."""
    found: Set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.comprehension):
            found |= _bound_by(node.target)
        elif isinstance(node, ast.FunctionDef):
            for statement in node.body:
                found |= _bound_by(statement)
    return found


# --- rewriting ----------------------------------------------------------------------------------------


class Later(ast.NodeTransformer):
    """Reads names of modules when they are needed."""

    def __init__(self, attributes: Mapping[str, Place]) -> None:
        self._attributes = attributes

    def visit_Name(self, node: ast.Name) -> ast.expr:
        place = self._attributes.get(node.id)
        return node if place is None else ast.copy_location(_attribute(*place), node)


class _Essence(ast.NodeTransformer):
    """Leaves out what nothing looks at, and writes out named tuples."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Any:
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> Any:
        self.generic_visit(node)
        return node.orelse if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING" else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Any:
        self.generic_visit(node)
        return ast.copy_location(ast.Assign([node.target], node.value), node) if node.value else None

    def visit_ClassDef(self, node: ast.ClassDef) -> Any:
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        if "Protocol" in bases:
            return None
        if bases == ["NamedTuple"]:
            node = _written_out(node)
        self.generic_visit(node)
        node.body = node.body or [ast.copy_location(ast.Pass(), node)]
        return node


def _written_out(node: ast.ClassDef) -> ast.ClassDef:
    """A named tuple as a class with a constructor and a getter a field."""
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    names = [field.target.id for field in fields if isinstance(field.target, ast.Name)]
    listed = "".join(f"{name}, " for name in names)
    lines = [
        f"class {node.name}(_Named):",
        "__slots__ = ()",
        f"_fields = {tuple(names)!r}",
        f"def __new__(_cls, {listed}): return _new(_cls, ({listed}))",
        *(f"{name} = _tuplegetter({number}, None)" for number, name in enumerate(names)),
    ]
    made = ast.parse("\n ".join(lines)).body[0]
    for each in ast.walk(made):
        ast.copy_location(each, node)
    assert isinstance(made, ast.ClassDef) and isinstance(made.body[2], ast.FunctionDef)
    made.body[2].args.defaults = [field.value for field in fields if field.value]
    made.body += [each for each in node.body if each not in fields]
    return made
