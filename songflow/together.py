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
        BaseException: one met what stops the whole process (a signal's exception); the first of these.
    """
    ends: list[_T | Exception | asyncio.CancelledError] = []
    for end in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(end, BaseException) and not isinstance(end, Exception | asyncio.CancelledError):
            raise end
        ends.append(end)
    return ends
