"""Money over the whole paid step: which requests a budget or a pause stops, and which they never stop."""

from __future__ import annotations

from dataclasses import replace

import pytest

from songflow import errors
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PaidRequest
from songflow.generation.submit import submit_once


@pytest.mark.parametrize("which", ["library", "day", "run"])
async def test_a_song_over_budget_is_not_sent(
    simulator, access, session, song_request, library_settings, which: str
) -> None:
    """Exit 6, nothing billed, and the next step named; earlier paid songs are still collected."""
    server = simulator()
    caps = {"library": {"budget": 3.0}, "day": {"budget_per_day": 3.0}, "run": {}}[which]
    mine = {"budget": 3.0, "budget_run": "r"} if which == "run" else {}
    opened = await session(library=replace(library_settings, **caps), **mine)
    way = replace(access(server.url), prices={song_request().model_type: 2.0})
    await submit_once(opened, PaidRequest(song_request(), "first"), way)
    with pytest.raises(errors.SpendingStopped, match="budget of 3 units is used up: 2 are spent") as caught:
        await submit_once(opened, PaidRequest(song_request("a fast polka"), "second"), way)
    error = caught.value
    assert (error.exit_code, error.billed, error.key) == (6, "no", "second")
    assert "raise the budget" in error.next
    assert len(server.bill()) == 1
    assert (await generate_in(opened, song_request(), way, key="first")).stored


async def test_a_paused_library_sends_nothing_and_still_collects(
    simulator, access, session, song_request
) -> None:
    """Only intents are checked against the switch; `resume` ends the pause."""
    server, opened = simulator(), await session()
    way = access(server.url)
    await submit_once(opened, PaidRequest(song_request(), "first"), way)
    await opened.library.ledger.money.pause("lunch")
    with pytest.raises(errors.SpendingStopped, match=r"paused for this library since .*: lunch") as caught:
        await submit_once(opened, PaidRequest(song_request("a fast polka"), "second"), way)
    assert (caught.value.exit_code, len(server.bill())) == (6, 1)
    assert (await generate_in(opened, song_request(), way, key="first")).stored
    await opened.library.ledger.money.resume()
    assert (await generate_in(opened, song_request("a fast polka"), way, key="second")).stored


@pytest.mark.parametrize("refunds", [False, True])
async def test_a_failed_song_is_refunded_if_the_account_has_refunds(
    simulator, access, session, song_request, refunds: bool
) -> None:
    """No gateway documents refunds, so the account is configured for them."""
    server, opened = simulator({"fault": "failure", "fail_reason": "moderated"}), await session()
    way = replace(access(server.url), refunds_failed=refunds)
    with pytest.raises(errors.GenerationFailed):
        await generate_in(opened, song_request(), way, key="key")
    price = way.price_of(song_request())
    balance = await opened.library.ledger.money.balance()
    assert (balance.spent, balance.refunded) == ((0.0, price) if refunds else (price, 0.0))
