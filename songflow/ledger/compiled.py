"""The SQL text of the ledger's statements, made once for all ledgers that a process opens.

SQLAlchemy keeps it for each engine, and each ledger has an engine of its own. Making it anew takes 25 ms of CPU, a
quarter of what a further song in the same process takes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.util import LRUCache

__all__ = ["COMPILED"]

_SIZE = 500  # SQLAlchemy's own, for an engine


class _OfAnyEngine(LRUCache[Any, Any]):
    """SQLAlchemy's cache; an engine's dialect stands in its keys for the kind and version of the database."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_for_any_engine(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_for_any_engine(key), value)


def _for_any_engine(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, *rest = key
    return (type(dialect), dialect.server_version_info, *rest)


COMPILED = _OfAnyEngine(_SIZE)
"""The value of the execution option `compiled_cache`."""
