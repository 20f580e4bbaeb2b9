"""A further model family at a gateway of another shape: two registry entries are enough for a whole life cycle.

They are those of `support/hummery.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.hummery import HUM, HUMMERY
from support.recordings import mp3_bytes
from support.small_gateway import small_gateway

from songflow.accounts import Access, that_can_take
from songflow.catalog.manifest import read_manifest
from songflow.errors import GenerationFailed, InputError, RequestRefused
from songflow.families.registry import FAMILIES, parse_request
from songflow.gateways import DIALECTS, Account
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PayingPolicy
from songflow.ledger.states import State
from songflow.recipes.plan import Paid, plan_recipe
from songflow.recipes.reading import recipe_of_text
from songflow.sweeps.cells import cells_of
from songflow.sweeps.plan import plan_cells
from songflow.sweeps.spec import parse_sweep

KEY = "key-of-the-hummery-0123456789"


@pytest.fixture
def registered() -> Iterator[None]:
    """The family and the gateway are known while a test runs."""
    FAMILIES["hum"], DIALECTS["hummery"] = HUM, HUMMERY
    yield
    del FAMILIES["hum"], DIALECTS["hummery"]


# --- the gateway's server -----------------------------------------------------------------------------------------


@dataclass
class Server:
    """The gateway on a real socket, with its own bill."""

    song: bytes
    url: str = ""
    bill: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    polls: int = 0
    purse: float = 10.0

    def order(self, body: Any) -> dict[str, Any]:
        if self.purse <= 0:
            return {"ok": False, "status": 402, "why": "the purse is empty"}
        self.bill.append(body)
        return {"ok": True, "job": {"ref": f"ref {len(self.bill)}"}}

    def state(self, body: Any) -> dict[str, Any]:
        self.polls += 1
        out = [{"name": "A hum", "seconds": 2.0, "file": "/files/hum.mp3?take=1"}] if self.polls > 2 else []
        phase = "Done" if out else "Cooking"
        return {
            "jobs": [{"ref": ref, "phase": phase, "out": json.dumps(out)} for ref in ["x", *body["refs"]]]
        }


@pytest.fixture
def server() -> Iterator[Server]:
    """The made-up gateway."""
    state = Server(mp3_bytes(2.0))

    def answer(method: str, path: str, body: Any, headers: Mapping[str, str]) -> Any:
        state.headers.append(headers)
        if method == "GET":
            assert path == "/files/hum.mp3?take=1"
            return state.song
        return {"/v2/orders": state.order, "/v2/state": state.state}[path](body)

    with small_gateway(answer) as url:
        state.url = url
        yield state


def hummery(server: Server) -> Access:
    return Access(Account(HUMMERY, server.url, "env:HUMMERY_KEY", SecretStr(KEY)))


# --- tests --------------------------------------------------------------------------------------------------------


async def test_a_song_is_made_polled_downloaded_and_in_the_manifest(
    registered: None, server: Server, session: Any
) -> None:
    """Paid once under its key, with the gateway's own body, and the key goes nowhere else."""
    opened = await session()
    request = parse_request({"prompt": "a sea shanty", "model_type": "hum-1", "tempo": 120})
    result = await generate_in(opened, request, hummery(server), key="shanty")
    again = await generate_in(opened, request, hummery(server), key="shanty")
    assert server.bill == [{"order": {"text": "a sea shanty", "bpm": 120}}]
    assert (result.generation_id, again.generation_id, result.price) == ("ref 1", "ref 1", 0.5)
    assert server.polls == 3
    *asked, fetched = server.headers
    assert all((one["X-Key"], one["X-Client"]) == (KEY, "songflow") for one in asked)
    assert "X-Key" not in fetched
    assert "Authorization" not in fetched
    (song,) = result.songs
    assert song.song_id == "ref 1/0"
    assert song.path is not None
    assert Path(song.path).stat().st_size >= len(server.song)
    (row,) = (await read_manifest(opened.library.ledger)).to_dict("records")
    stored = {name: row[name] for name in ("gateway", "state", "song_state", "title", "price", "mode")}
    assert stored == {
        "gateway": "hummery",
        "state": "succeeded",
        "song_state": "stored",
        "title": "A hum",
        "price": 0.5,
        "mode": "regular",
    }
    assert (row["request.prompt"], row["request.model_type"]) == ("a sea shanty", "hum-1")


async def test_a_refusal_in_the_body_of_a_success_is_not_billed(
    registered: None, server: Server, session: Any
) -> None:
    """The gateway's reader finds the status, and the one table decides what it means."""
    opened, server.purse = await session(), 0.0
    request = parse_request({"prompt": "a sea shanty", "model_type": "hum-1"})
    with pytest.raises(RequestRefused, match="the purse is empty") as caught:
        await generate_in(opened, request, hummery(server), key="shanty")
    assert (caught.value.kind, caught.value.billed, caught.value.exit_code) == ("no_credit", "no", 3)
    assert server.bill == []


