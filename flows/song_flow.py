"""The class of Songflow's flows: it refuses parameters under their former names, and calls without `await`."""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from enum import Enum
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from prefect import Flow, State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.states import Completed

from blocks.library import SongLibrary
from flows.form import form_signature
from flows.hooks import let_go
from flows.kept import SMALL, refuse_large, size_of, with_kept
from songflow.errors import InputError
from songflow.runtime.run_sync import synchronous
from tasks.sessions import library_of
from tasks.wording import in_prefects_words

__all__ = ["SongFlow", "paid_flow", "song_flow"]

log = logging.getLogger(f"songflow.{__name__}")

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

# What a copy with other options takes from its original, and not from Prefect.
_OWN = frozenset({"_moved", "__signature__", "fn", "parameters"})
_ASYNC = inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR


class _Former(Enum):
    """The default of a former parameter, which differs from anything that a deployment can hold."""

    ABSENT = "absent"


class SongFlow(Flow[P, R]):
    """A Prefect flow whose parameters have moved into groups, and which must be awaited.

    A deployment, schedule or API call may still use a parameter's former, flat name. Prefect refuses a name that is
    not in the function's signature outside of the run, with a crash that explains nothing. So the former names stay
    in the signature of `fn`, the function that Prefect's engine calls, and end the run with a sentence. The signature
    of the flow itself, which Prefect makes its form from, does not have them.

    Args:
        fn: The flow's function.
        moved: The former names, each with its place today.
        ended: Makes the message of a completed run of its result and the library's unit (None: no message).
        **options: Those of `prefect.flow`.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        *,
        moved: Mapping[str, str],
        ended: Callable[[Any, str], str] | None = None,
        **options: Any,
    ) -> None:
        with _shown_as(fn, form_signature(inspect.signature(fn))):
            super().__init__(fn, **options)
        self._moved = dict(moved)
        self.fn = _refusing(fn, self.name, self._moved, ended)

    if not TYPE_CHECKING:  # the types of a call are Prefect's

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            """Start a run; await the result of the call.

            Raises:
                InputError: the caller is a sync flow or task, where nothing awaits it.
            """
            caller = _sync_caller()
            if caller is not None:
                raise InputError(
                    f"{self.name} is asynchronous, and {caller} is not: without `await` no song would be made.",
                    next=f"call `{self.__name__}.sync(...)`, or make {caller} an async function and `await` it; "
                    "nothing was sent.",
                )
            return super().__call__(*args, **kwargs)

    def sync(self: SongFlow[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the flow in synchronous code and return its result.

        Raises:
            InputError: an event loop runs in this thread; await the flow there.
        """

        async def run() -> T:
            result: T = await self(*args, **kwargs)
            return result

        return synchronous(run, self.name)()

    def with_options(self, **options: Any) -> SongFlow[P, R]:
        """A copy with other options; see `prefect.Flow.with_options`."""
        changed = vars(super().with_options(**options))
        new = copy(self)
        new.__dict__.update({name: value for name, value in changed.items() if name not in _OWN})
        return new

    def validate_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Validate a run's parameters, less the former ones that were not given."""
        return super().validate_parameters(_without_absent(parameters))

    def serialize_parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """A run's parameters for Prefect's database, less the former ones that were not given.

        A long spec or recipe is kept in the library's folder, and the parameter is its path.

        Raises:
            InputError: Prefect would not take them.
            LibraryError: the library's folder cannot be written.
        """
        plain = super().serialize_parameters(_without_absent(parameters))
        if size_of(plain) > SMALL:
            library = parameters.get("library")
            plain = with_kept(plain, library_of(library if isinstance(library, SongLibrary) else None))
            refuse_large(plain, f"the flow {self.name}")
        return plain


@contextmanager
def _shown_as(fn: Callable[..., Any], signature: inspect.Signature) -> Iterator[None]:
    """Give a function the signature of its form while Prefect makes a flow of it.

    So the form, which takes Prefect a tenth of a second of CPU, is made once; the flow keeps this signature.
    """
    before = dict(fn.__dict__)
    fn.__dict__["__signature__"] = signature
    try:
        yield
    finally:
        fn.__dict__.clear()
        fn.__dict__.update(before)


