"""One upsert for every table: the dialects of SQLite and PostgreSQL differ in the class that builds the statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import Table, TextClause, bindparam, text

from songflow.ledger.engine import Connection

__all__ = ["upsert"]


async def upsert(
    connection: Connection,
    table: Table,
    values: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    *,
    replace: tuple[str, ...] = (),
) -> bool:
    """Insert a row, or several, unless their primary key exists; existing rows take only the columns in `replace`.

    Returns:
        Whether the row was inserted, for a single row with nothing to replace.
    """
    one = values if isinstance(values, Mapping) else values[0]
    statement = _statement(connection.dialect.name, table, tuple(one), replace)
    result = await connection.execute(statement, values)
    return result.rowcount == 1


@cache
def _statement(database: str, table: Table, columns: tuple[str, ...], replace: tuple[str, ...]) -> TextClause:
    """The statement as text: SQLAlchemy does not cache one with ON CONFLICT, and would compile it at each call."""
    dialects = import_module(f"sqlalchemy.dialects.{database}")  # PostgreSQL's is not loaded for SQLite
    statement = dialects.insert(table)
    key = [column.name for column in table.primary_key]
    if replace:
        new = {name: statement.excluded[name] for name in replace}
        statement = statement.on_conflict_do_update(index_elements=key, set_=new)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=key)
    compiled = statement.compile(dialect=dialects.dialect(paramstyle="named"), column_keys=columns)
    return text(str(compiled)).bindparams(*(bindparam(name, type_=table.c[name].type) for name in columns))
