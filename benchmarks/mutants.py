"""The small ways in which benchmarks/mutate.py breaks a file: changes of its syntax tree.

`CHANGES` says what may become of each kind of node; `mutants_of` finds every place of a file where
one applies.  Left alone are annotations, decorators, docstrings, `__all__` and `__slots__`, assertions
and the words of messages: nobody promises them.
"""

from __future__ import annotations

import ast
import contextlib
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Mutant", "Use", "mutants_of", "uses_of"]

Function = ast.FunctionDef | ast.AsyncFunctionDef

# ------------------------------------------------------------------------- what becomes what

OPERATORS: Mapping[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}


def _but(node: ast.AST, **fields: Any) -> Any:
    """The same node with other fields."""
    made = copy.copy(node)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def _not(node: ast.expr) -> ast.expr:
    return ast.copy_location(ast.UnaryOp(ast.Not(), node), node)


def comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    """A bound that moves by a hair; the opposite of what is asked."""
    for index, op in enumerate(node.ops):
        yield _but(node, ops=[*node.ops[:index], OPERATORS[type(op)](), *node.ops[index + 1 :]])


def operators(node: ast.BinOp | ast.AugAssign | ast.BoolOp) -> Iterator[ast.AST]:
    """Plus for minus, times for divided by, `and` for `or`."""
    if type(node.op) in OPERATORS:
        yield _but(node, op=OPERATORS[type(node.op)]())


def signs(node: ast.UnaryOp) -> Iterator[ast.AST]:
    """Without the `not`; without the minus."""
    yield _not(node) if isinstance(node.op, ast.Not) else node.operand


def constants(node: ast.Constant) -> Iterator[ast.AST]:
    """One more and one less; true for false."""
    if isinstance(node.value, bool):
        yield _but(node, value=not node.value)
    elif isinstance(node.value, int | float):
        yield _but(node, value=node.value + 1)
        yield _but(node, value=node.value - 1)


def extremes(node: ast.Call) -> Iterator[ast.AST]:
    """The most for the least, all for any."""
    if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        yield _but(node, func=_but(node.func, id=FUNCTIONS[node.func.id]))


def conditions(node: ast.If | ast.While | ast.IfExp) -> Iterator[ast.AST]:
    """The other way round, where it is plainly true or false; comparisons and the like change themselves."""
    if isinstance(node.test, ast.Name | ast.Attribute | ast.Call | ast.NamedExpr | ast.Subscript):
        yield _but(node, test=_not(node.test))


def filters(node: ast.comprehension) -> Iterator[ast.AST]:
    """Everything, where only some are wanted."""
    for index in range(len(node.ifs)):
        yield _but(node, ifs=[*node.ifs[:index], *node.ifs[index + 1 :]])


def answers(node: ast.Return) -> Iterator[ast.AST]:
    """None for what is returned; on instead of back."""
    if node.value is None:
        yield from without(node)
    elif not isinstance(node.value, ast.Constant):
        yield _but(node, value=ast.copy_location(ast.Constant(None), node))


def without(node: ast.AST) -> Iterator[ast.AST]:
    """Without this statement."""
    yield ast.copy_location(ast.Pass(), node)


CHANGES: Mapping[type[ast.AST], tuple[Callable[[Any], Iterator[ast.AST]], ...]] = {
    ast.Compare: (comparisons,),
    ast.BinOp: (operators,),
    ast.BoolOp: (operators,),
    ast.UnaryOp: (signs,),
    ast.Constant: (constants,),
    ast.Call: (extremes,),
    ast.If: (conditions,),
    ast.While: (conditions,),
    ast.IfExp: (conditions,),
    ast.comprehension: (filters,),
    ast.Return: (answers,),
    ast.AugAssign: (operators, without),
    ast.Expr: (without,),
    ast.Assign: (without,),
    ast.AnnAssign: (without,),
    ast.Delete: (without,),
    ast.Raise: (without,),
    ast.Break: (without,),
    ast.Continue: (without,),
}
UNTOUCHED: Mapping[type[ast.AST], set[str]] = {
    ast.ClassDef: {"bases", "keywords", "decorator_list"},
    ast.FunctionDef: {"returns", "decorator_list"},
    ast.arg: {"annotation"},
    ast.AnnAssign: {"annotation"},
    ast.Raise: {"exc", "cause"},
}
"""Fields of a node in which nothing changes."""

# ------------------------------------------------------------------------- where it applies


class Spot(NamedTuple):
    """Where a node hangs in the tree."""

    parent: ast.AST
    field: str
    place: int | None

    def put(self, node: ast.AST) -> None:
        """Hang this one there instead."""
        if self.place is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.place] = node


@dataclass(eq=False)
class Mutant:
    """One change of one file."""

    file: str
    tree: ast.Module
    spot: Spot
    old: ast.AST
    new: ast.AST
    function: str
    """The outermost function, as Python names it; empty outside of functions."""
    lines: range
    """From the start of its statement to the end of what changes."""
    change: str
    """`before → after`; with a number where the same happens to the same function again."""
    constant: ast.Assign | ast.AnnAssign | None = None
    """The statement, where it gives a name of the module its value, ..."""
    name: str = ""
    """... and that name."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What names it, whatever lines come and go."""
        return self.file, self.function, self.change

    def __str__(self) -> str:
        return f"{self.file}:{self.lines[-1]} {self.function or '(module)'}: {self.change}"

    @contextlib.contextmanager
    def applied(self) -> Iterator[ast.Module]:
        """The whole file with the change, until the block ends."""
        self.spot.put(self.new)
        try:
            yield ast.fix_missing_locations(self.tree)
        finally:
            self.spot.put(self.old)


