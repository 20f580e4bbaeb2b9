"""What a condition on the manifest means where pandas reads it otherwise: missing values, times, parts of texts.

rating > 3, not rating > 3      a missing value fulfils no comparison but != and `not in`
intended_at > '2024-01-01'      a time without a zone is in UTC
'mandopop' in tags              one of the tags
'rain' in title                 a part of any other text
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from songflow.documents.conditions import COMPARISONS, BadExpression

if TYPE_CHECKING:
    import pandas

__all__ = ["prepared"]

_YEAR_FIRST = re.compile(r"\d{4}(-\d|$|\d{4}$)")
_LISTED = "tags"
_A_TIME = "write a time as a text, such as '2024-01-31' or '2024-01-31 18:00' (UTC)"


def prepared(
    tree: ast.Expression, frame: pandas.DataFrame, names: Mapping[str, str]
) -> tuple[ast.Expression, pandas.DataFrame]:
    """A condition and a frame for pandas to evaluate, with columns under the plain names of the condition.

    Args:
        tree: The condition, whose names are plain.
        frame: The rows.
        names: The plain name of each column.

    Raises:
        BadExpression: a time column is compared with something that is not a time.
    """
    reader = _Reader(frame.rename(columns=dict(names)), names.get(_LISTED))
    tree = ast.fix_missing_locations(ast.Expression(reader.visit(tree.body)))
    return tree, reader.frame


class _Reader(ast.NodeTransformer):
    def __init__(self, frame: pandas.DataFrame, listed: str | None) -> None:
        self.frame = frame
        self._listed = listed

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        """Compare times with times, and look for texts in texts."""
        match node:
            case ast.Compare(
                left=ast.Constant(value=str(part)),
                ops=[ast.In() | ast.NotIn() as op],
                comparators=[ast.Name(id=name)],
            ) if self._is_text(name):
                return self._contained(part, name, isinstance(op, ast.NotIn))
        operands = [node.left, *node.comparators]
        if any(isinstance(one, ast.Name) and self._is_time(one.id) for one in operands):
            return self._of_times(node.ops, [self._time(one) for one in operands])
        tree = self.generic_visit(node)
        holds: Any = self.frame.eval(ast.unparse(tree), engine="python")
        return self._decided(holds, node.ops) if hasattr(holds, "fillna") else tree

    def _of_times(self, ops: list[ast.cmpop], values: list[Any]) -> ast.expr:
        """A new column of the frame: the comparison."""
        import pandas

        holds = pandas.Series(True, index=self.frame.index, dtype="boolean")
        for left, op, right in zip(values, ops, values[1:], strict=False):
            holds &= _compared(left, op, right)
        for value in values:
            if isinstance(value, pandas.Series):
                holds = holds.mask(value.isna())
        return self._decided(holds, ops)

    def _time(self, node: ast.expr) -> Any:
        """A time column, a time, or a list of times."""
        match node:
            case ast.Name(id=name) if self._is_time(name):
                return self.frame[name]
            case ast.Constant(value=value):
                return _in_utc(value)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [self._time(one) for one in elements]
        raise BadExpression(f"compares a time with something else: {_A_TIME}")

    def _contained(self, part: str, name: str, excluded: bool) -> ast.expr:
        """A new column of the frame: whether each text contains the part."""
        column = self.frame[name].astype("string")
        if name == self._listed:
            tag = rf"(?:^|,)\s*{re.escape(part.strip())}\s*(?:,|$)"
            holds = column.str.contains(tag, regex=True)
        else:
            holds = column.str.contains(part, regex=False)
        return self._decided(~holds if excluded else holds, [ast.NotIn() if excluded else ast.In()])

    def _decided(self, holds: pandas.Series[Any], ops: list[ast.cmpop]) -> ast.expr:
        """A new column of the frame: a comparison in which a missing value differs from every other."""
        differs = all(isinstance(op, ast.NotEq | ast.NotIn) for op in ops)
        return self._column(holds.astype("boolean").fillna(differs))

    def _column(self, holds: pandas.Series[Any]) -> ast.expr:
        name = f"holds_{len(self.frame.columns)}"
        self.frame = self.frame.assign(**{name: holds})
        return ast.Name(name, ast.Load())

    def _dtype(self, name: str) -> Any:
        return self.frame[name].dtype if name in self.frame else None

    def _is_time(self, name: str) -> bool:
        from pandas.api.types import is_datetime64_any_dtype

        return is_datetime64_any_dtype(self._dtype(name))

    def _is_text(self, name: str) -> bool:
        return str(self._dtype(name)) in ("string", "category", "str", "object")


def _compared(left: Any, op: ast.cmpop, right: Any) -> Any:
    if isinstance(op, ast.In | ast.NotIn) and isinstance(right, list) and not isinstance(left, list):
        found = left.isin(right)
        return ~found if isinstance(op, ast.NotIn) else found
    if isinstance(op, ast.Eq | ast.NotEq | ast.Lt | ast.LtE | ast.Gt | ast.GtE) and list not in (
        type(left),
        type(right),
    ):
        return COMPARISONS[type(op)](left, right)
    raise BadExpression("compares times in a way that has no meaning: use <, ==, or `in` with a list")


def _in_utc(value: object) -> pandas.Timestamp:
    """A constant as a time in UTC."""
    import pandas

    try:
        if not isinstance(value, str) or not _YEAR_FIRST.match(value.strip()):
            raise ValueError("it does not begin with a year")
        time = pandas.Timestamp(value.strip())
        return time.tz_localize("UTC") if time.tz is None else time.tz_convert("UTC")
    except (ValueError, OverflowError):
        raise BadExpression(f"compares a time with {value!r}: {_A_TIME}") from None
