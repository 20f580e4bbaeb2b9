"""The studio in which an offer is tried: a session with an account, and what the gateway has billed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.offers import Offer

from songflow.accounts import Access
from songflow.families.family import Request
from songflow.families.registry import parse_request
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.settings import LibrarySettings
from songflow.simulator import SimulatorServer


@dataclass
class Studio:
    """An offer's account in an open session; `server` is its simulator, None in a live run."""

    offer: Offer
    access: Access
    session: Session
    server: SimulatorServer | None
    spent: float = 0.0

    def request(self, **fields: Any) -> Request:
        """A request of the offer's cheapest model."""
        return parse_request({"prompt": "a slow waltz", "model_type": self.offer.models[0], **fields})

    async def make(self, key: str, request: Request) -> GenerationResult:
        """Make it, and make it again under the same key, which must return the same generation and pay nothing."""
        made = await generate_in(self.session, request, self.access, key=key)
        again = await generate_in(self.session, request, self.access, key=key)
        assert again.generation_id == made.generation_id
        self.spent += made.price
        assert all(song.path and Path(song.path).stat().st_size for song in made.songs)
        return made

    async def extension(self, source: GenerationResult, **overrides: Any) -> Request:
        """The request that extends a generation's first song."""
        (song, *_) = source.songs
        how = self.offer.placement(song.duration or 1.0)
        planned = await plan_extension(
            self.session,
            song.song_id or "",
            place=how.get("place"),
            overrides={**how.get("overrides", {}), **overrides},
            given=self.access,
        )
        return planned.request

    async def check_bill(self) -> None:
        """What was spent is what the results said, in the ledger and at the gateway; nothing is reserved."""
        balance = await self.session.library.ledger.money.balance()
        assert (balance.spent, balance.reserved) == (pytest.approx(self.spent), 0.0)
        if self.server is not None:
            assert sum(entry.price for entry in self.server.bill()) == pytest.approx(self.spent)

    def posts(self) -> int | None:
        """POSTs that the simulator has seen."""
        return None if self.server is None else self.server.gateway.traffic.posts


@pytest.fixture
async def studio(
    offer: Offer, request: pytest.FixtureRequest, simulator: Any, access: Any, session: Callable[..., Any]
) -> AsyncIterator[Studio]:
    """On a simulator whose takes are ready-made and short; live, in a library that is kept."""
    if offer.live is None:
        server = simulator(clip_seconds=2.0, takes=1, pool=4)
        account = access(server.url, offer.gateway, key="sk-conformance-0123456789")
        yield Studio(offer, account, await session(), server)
        return
    # The same library in each run: what was paid for is collected, and nothing is paid twice.
    folder = Path(f"conformance-{offer.gateway}") / offer.family_name / request.node.originalname
    async with Session(LibrarySettings(folder.absolute(), budget=offer.most)) as opened:
        yield Studio(offer, offer.live, opened, None)