async def test_a_family_that_the_gateway_does_not_sell_is_refused_before_anything_is_sent(
    registered: None, server: Server, session: Any, access: Any, simulator: Any, song_request: Any
) -> None:
    """Exit 2, the gateways that sell it are named, and the ledger has no row of it."""
    opened, relay = await session(), access(simulator().url)
    hum = parse_request({"prompt": "a sea shanty", "model_type": "hum-1"})
    with pytest.raises(InputError, match="simulator does not sell hum") as caught:
        await generate_in(opened, hum, relay, key="one")
    assert (caught.value.exit_code, "sells hum (hummery);" in str(caught.value.next)) == (2, True)
    with pytest.raises(InputError, match="hummery does not sell udio") as caught:
        await generate_in(opened, song_request(), hummery(server), key="two")
    assert "that it sells (hum-1), or a gateway that sells udio (cometapi," in str(caught.value.next)
    assert (await read_manifest(opened.library.ledger)).empty
    assert (server.headers, await opened.library.ledger.submissions.of_key("one")) == ([], [])


async def test_the_plan_of_a_sweep_or_a_recipe_refuses_a_family_that_is_not_sold(
    registered: None, server: Server
) -> None:
    """Before the first song of many is paid for."""
    account = hummery(server)
    cells = cells_of(parse_sweep({"prompt": "a", "grid": {"seed": [1, 2]}}, Path()), account)
    with pytest.raises(InputError, match="hummery does not sell udio"):
        await plan_cells(cells, account, None, concurrency=1)
    recipe = recipe_of_text("name: short\ncore:\n  prompt: a\n", "short.yaml")
    with pytest.raises(InputError, match="hummery does not sell udio"):
        plan_recipe(recipe, account)
    assert plan_recipe(recipe, account, paid=Paid(1, 1.0)).existing == 1


async def test_a_request_that_the_gateway_cannot_express_is_refused_before_anything_is_sent(
    registered: None, server: Server, session: Any
) -> None:
    """The translation to its body gives the reason."""
    opened = await session()
    fast = parse_request({"prompt": "a sea shanty", "model_type": "hum-1", "tempo": 240})
    with pytest.raises(InputError, match="hummery cannot make this song: its tempo is 200 at most"):
        await generate_in(opened, fast, hummery(server), key="fast")
    assert (server.headers, await opened.library.ledger.submissions.of_key("fast")) == ([], [])


async def test_fallbacks_that_do_not_sell_the_family_are_left_out(
    registered: None, server: Server, session: Any, access: Any, simulator: Any, song_request: Any
) -> None:
    """A refused song is not offered to a gateway that cannot make it."""
    refusing = simulator({"fault": "status", "on": "submit", "status": 403, "times": None})
    relay, other = access(refusing.url), hummery(server)
    assert that_can_take((relay, other, relay), song_request()) == (relay, relay)
    opened = await session()
    with pytest.raises(RequestRefused):
        await generate_in(opened, song_request(), relay, key="key", policy=PayingPolicy(fallbacks=(other,)))
    assert server.headers == []


async def test_a_key_that_was_paid_elsewhere_is_collected_through_any_gateway(
    registered: None, server: Server, session: Any, access: Any, simulator: Any, song_request: Any
) -> None:
    """Another --gateway on the second run, even one without the family, does not hide a paid song."""
    relay = simulator()
    opened = await session(resolver=_resolver(access(relay.url)))
    first = await generate_in(opened, song_request(), access(relay.url), key="key")
    again = await generate_in(opened, song_request(), hummery(server), key="key")
    assert (again.generation_id, again.state) == (first.generation_id, State.SUCCEEDED)
    assert len(relay.bill()) == 1


async def test_a_key_that_failed_elsewhere_reports_that_failure_at_any_gateway(
    registered: None, server: Server, session: Any, access: Any, simulator: Any, song_request: Any
) -> None:
    """Nothing would be sent, so the gateway's offer is no reason; only to pay again needs a gateway that sells it."""
    relay, opened = simulator({"fault": "failure", "fail_reason": "moderated"}), await session()
    with pytest.raises(GenerationFailed, match="moderated"):
        await generate_in(opened, song_request(), access(relay.url), key="key")
    with pytest.raises(GenerationFailed, match="moderated"):
        await generate_in(opened, song_request(), hummery(server), key="key")
    with pytest.raises(InputError, match="does not sell udio"):
        await generate_in(
            opened, song_request(), hummery(server), key="key", policy=PayingPolicy(retry_errors=True)
        )
    assert (len(relay.bill()), server.bill) == (1, [])


def _resolver(access: Access) -> Any:
    async def resolve(_: object) -> Access:
        return access

    return resolve
