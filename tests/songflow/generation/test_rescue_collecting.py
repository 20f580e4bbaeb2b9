"""Rescue collects the paid work of dead processes: once, without paying, and beside live processes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from songflow import errors
from songflow.generation import rescue as rescue_module
from songflow.generation import takes
from songflow.generation.lifecycle import collect, wait
from songflow.generation.policy import PaidRequest
from songflow.generation.rescue import Rescued, exit_code, rescue, stranded
from songflow.ledger import SongState, State
from songflow.ledger.lease import Lease
from songflow.ledger.money import Balance

LOST_ANSWER = {"fault": "lost_answer"}


@pytest.mark.parametrize("state", [State.ACCEPTED, State.RUNNING, State.OVERDUE, State.LOST])
async def test_generations_of_dead_processes_are_collected(
    simulator, access, session, left, posts, state: State
) -> None:
    """Complete songs, an unchanged bill, and nothing left to rescue."""
    server, opened = simulator(), await session()
    submission = await left(opened, server, state)
    (found,) = await rescue(opened, access(server.url))
    assert (found.key, found.generation_id, found.state) == ("key", submission.generation_id, "succeeded")
    assert (found.billed, found.error, found.exit_code, found.submission) == ("yes", None, 0, 1)
    assert [Path(song.path).is_file() for song in found.songs] == [True, True]
    assert (posts(server), len(server.bill())) == (1, 1)
    assert await rescue(opened, access(server.url)) == []
    assert found.as_dict()["songs"][0]["path"] == found.songs[0].path


async def test_songs_that_were_announced_and_not_fetched_are_fetched(
    simulator, access, session, left, die
) -> None:
    """The process died between the end and the first download."""
    server, opened = simulator(), await session()
    await wait(opened, await left(opened, server), access(server.url))
    await die(opened)
    (found,) = await rescue(opened, access(server.url))
    assert all(song.path and song.error is None for song in found.songs)
    assert len(server.bill()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "reset_during", "on": "download", "bytes": 5000, "times": None},
        {"fault": "truncated", "on": "download", "bytes": 5000, "times": None},
        {"fault": "dead", "on": "download", "times": None},
    ],
)
async def test_an_interrupted_download_is_finished(
    simulator, access, session, left, die, play, fault: dict
) -> None:
    """Whatever the interruption; a dead URL is refreshed."""
    server, opened = simulator(fault, clip_seconds=2.0), await session()
    way = access(server.url)
    submission = await left(opened, server)
    songs = await collect(opened, submission, await wait(opened, submission, way), way)
    assert {song.state for song in songs} == {SongState.ANNOUNCED}
    await die(opened)
    if fault["fault"] == "dead":  # the others get on by some bytes with each try
        (still,) = await rescue(opened, way)
        assert (still.exit_code, still.state, still.billed) == (5, "succeeded", "yes")
        assert "none of its songs could be stored" in still.error
    play(server)
    (found,) = await rescue(opened, way)
    assert (found.exit_code, [song.error for song in found.songs]) == (0, [None, None])
    assert len(server.bill()) == 1


async def test_a_missing_take_is_reported_although_another_is_stored(
    simulator, access, session, left
) -> None:
    """One stored song is a success of its run, but not the end of the rescue."""
    server = simulator({"fault": "dead", "on": "download", "times": None, "skip": 1})
    opened = await session()
    await left(opened, server)
    (found,) = await rescue(opened, access(server.url))
    assert sorted(song.path is None for song in found.songs) == [False, True]
    assert (found.exit_code, found.error is None) == (5, False)
    assert len(await stranded(opened)) == 1


async def test_generations_of_live_processes_are_left_alone(simulator, access, session, song_request) -> None:
    """While its lease lasts, a submission is neither polled, collected nor listed."""
    from songflow.generation.submit import submit_once

    server, opened = simulator(), await session()
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (await stranded(opened), await rescue(opened, access(server.url))) == ([], [])
    assert await opened.library.ledger.submissions.get(submission.id) == submission


def lose_spool(opened) -> None:
    """As if the process had died before its sender wrote anything."""
    for file in (opened.library.settings.folder / "spool").iterdir():
        file.unlink()


@pytest.mark.parametrize("state", [State.SENDING, State.UNKNOWN])
async def test_an_answer_in_the_spool_is_adopted_and_collected(
    simulator, access, session, left, die, posts, state: State
) -> None:
    """Its process died between the spool and the ledger's commit."""
    server, opened = simulator(), await session()
    submission = await left(opened, server)
    await die(opened, state=state, generation_id=None)
    (found,) = await rescue(opened, access(server.url))
    assert (found.generation_id, found.state, found.exit_code) == (submission.generation_id, "succeeded", 0)
    assert posts(server) == 1