class Place(NamedTuple):
    """Where the walk through a file is."""

    names: tuple[str, ...] = ()
    function: str = ""
    bound: Mapping[str, int] = {}
    """How often the function gives a value to each of its names."""
    line: int = 1
    """Where the statement begins."""
    constant: ast.Assign | ast.AnnAssign | None = None

    def inside(self, node: ast.AST) -> Place:
        """The place of what is below this node."""
        if isinstance(node, ast.ClassDef):
            return self._replace(names=(*self.names, node.name))
        if isinstance(node, Function) and not self.function:
            return self._replace(function=".".join((*self.names, node.name)), bound=_bound(node))
        return self


def mutants_of(file: Path) -> list[Mutant]:
    """Every change of this file, in the order of its lines."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = list(_Walk(file.name, tree).below(tree, Place()))
    times: Counter[tuple[str, str]] = Counter()
    for mutant in found:
        key = mutant.function, mutant.change
        times[key] += 1
        if times[key] > 1:
            mutant.change += f" ({times[key]})"
    return found


class _Walk:
    """Through one file, from statement to statement."""

    def __init__(self, file: str, tree: ast.Module) -> None:
        self._file = file
        self._tree = tree

    def below(self, node: ast.AST, place: Place) -> Iterator[Mutant]:
        """What can change in the children of this node."""
        for name, value in ast.iter_fields(node):
            if name in UNTOUCHED.get(type(node), ()):
                continue
            outside = isinstance(node, Function) and name == "args"  # defaults are worked out where it is defined
            there = place if outside else place.inside(node)
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.AST) and not _left_alone(child, there):
                    yield from self._at(Spot(node, name, index), child, place=there)

    def _at(self, spot: Spot, node: ast.AST, *, place: Place) -> Iterator[Mutant]:
        if isinstance(node, ast.stmt):
            constant = node if spot.parent is self._tree and isinstance(node, ast.Assign | ast.AnnAssign) else None
            place = place._replace(line=node.lineno, constant=constant)
        end = getattr(node.test if isinstance(node, ast.If | ast.While) else node, "end_lineno", place.line)
        lines = range(place.line, end + 1)
        for change in CHANGES.get(type(node), ()):
            if change is without and not _may_go(node, place):
                continue
            for new in change(node):
                words = _words(spot, node, new=new)
                name = _named(place.constant)
                constant = place.constant if name else None
                yield Mutant(self._file, self._tree, spot, node, new, place.function, lines, words, constant, name)
        yield from self.below(node, place)


def _named(constant: ast.Assign | ast.AnnAssign | None) -> str:
    """The one name that this statement gives a value to; none where they are several."""
    targets = constant.targets if isinstance(constant, ast.Assign) else [constant.target] if constant else []
    return targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""


class Use(NamedTuple):
    """Where a name is looked up."""

    name: str
    inside: bool
    """Of a function, so that it is looked up when that runs."""
    lines: range
    """Of the statement."""


def uses_of(tree: ast.Module) -> Iterator[Use]:
    """Every use of a name in this file."""
    return _uses(tree, lines=range(0), inside=False)


def _uses(node: ast.AST, *, lines: range, inside: bool) -> Iterator[Use]:
    if isinstance(node, ast.stmt):
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        yield Use(node.id, inside, lines)
    for name, value in ast.iter_fields(node):
        below = inside or (isinstance(node, Function) and name == "body")
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _uses(child, lines=lines, inside=below)


def _left_alone(node: ast.AST, place: Place) -> bool:
    """What makes no promise: imports, docstrings, assertions, messages, lists of names, names of types."""
    if isinstance(node, ast.BinOp) and not place.function:
        return isinstance(node.op, ast.BitOr)
    if isinstance(node, ast.Assign):
        return any(isinstance(t, ast.Name) and t.id in {"__all__", "__slots__"} for t in node.targets)
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    if isinstance(node, ast.keyword):
        return node.arg == "strict"  # what `zip` asserts
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Assert | ast.JoinedStr)


def _may_go(node: ast.AST, place: Place) -> bool:
    """Whether it can be missing: not what gives a name its only value, which would fail for any test."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    stored = [name for name in names if name in place.bound]
    empty = isinstance(node, ast.AnnAssign) and node.value is None
    return bool(place.function) and not empty and all(place.bound[name] > 1 for name in stored)


def _bound(node: ast.AST) -> Mapping[str, int]:
    arguments = [each.arg for each in ast.walk(node) if isinstance(each, ast.arg) and each.arg != "self"]
    stored = [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
    return Counter(arguments + stored)


def _words(spot: Spot, node: ast.AST, *, new: ast.AST) -> str:
    """What it was and what it becomes, with as much around a constant or a sign as makes it plain."""
    if isinstance(node, ast.If | ast.While) and isinstance(new, ast.If | ast.While):
        return f"if {ast.unparse(node.test)} → if {ast.unparse(new.test)}"
    small = isinstance(node, ast.Constant | ast.UnaryOp) and not isinstance(spot.parent, ast.If | ast.While | ast.For)
    shown = spot.parent if small else node
    before = ast.unparse(shown)
    if isinstance(new, ast.Pass):
        return f"{_cut(before)} → (nothing)"
    if not small:
        return f"{_cut(before)} → {_cut(ast.unparse(new))}"
    spot.put(new)
    after = ast.unparse(shown)
    spot.put(node)
    return f"{_cut(before)} → {_cut(after)}"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 120 else f"{text[:117]}..."