def song_flow(
    name: str,
    flow_run_name: str | Callable[[], str],
    moved: Mapping[str, str],
    ended: Callable[[Any, str], str] | None = None,
    **options: Any,
) -> Callable[[Callable[P, R]], SongFlow[P, R]]:
    """Decorate a function as a flow of Songflow; results are not persisted, because the ledger is the truth."""

    def decorate(fn: Callable[P, R]) -> SongFlow[P, R]:
        return SongFlow(
            fn,
            moved=moved,
            ended=ended,
            name=name,
            flow_run_name=flow_run_name,
            persist_result=False,
            **options,
        )

    return decorate


def paid_flow(
    name: str,
    flow_run_name: str | Callable[[], str],
    moved: Mapping[str, str],
    ended: Callable[[Any, str], str] | None = None,
) -> Callable[[Callable[P, R]], SongFlow[P, R]]:
    """Decorate a flow that pays.

    If a run is cancelled or crashes, its leases are released and its log names what is still running and billed.
    """
    return song_flow(name, flow_run_name, moved, ended, on_cancellation=[let_go], on_crashed=[let_go])


def _refusing(
    fn: Callable[P, R],
    flow_name: str,
    moved: Mapping[str, str],
    ended: Callable[[Any, str], str] | None,
) -> Callable[P, R]:
    """The function with the former names in its signature; it raises if one of them is given.

    Its errors are in the words of the form, and its result is in a state with a message.
    """
    signature = inspect.signature(fn)
    former = [
        inspect.Parameter(old, inspect.Parameter.KEYWORD_ONLY, default=_Former.ABSENT, annotation=Any)
        for old in moved
        if old not in signature.parameters
    ]

    @wraps(fn)
    async def refusing(*args: Any, **kwargs: Any) -> Any:
        _outlive_the_worker()
        given = [one.name for one in former if kwargs.pop(one.name, _Former.ABSENT) is not _Former.ABSENT]
        if given:
            places = "; ".join(f"{name} is now {moved[name]}" for name in given)
            raise InputError(
                f"The parameters of {flow_name} are in groups: {places}.",
                next="correct the deployment, schedule or call; nothing was sent.",
            )
        with in_prefects_words():
            made = fn(*args, **kwargs)
            result = await made if inspect.isawaitable(made) else made
        if ended is None or isinstance(result, State) or FlowRunContext.get() is None:
            return result
        try:
            library = signature.bind_partial(*args, **kwargs).arguments.get("library")
            message = ended(result, library_of(library).unit)
        except Exception as error:  # what the run has made is stored
            log.warning("The run's result cannot be put into words (%s).", type(error).__name__)
            return result
        return Completed(message=message, data=result)

    whole = signature.replace(parameters=[*signature.parameters.values(), *former])
    refusing.__dict__["__signature__"] = whole  # the type of a function does not declare it
    return cast("Callable[P, R]", refusing)


def _outlive_the_worker() -> None:
    """Log without a terminal once nobody reads what this process writes, because its worker has died.

    Rich, by which Prefect writes to it, ends a process for that; the run would crash beside the songs it waits for.
    """
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if isinstance(handler, PrefectConsoleHandler):
                setattr(handler.console, "on_broken_pipe", partial(setattr, handler.console, "quiet", True))  # noqa: B010


def _without_absent(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value is not _Former.ABSENT}


def _sync_caller() -> str | None:
    """The name of the sync flow or task whose own code makes this call; None if async code makes it, or no run does.

    A sync function may run an event loop, and a sync subflow runs inside the loop of its parent. So a running loop
    decides nothing: the sync function or coroutine that is nearer on the stack does.
    """
    flow_run, task_run = FlowRunContext.get(), TaskRunContext.get()
    sync: dict[object, str] = {}
    if flow_run is not None and flow_run.flow is not None and not flow_run.flow.isasync:
        sync[_code(flow_run.flow.fn)] = f"the flow {flow_run.flow.name}"
    if task_run is not None and not task_run.task.isasync:
        sync[_code(task_run.task.fn)] = f"the task {task_run.task.name}"
    frame = sys._getframe(2) if sync else None
    while frame is not None:
        if frame.f_code.co_flags & _ASYNC:
            return None
        if frame.f_code in sync:
            return sync[frame.f_code]
        frame = frame.f_back
    return None


def _code(fn: Callable[..., Any]) -> object:
    return getattr(inspect.unwrap(fn), "__code__", fn)
