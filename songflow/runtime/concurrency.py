"""Several pieces of work at once, each brought to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

__all__ = ["all_ended"]

_T = TypeVar("_T")


async def all_ended(*work: Awaitable[_T]) -> list[_T | Exception | asyncio.CancelledError]:
    """Every piece comes to its end, whatever happens to another.

    Returns:
        For each piece, in order, its result or the error that it ended with.

    Raises:
        BaseException: one met what stops the whole process (a signal's exception); the others were cancelled.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_end_of(one)) for one in work]
    except BaseExceptionGroup as stopped:
        raise stopped.exceptions[0] from None
    return [task.result() for task in tasks]


async def _end_of(work: Awaitable[_T]) -> _T | Exception | asyncio.CancelledError:
    try:
        return await work
    except (Exception, asyncio.CancelledError) as error:
        return error
