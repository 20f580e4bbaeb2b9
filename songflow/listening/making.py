"""Songs that are made from the room: each order is started once under its key, and its state is shown while it lasts.

The page makes the key when it opens the form, so that a second click, or a request that is sent again, finds what the
first one started: here, and after a restart in the ledger, by the same key. Whoever starts the room may give a starter
that makes an order as a flow run; else it is made in this process.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from songflow.accounts import Resolver, resolve_from_environment
from songflow.errors import InputError, SongflowError
from songflow.generation.lifecycle import generate_in
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.listening.orders import Order, Planned, form_of, plan_order
from songflow.settings import LibrarySettings, number_text

__all__ = ["Made", "Starter", "Workshop", "router"]

log = logging.getLogger(__name__)

_KEY = re.compile(r"room-[0-9a-f]{24}")
_KEPT = 50
"""Ended orders that are still shown."""

Starter = Callable[[Planned, str], Awaitable[GenerationResult | None]]
"""Makes a planned order under its key, or returns None if this process is to make it."""

router = APIRouter()


@dataclass(slots=True)
class Made:
    """An order that was started: its state in words, and when it has ended, whether it went well."""

    key: str
    order: Order
    price: float
    state: str = "starting"
    has_ended: bool = False
    has_failed: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """It as plain data for a page."""
        return {
            "key": self.key,
            "song": self.order.song,
            "kind": self.order.kind.value,
            "price": self.price,
            "state": self.state,
            "has_ended": self.has_ended,
            "has_failed": self.has_failed,
        }


class Workshop:
    """Plans and makes the orders of one room.

    Args:
        library: Where songs are stored.
        resolver: Finds the account that made a stored song.
        starter: Makes an order as a flow run, where there is a server for it.
    """

    def __init__(
        self,
        library: LibrarySettings,
        resolver: Resolver = resolve_from_environment,
        starter: Starter | None = None,
    ) -> None:
        self._library = library
        self._resolver = resolver
        self._starter = starter
        self._made: dict[str, Made] = {}
        self._turn = asyncio.Lock()

    async def form(self, row_id: int) -> dict[str, Any]:
        """The form of a song: see `form_of`; and why nothing may be spent now, if so."""
        async with self._reading() as session:
            paused = await session.library.ledger.money.stop_reason()
            return {**await form_of(session, row_id), "unit": self._library.unit, "paused": paused}

    async def plan(self, order: Order) -> Planned:
        """Price an order; nothing is sent. Raises as `plan_order`."""
        async with self._reading() as session:
            return await plan_order(session, order)

    async def make(self, order: Order, key: str, price: float) -> Made:
        """Start an order that was confirmed at a price; one that has been started under this key already is returned.

        Raises:
            InputError: the key is of another order, or the price is another one now. Nothing was sent.
        """
        if not _KEY.fullmatch(key):
            raise InputError("This is no key of a form.", next="open the form again; nothing was sent.")
        async with self._turn:
            known = self._made.get(key)
            if known is not None:
                if known.order != order:
                    raise InputError(
                        "This form has already started another order.",
                        next="open the form again; nothing more was sent.",
                    )
                return known
            planned = await self.plan(order)
            if planned.price != price:
                raise InputError(
                    f"It costs {number_text(planned.price)} now, and {number_text(price)} was confirmed.",
                    next="look at the price and confirm it again; nothing was sent.",
                )
            made = Made(key, order, price)
            self._keep(made)
            made.task = asyncio.create_task(self._run(made, planned))
            return made

    def all(self) -> list[Made]:
        """What was started in this room, the newest first."""
        return list(reversed(self._made.values()))

    async def aclose(self) -> None:
        """Leave what is under way: the gateway works on, and `songflow rescue` collects it."""
        tasks = [made.task for made in self._made.values() if made.task is not None and not made.has_ended]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _reading(self) -> Session:
        return Session(self._library, resolver=self._resolver, reads_only=True)

    def _keep(self, made: Made) -> None:
        ended = [key for key, one in self._made.items() if one.has_ended]
        for key in ended[: max(0, len(ended) - _KEPT)]:
            del self._made[key]
        self._made[made.key] = made

    async def _run(self, made: Made, planned: Planned) -> None:
        try:
            result = None if self._starter is None else await self._starter(planned, made.key)
            if result is None:
                result = await self._make_here(made, planned)
            made.state = f"{len(result.stored)} songs are stored"
        except SongflowError as error:
            made.has_failed, made.state = True, str(error)
        except asyncio.CancelledError:
            made.state = "the room was closed; `songflow rescue` collects it"
            raise
        except Exception as error:
            log.error("The order %s met an unexpected error.", made.key, exc_info=error)
            made.has_failed = True
            made.state = (
                f"Something unexpected went wrong ({type(error).__name__}). It may be paid for: "
                "`songflow rescue` collects what was."
            )
        finally:
            made.has_ended = True

    async def _make_here(self, made: Made, planned: Planned) -> GenerationResult:
        async def progress(word: str, share: float | None, seconds: float) -> None:
            percent = "" if share is None else f", {share:.0%}"
            made.state = f"{word} at the gateway for {seconds:.0f} s{percent}"

        async with Session(self._library, resolver=self._resolver) as session:
            return await generate_in(
                session, planned.request, planned.access, key=made.key, progress=progress
            )


class _Confirmed(BaseModel):
    order: Order
    key: Annotated[str, Field(max_length=64)]
    price: float


@router.get("/songs/{number}/form")
async def _form(request: Request, number: int) -> dict[str, Any]:
    return await _workshop(request).form(number)


@router.post("/orders/plan")
async def _plan(request: Request, order: Order) -> dict[str, Any]:
    return (await _workshop(request).plan(order)).as_dict()


@router.post("/orders")
async def _make(request: Request, confirmed: _Confirmed) -> dict[str, Any]:
    made = await _workshop(request).make(confirmed.order, confirmed.key, confirmed.price)
    return made.as_dict()


@router.get("/orders")
async def _all(request: Request) -> dict[str, Any]:
    return {"orders": [made.as_dict() for made in _workshop(request).all()]}


def _workshop(request: Request) -> Workshop:
    workshop: Workshop = request.app.state.workshop
    return workshop
