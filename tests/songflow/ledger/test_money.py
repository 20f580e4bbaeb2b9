"""Money in the ledger: reserving, spending and releasing, never beyond a cap."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from songflow.families.udio import UDIO, SongRequest
from songflow.ledger import Intent, Ledger, State
from songflow.ledger.engine import ledger_url
from songflow.ledger.lease import Lease
from songflow.ledger.money import Balance
from songflow.ledger.rows import Caps
from songflow.ledger.songs import AnnouncedTake, Lineage

DAY = "2026-03-01"
SCOPES = ("library", f"day:{DAY}", "run:r")


@pytest.fixture
def intent() -> Callable[..., Intent]:
    """Intents of price 1 on one day, for one run."""

    def make(key: str = "key", **changes: object) -> Intent:
        request = SongRequest(prompt="a slow waltz")
        made = Intent(
            key, request.canonical(), UDIO.body_hash(request.body()), UDIO.hash_version, request.model_type,
            request.mode.value, "openai-hk", "{}",
            "https://gateway.example", "env:KEY", "0123", 1.0, day=DAY, budget_run="r",
        )  # fmt: skip
        return replace(made, **changes)

    return make


@pytest.fixture
def pay(ledger: Ledger, intent):
    """Tries to commit an intent; returns the claim."""

    async def go(key: str = "key", *, dead: bool = False, pay_again=frozenset(), **changes: object):
        lease = Lease.take(-60.0 if dead else 60.0)
        return await ledger.submissions.intend(
            intent(key, **changes), lease, stop_at_twin=False, pay_again=pay_again
        )

    return go


@pytest.fixture
def sent(ledger: Ledger, pay):
    """A submission whose POST was sent."""

    async def go(key: str = "key", **changes: object):
        submission = (await pay(key, **changes)).submission
        assert await ledger.submissions.begin_send(submission.id, submission.lease)
        return submission

    return go


async def _balances(ledger: Ledger) -> set[tuple[float, float, float]]:
    """(spent, reserved, refunded) of the library, the day and the run; one element if they are equal."""
    found = [await ledger.money.balance(scope) for scope in SCOPES]
    assert [one.scope for one in found] == list(SCOPES)
    return {(one.spent, one.reserved, one.refunded) for one in found}


async def _end(ledger: Ledger, submission, failure: str | None = None, refund: bool = False) -> None:
    take = AnnouncedTake("s", "T", (), None, 2.0, "https://files.example/s.mp3", None, None, "{}")
    answer = {"status": 200, "body": "{}"}
    await ledger.songs.ended(
        submission.id, submission.key, Lineage("regular", None), [take], answer, failure, refund
    )


async def test_an_unused_counter_is_zero(ledger: Ledger) -> None:
    """Even without a row."""
    assert await ledger.money.balance() == Balance("library", 0.0, 0.0, 0.0)


async def test_a_price_is_reserved_with_the_intent_and_spent_when_accepted(ledger: Ledger, sent) -> None:
    """For the library, the day and the run alike."""
    submission = await sent()
    assert await _balances(ledger) == {(0.0, 1.0, 0.0)}
    await ledger.submissions.accepted(submission.id, "id", (), None)
    assert await _balances(ledger) == {(1.0, 0.0, 0.0)}
    await _end(ledger, submission)
    assert await _balances(ledger) == {(1.0, 0.0, 0.0)}


@pytest.mark.parametrize("state", [State.UNSENT, State.REFUSED])
async def test_an_unbilled_submission_releases_its_reservation(ledger: Ledger, sent, state: State) -> None:
    """Not sent, or refused."""
    submission = await sent()
    await ledger.submissions.settle_sending(submission.id, state, "no")
    assert await _balances(ledger) == {(0.0, 0.0, 0.0)}


async def test_an_unknown_outcome_keeps_its_reservation_until_it_is_settled(ledger: Ledger, sent) -> None:
    """It may have been billed; a late answer settles it either way."""
    one, two = await sent("one"), await sent("two")
    for submission in (one, two):
        await ledger.submissions.settle_sending(submission.id, State.UNKNOWN, "lost")
    assert await _balances(ledger) == {(0.0, 2.0, 0.0)}
    await ledger.submissions.accepted(one.id, "id", (), None)
    await ledger.submissions.settle_sending(two.id, State.REFUSED, "no")
    assert await _balances(ledger) == {(1.0, 0.0, 0.0)}


async def test_a_late_acceptance_after_a_write_off_is_spent(ledger: Ledger, sent) -> None:
    """The gateway bills it all the same."""
    submission = await sent()
    await ledger.submissions.settle_sending(submission.id, State.UNKNOWN, "lost")
    assert await ledger.submissions.write_off(submission.id) is True
    assert await _balances(ledger) == {(0.0, 0.0, 0.0)}
    assert await ledger.submissions.write_off(submission.id) is False
    await ledger.submissions.accepted(submission.id, "id", (), None)
    assert await _balances(ledger) == {(1.0, 0.0, 0.0)}
    assert (await ledger.submissions.get(submission.id)).written_off_at is None


async def test_a_success_after_a_write_off_is_collected(ledger: Ledger, sent) -> None:
    """An overdue generation that was given up but succeeded after all."""
    submission = await sent()
    await ledger.submissions.accepted(submission.id, "id", (), None)
    await ledger.submissions.stop_waiting(submission.id, State.OVERDUE, "late")
    assert await ledger.submissions.write_off(submission.id)
    assert await ledger.submissions.uncollected() == []
    assert await _balances(ledger) == {(1.0, 0.0, 0.0)}, "what the gateway bills is not released"
    await _end(ledger, submission)
    assert [one.id for one in await ledger.submissions.uncollected()] == [submission.id]


@pytest.mark.parametrize("by", ["ended", "stop_waiting"])
async def test_a_failure_is_refunded_only_if_the_gateway_refunds(ledger: Ledger, sent, by: str) -> None:
    """And a song that appears later is charged again."""
    kept, given_back = await sent("kept"), await sent("given back")
    for submission in (kept, given_back):
        await ledger.submissions.accepted(submission.id, submission.key, (), None)
        refund = submission is given_back
        if by == "ended":
            await _end(ledger, submission, "moderated", refund)
        else:
            await ledger.submissions.stop_waiting(submission.id, State.FAILED, "moderated", refund=refund)
    assert await _balances(ledger) == {(1.0, 0.0, 1.0)}
    await _end(ledger, given_back)
    await _end(ledger, kept)
    assert await _balances(ledger) == {(2.0, 0.0, 0.0)}


async def test_a_takeover_reserves_its_own_price_day_and_run(ledger: Ledger, pay) -> None:
    """The dead holder's reservation is released, so a cap for one price is enough."""
    old = (await pay(dead=True, caps=Caps(total=1.0))).submission
    claim = await pay(price=3.0, day="2026-03-02", budget_run=None, caps=Caps(total=3.0))
    assert (claim.mine, claim.submission.id) == (True, old.id)
    assert await ledger.money.balance() == Balance("library", 0.0, 3.0, 0.0)
    assert (await ledger.money.balance(f"day:{DAY}")).reserved == 0.0
    assert (await ledger.money.balance("run:r")).reserved == 0.0
    assert (await ledger.money.balance("day:2026-03-02")).reserved == 3.0


