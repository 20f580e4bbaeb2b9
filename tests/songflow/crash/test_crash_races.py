"""Many processes at once, suspended ones and wrong clocks: never two POSTs for one key, never over the budget."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import replace

import pytest
from support.senders import stop_sender

from songflow.ledger import State

PROCESSES, UNITS = 50, 10
# A PostgreSQL server takes 100 connections in all unless told otherwise, and other tests use it, too.
FEW = {"connections": 1}
# Fifty processes on two cores wait longer for their songs than an application should; for the ledger as it does.
PATIENT = {"settings": {"poll_interval": 1.0, "deadline": 300.0}}


@pytest.mark.xdist_group("fifty processes")
def test_fifty_processes_on_one_key_make_one_post(place, desk, forks) -> None:
    """One of them pays; all of them end with the same songs."""
    seen = desk.posts()
    plan = place.plan(**PATIENT, **(FEW if place.library.ledger_url else {}))
    ends = forks.wait(forks.start([plan] * PROCESSES))
    assert Counter(end.code for end in ends) == {0: PROCESSES}, [
        (end.code, end.answer, end.log) for end in ends if end.code
    ]
    assert (desk.posts() - seen, desk.billed(place.prompt)) == (1, 1)
    assert len({end.answer["generation_id"] for end in ends}) == 1
    assert {song["sha256"] is not None for end in ends for song in end.answer["songs"]} == {True}
    now = place.look()
    assert [one.state for one in now.submissions] == [State.SUCCEEDED]
    assert (now.balance.spent, now.balance.reserved) == (1.0, 0.0)


@pytest.mark.xdist_group("fifty processes")
def test_fifty_processes_on_a_budget_for_ten_make_ten_posts(place, desk, forks) -> None:
    """Exactly ten pay and succeed, the other forty are stopped before they send anything."""
    seen = desk.posts()
    plans = [
        place.plan(budget=UNITS, **PATIENT, **(FEW if place.library.ledger_url else {}))
        | {"key": f"key-{number}", "prompt": f"{place.prompt} {number}"}
        for number in range(PROCESSES)
    ]
    ends = forks.wait(forks.start(plans))
    assert Counter(end.code for end in ends) == {0: UNITS, 6: PROCESSES - UNITS}, [
        (end.code, end.answer, end.log) for end in ends if end.code not in {0, 6}
    ]
    assert {end.answer["kind"] for end in ends if end.code == 6} == {"SpendingStopped"}
    assert desk.posts() - seen == UNITS
    assert sum(desk.billed(plan["prompt"]) for plan in plans) == UNITS
    balance = place.look().balance
    assert (balance.spent, balance.reserved) == (UNITS, 0.0)


def test_a_sender_that_outsleeps_its_lease_does_not_send_after_a_resubmit(
    place, desk, forks, suspended_sender
) -> None:
    """Suspended at the last moment before its POST, it wakes after a resubmit: the one POST was the person's."""
    seen = desk.posts()
    # The lease (submit_timeout + lease_margin) ends while it is suspended.
    short = {"submit_timeout": 30.0, "lease_margin": -29.7, "retries": 0}
    (sleeper,) = forks.start([place.plan(settings=short, environment=stop_sender("post: before request"))])
    sender = suspended_sender(place)
    (left,) = place.look().submissions
    assert left.state is State.SENDING
    while not left.lease.is_dead():
        time.sleep(0.01)
    met = forks.run(place.plan())
    assert (met.code, met.answer["state"]) == (5, "unknown"), met
    paid_again = forks.run(place.plan("resubmit"))
    assert paid_again.code == 0, paid_again.log
    os.kill(sender, signal.SIGCONT)
    (woken,) = forks.wait([sleeper])
    assert woken.code == 3, woken
    assert "the lease ran out" in woken.answer["error"]
    assert (desk.posts() - seen, desk.billed(place.prompt)) == (1, 1)
    now = place.look()
    assert [one.state for one in now.submissions] == [State.UNSENT, State.SUCCEEDED]
    assert (now.balance.spent, now.balance.reserved) == (1.0, 0.0)