async def test_a_dead_sender_without_a_trace_is_listed_as_unknown(
    simulator, access, session, left, die, posts
) -> None:
    """A live sender is left to its POST."""
    server, opened = simulator(LOST_ANSWER), await session()
    await left(opened, server, State.UNKNOWN)
    await die(opened, state=State.SENDING)
    lose_spool(opened)
    (found,) = await rescue(opened, access(server.url))
    assert (found.state, found.exit_code) == ("unknown", 5)
    assert "its process died while the request was under way" in found.error
    assert posts(server) == 1


async def test_a_sender_that_dies_during_a_rescue_is_settled_by_the_next_one(
    simulator, access, session, left, die, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies between the settling of dead senders and the listing: it is reported, and settled by the next rescue."""
    server, opened = simulator(LOST_ANSWER), await session()
    await left(opened, server, State.UNKNOWN)
    await die(opened, state=State.SENDING)

    async def nothing(*_: object) -> None:
        """The settling came a moment too early for it."""

    monkeypatch.setattr("songflow.generation.rescue._settle_senders", nothing)
    (found,) = await rescue(opened, access(server.url))
    assert (found.state, found.billed, found.exit_code) == ("sending", "maybe", 5)
    assert found.next == "look again later."


async def test_an_unknown_outcome_is_listed_with_key_account_price_and_time(
    simulator, access, session, left, posts
) -> None:
    """The facts to look it up in the gateway's log."""
    server, opened = simulator(LOST_ANSWER), await session()
    submission = await left(opened, server, State.UNKNOWN)
    (found,) = await rescue(opened, access(server.url))
    assert (found.key, found.state, found.billed, found.generation_id) == ("key", "unknown", "maybe", None)
    assert (found.gateway, found.base_url, found.account) == ("simulator", server.url, "test")
    assert (found.price, found.asked_at) == (submission.price, submission.intended_at.isoformat())
    assert (found.exit_code, "songflow rescue" in found.next) == (5, True)
    assert posts(server) == 1


async def test_the_reservation_of_an_unsent_intent_is_released(
    simulator, access, session, left, die, song_request, posts
) -> None:
    """It cost nothing, so it is not listed; the next process with that key sends it."""
    from songflow.generation.submit import submit_once

    server, opened = simulator(LOST_ANSWER), await session()
    submission = await left(opened, server, State.UNKNOWN)
    await die(opened, state=State.INTENDED)
    lose_spool(opened)
    assert await rescue(opened, access(server.url)) == []
    assert await opened.library.ledger.money.balance() == Balance("library", 0.0, 0.0, 0.0)
    assert (await opened.library.ledger.submissions.get(submission.id)).state is State.UNSENT
    assert (await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))).ordinal == 2
    assert posts(server) == 2


async def test_with_a_deadline_of_zero_each_generation_is_polled_once(
    simulator, access, session, left
) -> None:
    """A generation that still runs is reported as running, and collected later."""
    server, opened = simulator({"fault": "unknown_for_ever"}), await session(deadline=0.0)
    await left(opened, server)
    (found,) = await rescue(opened, access(server.url))
    assert (found.state, found.exit_code, found.billed) == ("overdue", 5, "yes")
    assert "still runs" in found.error
    assert server.gateway.traffic.fetches == 1


async def test_a_failure_at_the_gateway_is_exit_4(simulator, access, session, left) -> None:
    """It has ended: the next rescue does not list it."""
    server, opened = simulator({"fault": "failure", "fail_reason": "moderated"}), await session()
    await left(opened, server)
    (found,) = await rescue(opened, access(server.url))
    assert (found.state, found.exit_code, "moderated" in found.error) == ("failed", 4, True)
    assert await rescue(opened, access(server.url)) == []


async def test_concurrent_rescues_store_each_take_once(simulator, access, session, left, posts) -> None:
    """In two processes' sessions; both report it as collected."""
    server, one, two = simulator(), await session(), await session()
    for number in range(3):
        await left(one, server, key=f"key {number}", prompt=f"waltz {number}")
    first, second = await asyncio.gather(rescue(one, access(server.url)), rescue(two, access(server.url)))
    assert (exit_code(first), exit_code(second)) == (0, 0)
    files = list((one.library.settings.folder / "audio").glob("**/*.mp3"))
    assert (len(files), posts(server)) == (6, 3)


async def test_an_account_without_a_key_does_not_stop_the_rescue_of_others(
    simulator, access, session, left
) -> None:
    """Its generations are listed with the account's name; the others are collected."""
    there, away = simulator(), simulator()
    opened = await session()
    await left(opened, away, key="away", prompt="a waltz far away")
    await left(opened, there, key="there")

    async def no_access(_: object) -> None:
        """The account's key is not on this machine."""

    other = await session(resolver=no_access)
    found = {one.key: one for one in await rescue(other, access(there.url))}
    assert found["there"].exit_code == 0
    assert (found["away"].state, found["away"].exit_code) == ("accepted", 5)
    assert "no key for its account 'test'" in found["away"].error
    assert exit_code(list(found.values())) == 5


