"""Parse and evaluate conditions over the manifest's columns or a sweep's fields, as data and never as code.

Only names, values, comparisons, `and`, `or`, `not`, `in` and plain arithmetic are allowed. Names that are not
identifiers are quoted in backticks; a dotted one (`request.seed`) may also be written without. Missing values compare
as false.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from songflow.documents.text import close_names

__all__ = ["COMPARISONS", "BadExpression", "Condition", "nearest", "read_condition", "read_expression"]

Condition = Callable[[Mapping[str, Any]], bool]
"""Evaluates a condition for values by name."""

_Part = Callable[[Mapping[str, Any]], Any]

# No call, attribute, subscript, lambda or f-string; no power or shift, which could exhaust memory.
_ALLOWED_NODES = (
    ast.Expression, ast.BoolOp, ast.boolop, ast.Compare, ast.cmpop, ast.UnaryOp, ast.unaryop, ast.BinOp,
    ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.BitAnd, ast.BitOr,
    ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple,
)  # fmt: skip

COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, among: value in among,
    ast.NotIn: lambda value, among: value not in among,
}
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
}


class BadExpression(ValueError):
    """A fault of a condition, as the end of a sentence: "cannot be read (...)"."""


def read_expression(text: str, names: Mapping[str, str], *, called: str) -> ast.Expression:
    """Parse an expression and replace its names by plain ones.

    Args:
        text: The expression.
        names: The plain name of each allowed name.
        called: The word for such a name in messages, such as "column".

    Raises:
        BadExpression: it cannot be parsed, or contains something that is not allowed.
    """
    quoted = {f"`{name}`": plain for name, plain in names.items()}
    # A backtick inside a quoted text is part of the text.
    unquoted = re.sub(
        r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`[^`]*`",
        lambda found: quoted.get(found[0], found[0]),
        text.strip(),
    )
    try:
        tree: ast.Expression = _Dotted(names).visit(ast.parse(unquoted, mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        raise BadExpression(f"cannot be read ({reason})") from None
    plain_names = frozenset(names.values())
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED_NODES):
            raise BadExpression(f"is not allowed: use {called}s, values and comparisons only")
        if isinstance(node, ast.Name):
            if node.id not in names and node.id not in plain_names:
                near = nearest(node.id, names)
                hint = f": did you mean {near}?" if near else ""
                raise BadExpression(f"names {node.id!r}, which is not a {called}{hint}")
            node.id = names.get(node.id, node.id)
    return tree


class _Dotted(ast.NodeTransformer):
    """Reads `request.seed` as one name if some name begins with `request.`; nothing has attributes here."""

    def __init__(self, names: Iterable[str]) -> None:
        self._heads = {name.partition(".")[0] for name in names if "." in name}

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        inner = self.visit(node.value)
        if isinstance(inner, ast.Name) and inner.id.partition(".")[0] in self._heads:
            return ast.copy_location(ast.Name(f"{inner.id}.{node.attr}", ast.Load()), node)
        return node


def nearest(name: str, known: Iterable[str]) -> str:
    """What was probably meant: a name with the same end after a dot, or up to two that are spelled alike ("a or b")."""
    names = list(known)
    same = [one for one in names if one.rpartition(".")[2] == name.rpartition(".")[2]]
    return " or ".join(same[:1] or close_names(name, names))


def read_condition(text: str, names: Mapping[str, str], *, called: str) -> Condition:
    """Compile a condition, to be evaluated many times.

    The compiled condition raises BadExpression if it cannot be evaluated for the values or its result is not a bool.

    Raises:
        BadExpression: it cannot be parsed, or contains something that is not allowed.
    """
    try:
        part = _part(read_expression(text, names, called=called).body)
    except RecursionError:
        raise BadExpression("cannot be read (it is nested too deeply)") from None

    def holds(values: Mapping[str, Any]) -> bool:
        try:
            found = part(values)
        except (TypeError, ArithmeticError) as error:
            raise BadExpression(f"cannot be evaluated ({error})") from None
        if not isinstance(found, bool):
            raise BadExpression("is not a condition")
        return found

    return holds


def _part(node: ast.expr) -> _Part:
    """Compile one node to a function of the values."""
    match node:
        case ast.Constant(value=value):
            return lambda _: value
        case ast.Name(id=name):
            return lambda values: values.get(name)
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            parts = [_part(element) for element in elements]
            return lambda values: [part(values) for part in parts]
        case ast.UnaryOp():
            return _unary(node)
        case ast.BinOp():
            return _arithmetic(node)
        case ast.BoolOp(op=op, values=nodes):
            parts = [_part(one) for one in nodes]
            decide = all if isinstance(op, ast.And) else any
            return lambda values: decide(_truth(part(values)) for part in parts)
        case ast.Compare():
            return _comparison(node)
        case _:
            raise BadExpression("is not allowed")


def _unary(node: ast.UnaryOp) -> _Part:
    operand = _part(node.operand)
    match node.op:
        case ast.USub():
            return lambda values: -operand(values)
        case ast.UAdd():
            return lambda values: +operand(values)
        case _:
            return lambda values: not _truth(operand(values))


def _arithmetic(node: ast.BinOp) -> _Part:
    left, right, work = _part(node.left), _part(node.right), _OPERATORS[type(node.op)]

    def value(values: Mapping[str, Any]) -> Any:
        one, other = left(values), right(values)
        if one is None or other is None:
            return None
        # A text times a number could exhaust memory, and `%` formats a text.
        if not isinstance(one, int | float) or not isinstance(other, int | float):
            raise TypeError("arithmetic is for numbers")
        return work(one, other)

    return value


def _comparison(node: ast.Compare) -> _Part:
    first = _part(node.left)
    try:
        steps = [
            (COMPARISONS[type(op)], _part(one)) for op, one in zip(node.ops, node.comparators, strict=True)
        ]
    except KeyError:
        raise BadExpression("is not allowed: compare with == and !=") from None

    def holds(values: Mapping[str, Any]) -> bool:
        left = first(values)
        for compare, part in steps:
            right = part(values)
            if left is None or right is None or not compare(left, right):
                return False
            left = right
        return True

    return holds


def _truth(value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise TypeError("and, or and not are for conditions")
    return value
