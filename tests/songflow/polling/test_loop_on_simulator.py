"""Waits at a simulated gateway with faults, and their ledger rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import select, update

from songflow import errors
from songflow.generation.lifecycle import generate_in, wait
from songflow.generation.policy import PaidRequest, PayingPolicy
from songflow.generation.submit import submit_once
from songflow.ledger import SongState, State, schema


def _heal(server) -> None:
    httpx.put(f"{server.url}/_simulator/faults", json=[]).raise_for_status()


@pytest.fixture
def begun(simulator, access, session, song_request):
    """A generation that a gateway with these faults has accepted: (session, server, access, submission)."""

    async def begin(
        *faults, dialect: str = "simulator", server=None, deadline: float = 30.0, key: str | None = None
    ):
        server = server or simulator(*faults)
        opened = await session(deadline=deadline)
        way = access(server.url, dialect, key=key)
        return opened, server, way, await submit_once(opened, PaidRequest(song_request(), "key"), way)

    return begin


async def _age(opened, submission, seconds: float):
    """The submission as if it had been accepted so long ago."""
    ledger = opened.library.ledger
    async with ledger.database.write("test") as connection:
        await connection.execute(
            update(schema.submissions).values(answered_at=datetime.now(UTC) - timedelta(seconds=seconds))
        )
    return await ledger.submissions.get(submission.id)


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "not_visible_yet", "fetches": 4},
        {"fault": "backwards", "fetches": 2},
        {"fault": "success_no_songs", "seconds": 150},
        {"fault": "songs_before_success", "seconds": 150},
        {"fault": "late_take", "seconds": 150, "listed": True},
        {"fault": "status", "on": "fetch", "status": 500, "times": 3},
        {"fault": "status", "on": "fetch", "status": 429, "times": 1, "retry_after": 0.05},
        {"fault": "html", "on": "fetch", "times": 3},
        {"fault": "empty", "times": 2},
        {"fault": "reset", "times": 2},
        {"fault": "null_data", "times": 3},
        {"fault": "fail_to_fetch_task", "on": "fetch", "times": 3},
    ],
    ids=lambda fault: fault["fault"],
)
async def test_a_faulty_gateway_still_delivers_both_songs(begun, fault) -> None:
    """Only its final status counts."""
    opened, server, way, submission = await begun(fault)
    songs = await wait(opened, submission, way)
    assert [song.state for song in songs] == [SongState.ANNOUNCED] * 2
    ended = await opened.library.ledger.submissions.get(submission.id)
    assert (ended.state, ended.lease.is_dead()) == (State.SUCCEEDED, True)
    assert len(server.bill()) == 1


@pytest.mark.parametrize("dialect", ["cometapi", "shape-a", "shape-c", "shape-d"])
async def test_every_dialect_is_waited_for(begun, dialect: str) -> None:
    """With a status word or without, the takes are two."""
    opened, _, way, submission = await begun(dialect=dialect)
    assert len(await wait(opened, submission, way)) == 2


async def test_a_late_take_of_the_submit_is_waited_for(simulator, access, session, song_request) -> None:
    """The submit's answer named two track ids, so one song is not the end."""
    server = simulator({"fault": "raw_generation_id"}, {"fault": "late_take", "seconds": 150})
    opened, way = await session(), access(server.url, "cometapi")
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), way)
    songs = await wait(opened, submission, way)
    assert {song.song_id for song in songs} == set(submission.track_ids)


async def test_one_failed_take_does_not_hide_the_other(begun) -> None:
    """The good one is to be collected, the bad one says why."""
    opened, _, way, submission = await begun({"fault": "one_take_fails", "error_detail": "too loud"})
    good, bad = await wait(opened, submission, way)
    assert (good.state, bad.state) == (SongState.ANNOUNCED, SongState.FAILED)
    assert "too loud" in bad.error
    assert (await opened.library.ledger.submissions.get(submission.id)).state is State.SUCCEEDED


