"""Songs in the ledger: announced takes, their storage and their lineage."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from songflow.ledger import Ledger, SongState, State, StoredFile, schema
from songflow.ledger.songs import Lineage, payload_text

PAYLOAD = {"status": 200, "body": '{"songs": []}'}
REGULAR = Lineage("regular", None)
FILE = StoredFile("/audio/a.mp3", 1000, "ab" * 32, 2.0, 44_100, 2, 0.9, -14.0)


async def _end(ledger: Ledger, submission, takes, lineage: Lineage = REGULAR, failure: str | None = None):
    return await ledger.songs.ended(submission.id, submission.key, lineage, takes, PAYLOAD, failure)


async def test_the_end_of_a_generation_is_one_transaction(ledger: Ledger, in_state, take) -> None:
    """State, raw payload and a row per take, in the gateway's order, before any download."""
    submission = await in_state(State.RUNNING)
    songs = await _end(ledger, submission, [take("a"), take("b", error="moderated", song_url=None)])
    assert [(song.take, song.song_id, song.state) for song in songs] == [
        (0, "a", SongState.ANNOUNCED),
        (1, "b", SongState.FAILED),
    ]
    assert (songs[0].tags, songs[0].announced_seconds, songs[0].depth) == (("slow", "cello"), 32.8, 0)
    assert (songs[0].root_song_id, songs[0].parent_song_id, songs[1].error) == ("a", None, "moderated")
    ended = await ledger.submissions.get(submission.id)
    assert ended.state is State.SUCCEEDED
    assert ended.settled_at is not None
    async with ledger.database.read() as connection:
        answers = [dict(row) for row in (await connection.execute(select(schema.answers))).mappings()]
        kept = (await connection.execute(select(schema.songs.c.payload))).scalars().all()
    assert [(answer["kind"], answer["body"]) for answer in answers] == [("fetch", PAYLOAD["body"])]
    assert kept == ['{"id": 1}'] * 2


async def test_a_failed_generation_keeps_its_takes_and_its_reason(ledger: Ledger, in_state, take) -> None:
    """It ends in `failed`, with the reason of each take."""
    submission = await in_state(State.RUNNING)
    songs = await _end(ledger, submission, [take("a", error="moderated")], failure="all\x00 failed")
    assert [song.state for song in songs] == [SongState.FAILED]
    ended = await ledger.submissions.get(submission.id)
    assert (ended.state, ended.error) == (State.FAILED, "all\ufffd failed")


async def test_songs_that_appear_after_a_failure_make_it_a_success(ledger: Ledger, in_state, take) -> None:
    """There is something to collect."""
    submission = await in_state(State.RUNNING)
    await _end(ledger, submission, [take("a", error="moderated", song_url=None)], failure="failed")
    (song,) = await _end(ledger, submission, [take("a")])
    assert (song.state, song.error) == (SongState.ANNOUNCED, None)
    ended = await ledger.submissions.get(submission.id)
    assert (ended.state, ended.error) == (State.SUCCEEDED, None)


async def test_a_late_failure_does_not_undo_a_success(ledger: Ledger, in_state, take) -> None:
    """A succeeded submission stays succeeded."""
    submission = await in_state(State.RUNNING)
    await _end(ledger, submission, [take("a")])
    await _end(ledger, submission, [], failure="failed")
    assert (await ledger.submissions.get(submission.id)).state is State.SUCCEEDED


async def test_a_second_result_renews_urls_and_adds_late_takes(ledger: Ledger, in_state, take) -> None:
    """Takes are matched by id in any order; a stored one is not changed."""
    submission = await in_state(State.RUNNING)
    first, second = await _end(ledger, submission, [take("a"), take("b")])
    await ledger.songs.stored(first, FILE)
    songs = await _end(
        ledger, submission, [take("late"), take("b", song_url="fresh"), take("a", song_url="fresh")]
    )
    assert [(song.id, song.song_id, song.take) for song in songs[:2]] == [
        (first.id, "a", 0),
        (second.id, "b", 1),
    ]
    assert (songs[2].song_id, songs[2].take) == ("late", 2)
    assert [song.song_url for song in songs] == [
        "https://files.example/a.mp3",
        "fresh",
        "https://files.example/late.mp3",
    ]


async def test_duplicate_or_missing_ids_make_one_row_per_take(ledger: Ledger, in_state, take) -> None:
    """And still do at the second result."""
    submission = await in_state(State.RUNNING)
    takes = [take("a"), take("a"), take(None), take(None)]
    assert len(await _end(ledger, submission, takes)) == 4
    assert len(await _end(ledger, submission, takes)) == 4


