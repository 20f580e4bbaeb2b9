"""The manifest: the ledger as a typed pandas frame, one row per song.

A generation that has no songs (refused, failed, still running) has one row without a song, so that nothing
that was asked for is missing. Dtypes are real: `string`, `Float64`, `Int64`, `boolean`, `category` and
`datetime64[us, UTC]`. Request fields have their wire names with the prefix `request.`.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING

from songflow.catalog.columns import CATEGORY, COLUMNS, REQUEST_COLUMNS, TIME
from songflow.catalog.where import prepared
from songflow.documents.conditions import BadExpression, read_expression
from songflow.documents.text import sentence
from songflow.errors import InputError
from songflow.families.registry import SHORT_NAMES, wire_name
from songflow.ledger.ledger import Ledger

if TYPE_CHECKING:
    import pandas
    import pyarrow

__all__ = ["COLUMNS", "empty_manifest", "filter_manifest", "frame_of", "read_manifest"]


async def read_manifest(ledger: Ledger, *, root_song_id: str | None = None) -> pandas.DataFrame:
    """Read the ledger into a frame with `COLUMNS`, oldest first; with `root_song_id` only that song's descendants."""
    from songflow.catalog.batches import read_batches  # it imports pyarrow, which is slow

    batches: list[pyarrow.RecordBatch] = []
    await read_batches(ledger, batches.append, root_song_id=root_song_id)
    return frame_of(batches)


def filter_manifest(frame: pandas.DataFrame, expression: str) -> pandas.DataFrame:
    """Select rows by an expression over the columns, such as `seconds > 30 and state == "failed"`.

    Fields of the request may be named without `request.`, and as on the command line (`model`). The expression is data,
    not code: only columns, values, comparisons, `and`, `or`, `not`, `in` and plain arithmetic are allowed. A missing
    value differs from every other. Times without a zone are in UTC; `in` finds a part of a text, and one of the `tags`.

    Raises:
        InputError: it cannot be read, names an unknown column, or is not a condition.
    """
    import pandas

    columns = {name: f"column_{number}" for number, name in enumerate(frame.columns)}
    # A field of the request is also known by its bare name, and by the command line's, where no column has that.
    for name in (*REQUEST_COLUMNS, *SHORT_NAMES):
        whole = f"request.{wire_name(name)}"
        if name not in columns and whole in columns:
            columns[name] = columns[whole]
    try:
        tree, named = prepared(read_expression(expression, columns, called="column"), frame, columns)
        holds = named.eval(ast.unparse(tree), engine="python")
    except (BadExpression, RecursionError) as error:
        raise _bad_condition(expression, str(error)) from None
    except Exception as error:  # pandas' parser and dtypes raise various exceptions
        raise _bad_condition(expression, f"cannot be evaluated ({error})") from None
    if not isinstance(holds, pandas.Series) or not pandas.api.types.is_bool_dtype(holds.dtype):
        raise _bad_condition(expression, "is not a condition")
    return frame[holds.fillna(False).astype(bool)]


def _bad_condition(expression: str, fault: str) -> InputError:
    return InputError(
        sentence(f"The condition {expression!r} {fault}"),
        next='write it like: seconds > 30 and title == "Rain" and request.seed >= 0; '
        f"the columns are {', '.join(COLUMNS)}.",
    )


def frame_of(batches: Sequence[pyarrow.RecordBatch]) -> pandas.DataFrame:
    """Batches of `songflow.catalog.batches` as a frame with the dtypes of `COLUMNS`."""
    import pandas
    import pyarrow
    from pandas.api.types import pandas_dtype

    from songflow.catalog.batches import SCHEMA

    dtypes = {
        SCHEMA.field(name).type: pandas_dtype(dtype)
        for name, dtype in COLUMNS.items()
        if dtype not in (CATEGORY, TIME)
    }
    table = pyarrow.Table.from_batches(batches, SCHEMA).unify_dictionaries()
    frame: pandas.DataFrame = table.to_pandas(types_mapper=dtypes.get, self_destruct=True, split_blocks=True)
    for name, dtype in COLUMNS.items():
        if dtype == CATEGORY:
            # Of texts even where there are none: Parquet would lose the type of a category without values.
            categories = pandas.Index(sorted(frame[name].cat.categories), dtype="str")
            frame[name] = frame[name].cat.set_categories(categories)
    return frame


def empty_manifest() -> pandas.DataFrame:
    """A manifest without rows but with every column and its dtype."""
    return frame_of([])