async def test_a_finished_song_overrides_a_failure_status(begun) -> None:
    """A finished song with an address is collected whatever its status and error fields contain."""
    opened, _, way, submission = await begun({"fault": "failure_with_song"})
    songs = await wait(opened, submission, way)
    assert [song.state for song in songs] == [SongState.ANNOUNCED, SongState.FAILED]


@pytest.mark.parametrize(
    ("fault", "reason", "rows"),
    [
        ({"fault": "all_takes_fail", "error_detail": "too loud"}, "too loud", 2),
        ({"fault": "all_takes_fail", "word": "FAILURE", "error_detail": "too loud"}, "too loud", 2),
        ({"fault": "failure", "fail_reason": "out of luck"}, "out of luck", 2),
        ({"fault": "moderated", "fail_reason": "rude words"}, "rude words", 2),
    ],
    ids=["takes", "takes and word", "word", "moderated"],
)
async def test_a_failure_is_committed_with_its_reason_and_repeated(
    begun, song_request, posts, fault, reason: str, rows: int
) -> None:
    """Exit 4, now and when the key comes back; a new submission only with `retry_errors`."""
    opened, server, way, submission = await begun(fault)
    with pytest.raises(errors.GenerationFailed, match=reason) as caught:
        await wait(opened, submission, way)
    assert (caught.value.exit_code, caught.value.billed) == (4, "maybe")
    assert (caught.value.generation_id, caught.value.state) == (submission.generation_id, "failed")
    left = await opened.library.ledger.submissions.get(submission.id)
    assert (left.state, left.lease.is_dead()) == (State.FAILED, True)
    assert reason in left.error
    songs = await opened.library.ledger.songs.of_submission(submission.id)
    assert [song.state for song in songs] in ([SongState.FAILED] * rows, [])
    with pytest.raises(errors.GenerationFailed, match=reason):
        await generate_in(opened, song_request(), way, key="key")
    assert posts(server) == 1
    result = await generate_in(opened, song_request(), way, key="key", policy=PayingPolicy(retry_errors=True))
    assert (len(result.stored), posts(server)) == (2, 2)


async def test_a_failure_without_reasons_of_its_takes_keeps_the_raw_answer(begun) -> None:
    """The gateway's last answer is in the ledger, whatever it was."""
    opened, _, way, submission = await begun({"fault": "failure", "fail_reason": "out of luck"})
    with pytest.raises(errors.GenerationFailed):
        await wait(opened, submission, way)
    async with opened.library.ledger.database.read() as connection:
        kept = (
            await connection.execute(select(schema.answers.c.body).where(schema.answers.c.kind == "fetch"))
        ).scalars()
        assert "out of luck" in next(iter(kept))


async def test_a_lasting_unknown_status_is_overdue_and_collected_later(begun, song_request) -> None:
    """Exit 5 with the id; the next run of the key waits on, and pays nothing."""
    opened, server, way, submission = await begun({"fault": "unknown_for_ever"}, deadline=0.1)
    with pytest.raises(errors.StillRunning, match="'unclear'") as caught:
        await wait(opened, submission, way)
    error = caught.value
    assert (error.exit_code, error.billed, error.state) == (5, "yes", "overdue")
    assert error.generation_id == submission.generation_id
    assert "--key key" in error.next
    assert "songflow rescue" in error.next
    left = await opened.library.ledger.submissions.get(submission.id)
    assert (left.state, left.lease.is_dead()) == (State.OVERDUE, True)
    _heal(server)
    opened.settings = type(opened.settings)(poll_interval=0.02, deadline=30.0)
    result = await generate_in(opened, song_request(), way, key="key")
    assert (len(result.stored), len(server.bill())) == (2, 1)


async def test_finished_takes_are_stored_at_the_deadline(begun, session, until, song_request) -> None:
    """One of two songs is there: it is stored now, and the other is asked for whenever the key comes back."""
    fault = {"fault": "late_take", "seconds": 1e9, "listed": True}
    opened, server, way, submission = await begun(fault)
    gateway = await opened.gateways.get(way)

    async def one_is_ready() -> bool:
        return bool((await gateway.fetch("udio", submission.generation_id)).collectable)

    await until(one_is_ready)
    hasty = await session(deadline=0.0)
    result = await generate_in(hasty, song_request(), way, key="key")
    assert [song.path is not None for song in result.songs] == [True, False]
    _heal(server)
    result = await generate_in(opened, song_request(), way, key="key")
    assert (len(result.stored), len(server.bill())) == (2, 1)