async def test_a_rotated_key_collects_generations_of_the_old_key(simulator, access, session, left) -> None:
    """The account's alias is the same."""
    server, opened = simulator(), await session()
    await left(opened, server)
    (found,) = await rescue(opened, access(server.url, key="sk-new"))
    assert (found.exit_code, found.account) == (0, "test")


@pytest.mark.parametrize(
    ("codes", "worst"),
    [((), 0), ((0,), 0), ((0, 3), 3), ((4, 3), 4), ((4, 5, 0), 5), ((6, 5), 6), ((6, 0, 4), 6)],
)
def test_the_exit_code_is_the_worst_of_all(codes: tuple[int, ...], worst: int) -> None:
    """In the order 0 3 4 5 6."""
    one = Rescued("k", 1, None, "g", "u", "a", "s", "no", 1.0, "t")
    assert exit_code([replace(one, exit_code=code) for code in codes]) == worst


async def test_a_ledger_error_during_a_rescue_is_reported_as_paid(
    simulator, access, session, left, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never "nothing was sent"."""
    from songflow.ledger.submissions import Submissions

    server, opened = simulator(), await session()
    await left(opened, server)

    async def full(*_: object) -> None:
        raise errors.LibraryError("the disk is full")

    monkeypatch.setattr(Submissions, "hold", full)
    (found,) = await rescue(opened, access(server.url))
    assert (found.exit_code, "paid for, but not collected: the disk is full" in found.error) == (5, True)


async def test_a_take_that_the_gateway_lists_late_is_collected_by_a_later_rescue(
    simulator, access, session, left, play
) -> None:
    """It ended with one take; the second was paid for, too. While its process lives, rescue leaves it alone."""
    server, opened = simulator({"fault": "one_take_only"}), await session()
    way = access(server.url)
    submission = await left(opened, server)
    (found,) = await rescue(opened, way)
    assert (len(found.songs), found.exit_code) == (1, 0)
    assert await rescue(opened, way) == [], "there is still one take only"
    play(server)
    ledger = opened.library.ledger.submissions
    await ledger.hold(submission.id, Lease.take(60.0))
    assert await rescue(opened, way) == []
    assert len(await opened.library.ledger.songs.of_key("key")) == 1
    await ledger.release(submission.id, (await ledger.get(submission.id)).lease.fence)
    (late,) = await rescue(opened, way)
    assert ([song.path is None for song in late.songs], late.exit_code) == ([False, False], 0)
    assert len(server.bill()) == 1


async def test_an_intent_of_a_live_process_keeps_its_reservation(
    simulator, access, session, left, die
) -> None:
    """The process may be about to send."""
    server, opened = simulator(LOST_ANSWER), await session()
    submission = await left(opened, server, State.UNKNOWN)
    await die(opened, state=State.INTENDED)
    lose_spool(opened)
    await opened.library.ledger.submissions.hold(submission.id, Lease.take(60.0))
    assert await rescue(opened, access(server.url)) == []
    assert (await opened.library.ledger.submissions.get(submission.id)).state is State.INTENDED


async def test_what_one_generation_meets_does_not_stop_the_rescue_of_others(
    simulator, access, session, left, monkeypatch
) -> None:
    """Whatever is raised for one of its takes, or for all of it: it is reported as paid and not collected."""
    server, opened = simulator(), await session()
    await left(opened, server, key="take")
    await left(opened, server, key="whole")
    await left(opened, server, key="well")
    store, finish = takes.tag_and_store, rescue_module.complete

    async def store_or_burst(library, origin, *args, **kwargs):
        if origin.submission.key == "take" and origin.song.take == 0:
            raise UnicodeEncodeError("latin-1", "歌", 0, 1, "no such letter")
        return await store(library, origin, *args, **kwargs)

    async def finish_or_burst(session, submission, given):
        if submission.key == "whole":
            raise ZeroDivisionError("boom")
        return await finish(session, submission, given)

    with monkeypatch.context() as patches:
        patches.setattr(takes, "tag_and_store", store_or_burst)
        patches.setattr(rescue_module, "complete", finish_or_burst)
        found = {one.key: one for one in await rescue(opened, access(server.url))}
    assert {key: one.exit_code for key, one in found.items()} == {"take": 5, "whole": 5, "well": 0}
    assert {one.billed for one in found.values()} == {"yes"}
    assert [song.path is not None for song in found["take"].songs] == [False, True]
    assert "UnicodeEncodeError" in (found["take"].songs[0].error or "")
    assert "ZeroDivisionError: boom" in (found["whole"].error or "")
    assert [one.exit_code for one in await rescue(opened, access(server.url))] == [0, 0]
    assert len(server.bill()) == 3
