"""Synchronous versions of asynchronous functions, for scripts and other code without an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from songflow.errors import InputError

__all__ = ["synchronous"]

P = ParamSpec("P")
T = TypeVar("T")


def synchronous(function: Callable[P, Coroutine[Any, Any, T]], name: str) -> Callable[P, T]:
    """A version of an asynchronous function that runs it in an event loop of its own and returns its result.

    Inside a running event loop it raises InputError: there, `name` (as people call the function) must be awaited.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(function(*args, **kwargs))
        raise InputError(
            f"{name} cannot run synchronously inside an event loop.",
            next="`await` it there; nothing was sent.",
        )

    return run