async def test_a_takeover_beyond_the_cap_changes_nothing(ledger: Ledger, pay) -> None:
    """The old reservation stays."""
    old = (await pay(dead=True)).submission
    assert (await pay(price=3.0, caps=Caps(total=2.0))).stopped is not None
    assert await ledger.submissions.get(old.id) == old
    assert await _balances(ledger) == {(0.0, 1.0, 0.0)}


async def test_a_dead_unsent_intent_releases_its_reservation(ledger: Ledger, pay) -> None:
    """Only under the fence that was read; its old holder may no longer send."""
    old = (await pay(dead=True)).submission
    assert await ledger.submissions.never_sent(old.id, "another fence", "dead") is False
    assert await ledger.submissions.never_sent(old.id, old.lease.fence, "dead") is True
    assert await _balances(ledger) == {(0.0, 0.0, 0.0)}
    assert await ledger.submissions.begin_send(old.id, old.lease) is False


async def test_an_intent_whose_holder_resumed_and_sends_is_not_changed(ledger: Ledger, pay) -> None:
    """The row was read before: the answer must still find it."""
    old = (await pay(dead=True)).submission
    assert await ledger.submissions.begin_send(old.id, old.lease.extended(60.0)) is True
    assert await ledger.submissions.never_sent(old.id, old.lease.fence, "dead") is False
    assert await ledger.submissions.accepted(old.id, "id", (), None) is not None


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        (Caps(total=2.5), "The library's budget of 2.5 units is used up: 1 are spent, 1 reserved, and this costs 1"),
        (Caps(per_day=2.5), "Today's budget of 2.5 units is used up: 1 are spent, 1 reserved, and this costs 1"),
        (Caps(per_run=2.5), "This run's budget of 2.5 units is used up: 1 are spent, 1 reserved, and this costs 1"),
        (Caps(total=0.0), "The library's budget of 0 units is used up: 1 are spent, 1 reserved, and this costs 1"),
    ],
)  # fmt: skip
async def test_a_full_budget_is_named_with_its_numbers(
    ledger: Ledger, pay, sent, caps: Caps, reason: str
) -> None:
    """Nothing is written: no row, no key, no counter."""
    await ledger.submissions.accepted((await sent("spent")).id, "id", (), None)
    await pay("reserved")
    claim = await pay("over", caps=caps)
    assert (claim.stopped, claim.mine, claim.submission) == (reason, False, None)
    assert await ledger.submissions.generation("over") is None
    assert await _balances(ledger) == {(1.0, 1.0, 0.0)}