async def test_a_stored_take_has_its_file_and_no_error(ledger: Ledger, in_state, take) -> None:
    """The error of an earlier attempt is cleared."""
    submission = await in_state(State.RUNNING)
    (song,) = await _end(ledger, submission, [take("a")])
    troubled = await ledger.songs.problem(song, "no\x00 space")
    assert troubled == await ledger.songs.get(song.id)
    assert (troubled.state, troubled.error) == (SongState.ANNOUNCED, "no\ufffd space")
    stored = await ledger.songs.stored(troubled, replace(FILE, stored_at=datetime.now(UTC)))
    assert stored == await ledger.songs.get(song.id)
    assert (stored.state, stored.error, stored.path) == (SongState.STORED, None, FILE.path)
    assert (stored.bytes, stored.sha256, stored.seconds, stored.sample_rate) == (1000, "ab" * 32, 2.0, 44_100)
    assert (stored.channels, stored.peak, stored.rms_db) == (2, 0.9, -14.0)
    assert stored.stored_at >= stored.announced_at


async def test_a_song_has_parent_root_and_depth(ledger: Ledger, in_state, take) -> None:
    """Extensions of extensions have the first song as root; an unknown parent is the root."""
    core = await in_state(State.RUNNING, "core")
    await _end(ledger, core, [take("a")])
    intro = await in_state(State.RUNNING, "intro")
    (one,) = await _end(ledger, intro, [take("b")], Lineage("precede", "a"))
    outro = await in_state(State.RUNNING, "outro")
    (two,) = await _end(ledger, outro, [take("c")], Lineage("continuation", "b"))
    stray = await in_state(State.RUNNING, "stray")
    (foreign,) = await _end(ledger, stray, [take("d")], Lineage("continuation", "elsewhere"))
    assert (one.parent_song_id, one.root_song_id, one.depth, one.mode) == ("a", "a", 1, "precede")
    assert (two.parent_song_id, two.root_song_id, two.depth) == ("b", "a", 2)
    assert (foreign.parent_song_id, foreign.root_song_id, foreign.depth) == ("elsewhere", "elsewhere", 1)


async def test_a_parent_without_a_root_is_the_root(ledger: Ledger, in_state, take) -> None:
    """For its extensions."""
    core = await in_state(State.RUNNING, "core")
    await _end(ledger, core, [take("a")])
    async with ledger.database.write("test") as connection:
        await connection.execute(schema.songs.update().values(root_song_id=None))
    child = await in_state(State.RUNNING, "child")
    (song,) = await _end(ledger, child, [take("b")], Lineage("precede", "a"))
    assert song.root_song_id == "a"


async def test_songs_are_found_by_key_by_submission_and_by_the_gateways_id(
    ledger: Ledger, in_state, take
) -> None:
    """Ids of two gateways may coincide: both songs are returned, newest last."""
    one, two = await in_state(State.RUNNING, "one"), await in_state(State.RUNNING, "two")
    (first,), (second,) = await _end(ledger, one, [take("a")]), await _end(ledger, two, [take("a")])
    assert await ledger.songs.of_key("one") == [first]
    assert await ledger.songs.of_submission(two.id) == [second]
    assert await ledger.songs.by_song_id("a") == [first, second]
    assert await ledger.songs.by_song_id("none") == []


async def test_concurrent_ends_make_one_row_per_take(ledger: Ledger, in_state, take) -> None:
    """Later processes find the rows of the first."""
    submission = await in_state(State.RUNNING)
    results = await asyncio.gather(*(_end(ledger, submission, [take("a"), take("b")]) for _ in range(8)))
    late = await asyncio.gather(
        *(_end(ledger, submission, [take("a"), take("b"), take("late")]) for _ in range(8))
    )
    assert {tuple(song.id for song in songs) for songs in results} == {tuple(song.id for song in results[0])}
    assert {len(songs) for songs in late} == {3}


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "ü 漢 🎻"])
async def test_any_text_of_a_gateway_can_be_stored(ledger: Ledger, in_state, take, text: str) -> None:
    """Characters that a database refuses are replaced: a paid song depends on it."""
    submission = await in_state(State.RUNNING)
    odd = take(
        text,
        title=text,
        tags=(text,),
        lyrics=text,
        song_url=text,
        error=None,
        payload=payload_text({text: 1}),
    )
    (song,) = await _end(ledger, submission, [odd])
    assert song.title is not None
    assert len(await _end(ledger, submission, [odd])) == 1


def test_a_payload_is_stored_completely_even_with_values_json_cannot_represent() -> None:
    """Unknown fields and types are stored as text."""
    assert payload_text({"name": "Lied für 漢", "when": {1}}) == '{"name": "Lied für 漢", "when": "{1}"}'


async def test_another_process_cannot_undo_that_a_song_is_stored(ledger: Ledger, in_state, take) -> None:
    """Neither with its own failed download nor with an older result."""
    submission = await in_state(State.RUNNING)
    (song,) = await _end(ledger, submission, [take("a")])
    await ledger.songs.stored(song, FILE)
    failed = await ledger.songs.problem(song, "could not be stored: the disk is full")
    (again,) = await _end(ledger, submission, [take("a", song_url="fresh")])
    assert failed == again == await ledger.songs.get(song.id)
    assert (again.state, again.error, again.path) == (SongState.STORED, None, FILE.path)
