"""All small changes of a module's source that its tests ought to notice, and a sample of them.

Written here rather than taken from PyPI, after a look at both candidates. mutmut 3 leaves out
whatever stands outside of functions and every decorated function and class, which here are the
values, validators and properties; it takes no sample, and its list of exceptions is a comment in
the source, without a reason. cosmic-ray changes the files of the tree that it is started in, starts
a Python process for every mutant, and would need operators, a filter for the sample and one for the
equivalents as plugins of ours: more code than this file.

Not changed are docstrings, type hints, what is logged, and the text of errors.
"""

from __future__ import annotations

import ast
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_OPPOSITES = {"min": "max", "max": "min"}
_ORDER_KEYWORDS = ("key", "reverse")
# One more of a million would be lost in whatever is rounded.
_LARGE = 1000
_TYPES = ("Annotated", "Literal")
_LOGGERS = ("log",)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_CHANGED_THEMSELVES = (ast.Compare, ast.BoolOp, ast.UnaryOp)
_CONDITIONALS = (ast.If, ast.While, ast.IfExp)


@dataclass(frozen=True)
class Mutant:
    """A module with one change.

    Attributes:
        number: of the source line that changes, from 1; line: its text without indentation.
        before, after: the expression or statement that changes.
        occurrence: how many changes of the same texts come before it.
        source: the whole module.
    """

    module: str
    number: int
    line: str
    before: str
    after: str
    occurrence: int = 0
    source: str = field(default="", repr=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Names the change for as long as its line stays what it is."""
        return self.module, self.line, self.before, self.after


@dataclass(frozen=True)
class _Slot:
    """Where a node stands in the one above it."""

    parent: ast.AST
    name: str
    index: int | None

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.name, node)
        else:
            getattr(self.parent, self.name)[self.index] = node


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Returns every mutant of a module, each with another source, in the order of the lines."""
    tree, lines = ast.parse(source), source.splitlines()
    seen, keys, found = {ast.unparse(tree)}, Counter[tuple[str, str, str, str]](), []
    for slot, node in list(_slots(tree)):
        for replacement in _replacements(slot, node):
            before = _one_line(node)
            slot.put(replacement)
            changed = ast.unparse(tree)
            slot.put(node)
            if changed in seen:
                continue
            seen.add(changed)
            number: int = getattr(node, "lineno", getattr(slot.parent, "lineno", 0))
            line, after = lines[number - 1].strip(), _one_line(replacement)
            key = (module, line, before, after)
            found.append(Mutant(module, number, line, before, after, keys[key], changed))
            keys[key] += 1
    return sorted(found, key=lambda mutant: mutant.number)


def sample(mutants: Iterable[Mutant], count: int, seed: int) -> list[Mutant]:
    """Returns `count` of them, or all there are, in the order of the lines.

    Each has its own draw from the seed and its texts, so that a line that changes, or an equivalent
    that is left out, does not change which of the others are taken.
    """
    drawn = sorted(mutants, key=lambda mutant: _draw(mutant, seed))[:count]
    return sorted(drawn, key=lambda mutant: (mutant.number, mutant.before, mutant.after))


def _draw(mutant: Mutant, seed: int) -> str:
    text = "\0".join((str(seed), *mutant.key, str(mutant.occurrence)))
    return hashlib.sha256(text.encode()).hexdigest()


def _slots(parent: ast.AST) -> Iterator[tuple[_Slot, ast.AST]]:
    """Yields every node that may change with its place, from the outside in."""
    for name, value in ast.iter_fields(parent):
        if name in ("annotation", "returns", "ctx", "op", "ops"):
            continue
        if isinstance(parent, ast.Raise) and isinstance(value, ast.Call):
            value.args, text = [], value.args
            yield from _slots(value)
            value.args = text
            continue
        for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(node, ast.AST) and not _is_left_alone(node):
                yield _Slot(parent, name, index), node
                yield from _slots(node)


def _is_left_alone(node: ast.AST) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))):
            return name in _LOGGERS
        case ast.Subscript(value=ast.Name(id=name)):
            return name in _TYPES
    return False


def _replacements(slot: _Slot, node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left, ops, comparators):
            for index, op in enumerate(ops):
                for other in _COMPARISONS[type(op)]:
                    yield ast.Compare(left, [*ops[:index], other(), *ops[index + 1 :]], comparators)
        case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
            if not (_is_text(left) or _is_text(right)):
                yield ast.BinOp(left, _ARITHMETIC[type(op)](), right)
        case ast.AugAssign(target, op, value):
            if type(op) in _ARITHMETIC and not _is_text(value):
                yield _like(node, ast.AugAssign(target, _ARITHMETIC[type(op)](), value))
            yield ast.Pass()
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield ast.Constant(2 * value if abs(value) >= _LARGE else value + 1)
        case ast.Call(ast.Name(id=name), args, keywords) if name in _OPPOSITES:
            yield ast.Call(ast.Name(_OPPOSITES[name]), args, keywords)
        case ast.Slice(lower, upper, step):
            if lower is not None:
                yield ast.Slice(None, upper, step)
            if upper is not None:
                yield ast.Slice(lower, None, step)
        case ast.Return(value) if value is not None and not isinstance(slot.parent, _FUNCTIONS):
            yield _like(node, ast.Return(ast.Constant(None)))
        case ast.Expr() | ast.Raise() | ast.Delete() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Return(None):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Subscript() | ast.Attribute()]):
            yield ast.Pass()
    if isinstance(node, ast.Call):
        for keyword in node.keywords:
            if keyword.arg in _ORDER_KEYWORDS:
                yield ast.Call(node.func, node.args, [k for k in node.keywords if k is not keyword])
    if _is_condition(slot) and not isinstance(node, _CHANGED_THEMSELVES):
        assert isinstance(node, ast.expr)
        yield ast.UnaryOp(ast.Not(), node)


def _is_text(node: ast.AST) -> bool:
    """Says whether arithmetic with it is joining, of which every change is a TypeError."""
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) or _is_text(node.orelse)
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _is_condition(slot: _Slot) -> bool:
    return (isinstance(slot.parent, _CONDITIONALS) and slot.name == "test") or slot.name == "ifs"


def _like(old: ast.stmt, new: ast.stmt) -> ast.stmt:
    return ast.copy_location(new, old)


def _one_line(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())