@pytest.mark.parametrize("caps", [Caps(total=1.0), Caps(per_day=1.0), Caps(per_run=1.0)])
async def test_a_cap_of_one_allows_ten_songs_at_a_tenth(ledger: Ledger, pay, caps: Caps) -> None:
    """In spite of binary rounding; the eleventh is refused, with rounded amounts."""
    for number in range(10):
        assert (await pay(f"song {number}", price=0.1, caps=caps)).mine
    stopped = (await pay("eleventh", price=0.1, caps=caps)).stopped
    assert stopped.endswith("budget of 1 unit is used up: 0 are spent, 1 reserved, and this costs 0.1")


async def test_each_day_and_each_run_has_its_own_budget(ledger: Ledger, pay) -> None:
    """The library's counter continues."""
    caps = Caps(per_day=1.0, per_run=1.0)
    assert (await pay("one", caps=caps)).mine
    assert (await pay("two", caps=caps, budget_run="other")).stopped.startswith("Today's")
    assert (await pay("two", caps=caps, day="2026-03-02")).stopped.startswith("This run's")
    assert (await pay("two", caps=caps, day="2026-03-02", budget_run="other")).mine
    assert (await ledger.money.balance()).reserved == 2.0


async def test_a_pause_stops_every_new_intent_until_spending_is_resumed(ledger: Ledger, pay) -> None:
    """Including a takeover; a second pause only changes the reason."""
    await pay("dead", dead=True)
    await ledger.money.pause("first")
    await ledger.money.pause("the bill\x00 is high")
    for key in ("new", "dead"):
        stopped = (await pay(key)).stopped
        assert stopped.startswith("spending is paused for this library since 20")
        assert stopped.endswith("UTC: the bill\ufffd is high")
    assert await ledger.money.stop_reason() == stopped
    assert await ledger.money.resume() is True
    assert await ledger.money.resume() is False
    assert await ledger.money.stop_reason() is None
    assert (await pay("new")).mine
    await ledger.money.pause()
    assert (await ledger.money.stop_reason()).endswith("UTC")


async def test_two_concurrent_pauses_both_succeed(ledger: Ledger) -> None:
    """Neither fails on the other's row."""
    await asyncio.gather(*(ledger.money.pause(f"person {number}") for number in range(8)))
    assert "paused" in await ledger.money.stop_reason()


@pytest.fixture
async def other_ledger(any_library, ledger: Ledger) -> AsyncIterator[Ledger]:
    """The same database through separate connections, as of another process."""
    async with Ledger(ledger_url(any_library.ledger_url, any_library.folder)) as opened:
        yield opened


async def test_thirty_concurrent_intents_never_exceed_a_cap(
    ledger: Ledger, other_ledger: Ledger, intent
) -> None:
    """Through two connection pools; while some settle, others start, and each refusal is correct."""
    caps = Caps(total=7.0, per_day=6.0, per_run=5.0)

    async def one(number: int) -> bool:
        through = (ledger, other_ledger)[number % 2]
        lease = Lease.take(60.0)
        claim = await through.submissions.intend(
            intent(f"song {number}", caps=caps), lease, stop_at_twin=False
        )
        if not claim.mine:
            assert claim.stopped.startswith("This run's budget of 5 units is used up")
            return False
        assert await through.submissions.begin_send(claim.submission.id, lease)
        assert await through.submissions.accepted(claim.submission.id, f"id {number}", (), None)
        return True

    done = await asyncio.gather(*(one(number) for number in range(30)))
    assert sum(done) == 5
    assert await _balances(ledger) == {(5.0, 0.0, 0.0)}


async def test_many_takeovers_of_one_intent_leave_one_reservation(
    ledger: Ledger, other_ledger: Ledger, intent, pay
) -> None:
    """On new days and runs, whose counters do not exist yet: one succeeds, without a deadlock."""
    await pay("dead", dead=True)

    async def one(number: int) -> bool:
        through = (ledger, other_ledger)[number % 2]
        key = "dead" if number % 3 else f"new {number}"
        day, run = f"2026-04-{number % 4 + 1:02}", f"run {number % 2}"
        claim = await through.submissions.intend(
            intent(key, day=day, budget_run=run), Lease.take(60.0), stop_at_twin=False
        )
        return claim.mine and key == "dead"

    assert sum(await asyncio.gather(*(one(number) for number in range(24)))) == 1
    assert (await ledger.money.balance()).reserved == 9.0