async def test_an_old_generation_that_vanished_is_lost_with_its_id(begun, song_request) -> None:
    """Perhaps billed, and only rescue asks again; the key says so each time."""
    opened, server, way, submission = await begun({"fault": "vanishes", "fetches": 0})
    with pytest.raises(errors.GenerationLost, match="no longer knows") as caught:
        await wait(opened, await _age(opened, submission, 1000.0), way)
    assert (caught.value.exit_code, caught.value.billed) == (5, "maybe")
    assert caught.value.generation_id == submission.generation_id
    left = await opened.library.ledger.submissions.get(submission.id)
    assert (left.state, left.billed) == (State.LOST, "maybe")
    with pytest.raises(errors.GenerationLost):
        await generate_in(opened, song_request(), way, key="key")
    _heal(server)
    assert len(await wait(opened, left, way)) == 2
    assert (await opened.library.ledger.submissions.get(submission.id)).state is State.SUCCEEDED


async def test_a_key_that_is_refused_while_polling_is_overdue_never_failed(
    simulator, access, session, song_request, tmp_path
) -> None:
    """The account is named; with its new key the songs are collected."""
    old, new = "sk-old-old-old-old-old", "sk-new-new-new-new-new"
    server = simulator(state_dir=tmp_path / "gateway", accept_keys={old})
    opened = await session()
    way = access(server.url, "openai-hk", key=old, alias="env:OPENAI_HK_KEY")
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), way)
    server.stop()
    simulator(state_dir=tmp_path / "gateway", accept_keys={new}, port=int(server.url.rpartition(":")[2]))
    with pytest.raises(errors.StillRunning, match="refuses our key") as caught:
        await generate_in(opened, song_request(), way, key="key")
    assert "'env:OPENAI_HK_KEY'" in str(caught.value)
    assert old not in str(caught.value)
    assert (await opened.library.ledger.submissions.get(submission.id)).state is State.OVERDUE
    rotated = access(server.url, "openai-hk", key=new, alias="env:OPENAI_HK_KEY")
    result = await generate_in(opened, song_request(), rotated, key="key")
    assert (len(result.stored), len(server.bill())) == (2, 1)


async def test_progress_is_reported_and_running_is_committed_once(begun) -> None:
    """The status word, the gateway's own progress, and the seconds since it was accepted."""
    opened, _, way, submission = await begun()
    updates = []

    async def progress(status: str, share: float | None, seconds: float) -> None:
        updates.append((status, share, seconds))

    await wait(opened, submission, way, progress)
    assert updates[-1][:2] == ("succeeded", 1.0)
    assert [seconds for *_, seconds in updates] == sorted(seconds for *_, seconds in updates)
    ended = await opened.library.ledger.submissions.get(submission.id)
    assert ended.running_at is not None
    assert ended.running_at <= ended.settled_at


async def test_an_ended_generation_is_not_polled_again(begun) -> None:
    """The ledger already knows: no poll, no key needed."""
    opened, server, way, submission = await begun()
    songs = await wait(opened, submission, way)
    server.stop()
    ended = await opened.library.ledger.submissions.get(submission.id)
    assert await wait(opened, ended) == songs


async def test_a_resumed_wait_polls_at_once(begun, session, until) -> None:
    """What is already there should not wait for another interval."""
    opened, _, way, submission = await begun()
    gateway = await opened.gateways.get(way)

    async def finished() -> bool:
        return bool((await gateway.fetch("udio", submission.generation_id)).collectable)

    await until(finished)
    patient = await session(poll_interval=3600.0)
    assert len(await wait(patient, await _age(opened, submission, 60.0), way)) == 2
