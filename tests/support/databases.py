"""PostgreSQL databases for tests: where the server is, and databases that exist as long as a test or a session."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

POSTGRES = os.environ.get("SONGFLOW_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:5432/test")
SERVICES_REQUIRED = os.environ.get("SONGFLOW_REQUIRE_SERVICES") == "1"


def in_own_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine from synchronous code, away from the test's event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def execute(url: str, statement: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def create_database() -> str:
    """The URL of a new, empty database. Raises OSError or asyncpg.PostgresError without a usable PostgreSQL."""
    name = f"songflow_test_{uuid.uuid4().hex[:12]}"
    in_own_loop(execute(POSTGRES, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))
    return make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)


def drop_database(url: str) -> None:
    """Drop a database, ending the connections to it."""
    in_own_loop(execute(POSTGRES, f'DROP DATABASE IF EXISTS "{make_url(url).database}" WITH (FORCE)'))


def refuse(error: Exception) -> None:
    """Skip the test for want of PostgreSQL, or fail it where services are required."""
    reason = f"PostgreSQL cannot be used at SONGFLOW_TEST_POSTGRES ({type(error).__name__})"
    if SERVICES_REQUIRED:
        pytest.fail(f"{reason}, and SONGFLOW_REQUIRE_SERVICES=1")
    pytest.skip(reason)


@contextmanager
def database() -> Iterator[str]:
    """The URL of a new database, dropped at the end; the test is skipped without PostgreSQL."""
    try:
        url = create_database()
    except (OSError, asyncpg.PostgresError) as error:
        refuse(error)
    try:
        yield url
    finally:
        drop_database(url)


def dump(url: str) -> str:
    """Every row of every table as text."""

    async def rows() -> list[str]:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            return [
                row[0]
                for (table,) in tables
                for row in await connection.fetch(f'SELECT "{table}"::text FROM "{table}"')
            ]
        finally:
            await connection.close()

    return "\n".join(in_own_loop(rows()))