def test_a_late_answer_is_collected_beside_the_resubmitted_request(
    place, desk, forks, suspended_sender
) -> None:
    """Suspended after its POST until a person has paid again: both were sent, both are known and collected."""
    seen = desk.posts()
    # Long enough for a sender on a busy machine to begin: its lease is over only afterwards.
    short = {"submit_timeout": 30.0, "lease_margin": -22.0}
    (sleeper,) = forks.start([place.plan(settings=short, environment=stop_sender("post: after request"))])
    sender = suspended_sender(place)
    (left,) = place.look().submissions
    while not left.lease.is_dead():
        time.sleep(0.01)
    assert forks.run(place.plan()).code == 5
    paid_again = forks.run(place.plan("resubmit"))
    assert paid_again.code == 0, paid_again.log
    os.kill(sender, signal.SIGCONT)
    (woken,) = forks.wait([sleeper])
    assert woken.code == 0, woken.log
    assert (desk.posts() - seen, desk.billed(place.prompt)) == (2, 2)
    now = place.look()
    assert [one.state for one in now.submissions] == [State.SUCCEEDED, State.SUCCEEDED]
    assert woken.answer["generation_id"] != paid_again.answer["generation_id"]
    assert len([song for song in now.songs if song.path]) == 4
    assert (now.balance.spent, now.balance.reserved) == (2.0, 0.0)


# --- clocks -----------------------------------------------------------------------------------------------------

AN_HOUR = 3600.0


def test_with_a_clock_ahead_a_live_sender_is_unknown_and_nothing_is_sent(
    place, desk, forks, suspended_sender
) -> None:
    """To it the lease is over. It sends nothing, and the sender's own answer still arrives."""
    seen = desk.posts()
    (asker,) = forks.start([place.plan(environment=stop_sender("post: before request"))])
    sender = suspended_sender(place)
    met = forks.run(place.plan(clock=AN_HOUR))
    assert (met.code, met.answer["state"]) == (5, "unknown"), met
    os.kill(sender, signal.SIGCONT)
    (ended,) = forks.wait([asker])
    assert ended.code == 0, ended.log
    assert (desk.posts() - seen, desk.billed(place.prompt)) == (1, 1)
    assert [one.state for one in place.look().submissions] == [State.SUCCEEDED]


def test_with_a_clock_ahead_an_intent_is_taken_over_and_its_owner_does_not_send(
    place, desk, forks, suspended
) -> None:
    """To it the intent's lease is over, so it sends; the owner wakes, finds its fence gone, and collects."""
    seen = desk.posts()
    (owner,) = forks.start([place.plan(stop_at="intent: after commit")])
    suspended(owner)
    taken = forks.run(place.plan(clock=AN_HOUR))
    assert taken.code == 0, taken.log
    os.kill(owner, signal.SIGCONT)
    (ended,) = forks.wait([owner])
    assert ended.code == 0, ended.log
    assert ended.answer["generation_id"] == taken.answer["generation_id"]
    assert (desk.posts() - seen, desk.billed(place.prompt)) == (1, 1)


@pytest.mark.parametrize("jump", [AN_HOUR, -AN_HOUR], ids=["forwards", "backwards"])
@pytest.mark.parametrize("point", ["intent: after commit", "sending: after commit", "accepted: after commit"])
def test_a_clock_that_jumps_during_a_generation_makes_one_post(
    local_place, forks, jump: float, point: str
) -> None:
    """The sender's own deadlines run on a clock that nobody sets; what it wrote before does not stop it."""
    place = local_place
    seen = place.desk.posts()
    ended = forks.run(place.plan(turn_at=point, clock=jump))
    assert ended.code == 0, ended.log
    assert (place.desk.posts() - seen, place.desk.billed(place.prompt)) == (1, 1)


@pytest.mark.parametrize("clock", [AN_HOUR, -AN_HOUR], ids=["ahead", "behind"])
@pytest.mark.parametrize(
    ("point", "code", "posts"),
    [("intent: after commit", 0, 1), ("post: after request", 5, 1), ("accepted: after commit", 0, 1)],
)
def test_a_dead_process_is_recognised_whatever_the_clock_says(
    local_place, forks, clock: float, point: str, code: int, posts: int
) -> None:
    """A process that is gone is seen by its name, not by the time: nobody waits for an hour, nobody pays twice."""
    place = local_place
    seen = place.desk.posts()
    assert forks.run(place.plan(), kill_at=point).code == -signal.SIGKILL
    back = forks.run(place.plan(clock=clock))
    assert back.code == code, back.log
    assert place.desk.posts() - seen == posts == place.desk.billed(place.prompt)


def test_the_same_request_under_another_key_is_stopped_whatever_its_clock_says(local_place, forks) -> None:
    """The same body under a new key, after a crash in the POST, by a clock that is an hour behind: nothing sent."""
    place = local_place
    assert forks.run(place.plan(), kill_at="post: after request").code == -signal.SIGKILL
    met = forks.run(replace(place, key="another").plan(clock=-AN_HOUR))
    assert (met.code, met.answer["kind"]) == (5, "UnsettledTwin"), met
    assert place.desk.billed(place.prompt) == 1
