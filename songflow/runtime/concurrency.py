"""Running coroutines together or shielded, with the exceptions that the caller expects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["all_ended", "one_error", "shielded"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")


async def all_ended(*work: Awaitable[_T]) -> list[_T | Exception | asyncio.CancelledError]:
    """Run awaitables together; each runs to its end, even if another fails.

    Returns:
        For each awaitable, in order, its result or the exception that it ended with.

    Raises:
        BaseException: one was stopped by what ends the whole process (a signal's exception); the others are cancelled.
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


@contextmanager
def one_error() -> Iterator[None]:
    """Raise only a task group's first exception: our errors name the next step, an exception group does not."""
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


async def shielded(work: Coroutine[Any, Any, _T], *, patience: float | None = None) -> _T:
    """Run a coroutine to its end even if this task is cancelled meanwhile; the cancellation takes effect afterwards.

    Args:
        patience: Seconds that it may take after the cancellation, which then reaches it, too (None: any time).
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            if cancelled is None and patience is not None:
                asyncio.get_running_loop().call_later(patience, task.cancel)
            cancelled = error
        except Exception:
            break  # the coroutine's own exception: raised by result() below
    if cancelled is not None:
        if not task.cancelled() and task.exception() is not None:
            log.error("%s", task.exception())
        raise cancelled
    return task.result()
