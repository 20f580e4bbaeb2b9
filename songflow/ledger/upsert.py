"""One upsert for every table: the dialects of SQLite and PostgreSQL differ in the class that builds the statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Executable, Table
from sqlalchemy.dialects import postgresql, sqlite

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
    result = await connection.execute(_statement(connection.dialect.name, table, replace), values)
    return result.rowcount == 1


@cache
def _statement(dialect: str, table: Table, replace: tuple[str, ...]) -> Executable:
    statement = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(table)
    key = [column.name for column in table.primary_key]
    if not replace:
        return statement.on_conflict_do_nothing(index_elements=key)
    new = {name: statement.excluded[name] for name in replace}
    return statement.on_conflict_do_update(index_elements=key, set_=new)
