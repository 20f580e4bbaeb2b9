"""Ratings of takes by id and file, on SQLite and PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import pytest

from songflow.catalog.judging import judge, judge_row, rate_song, undo, undo_last
from songflow.catalog.manifest import filter_manifest, read_manifest
from songflow.errors import InputError
from songflow.ledger import Ledger, State, StoredFile
from songflow.ledger.judgements import JudgementKind
from songflow.ledger.songs import Lineage

REGULAR = Lineage("regular", None)


@pytest.fixture
async def rainy(ledger: Ledger, in_state, take):
    """A generation of two takes, the first of them stored as /audio/rain.mp3."""
    submission = await in_state(State.RUNNING)
    takes = await ledger.songs.ended(
        submission.id, submission.key, REGULAR, [take("a"), take("b")], {"body": ""}
    )
    file = StoredFile("/audio/rain.mp3", 1000, "ab" * 32, 2.0, 44_100, 2, 0.9, -14.0)
    await ledger.songs.stored(takes[0], file)
    return takes


@pytest.mark.parametrize("reference", ["a", "/audio/rain.mp3", "rain.mp3", "../audio/./rain.mp3"])
async def test_a_song_is_rated_by_its_id_or_its_file(ledger: Ledger, rainy, reference: str) -> None:
    """The other take is unchanged, and the manifest shows the rating."""
    song = await rate_song(ledger, reference, 4.5, folder=Path("/audio"))
    assert (song.id, song.rating) == (rainy[0].id, 4.5)
    assert song.rated_at is not None
    frame = await read_manifest(ledger)
    assert frame["rating"].to_list()[0] == 4.5
    assert frame["rating"].isna().to_list() == [False, True]


async def test_a_rating_can_be_replaced_and_removed(ledger: Ledger, rainy) -> None:
    """Also for a take that is not stored: it may have been heard at the gateway."""
    await rate_song(ledger, "b", 0)
    assert (await rate_song(ledger, "b", 5)).rating == 5
    cleared = await rate_song(ledger, "b", None)
    assert (cleared.rating, cleared.rated_at) == (None, None)


@pytest.mark.parametrize("rating", [-0.1, 5.1, float("nan"), float("inf")])
async def test_a_rating_out_of_range_is_refused(ledger: Ledger, rainy, rating: float) -> None:
    """And changes nothing."""
    await rate_song(ledger, "a", 3)
    with pytest.raises(InputError, match="allowed is a number from 0 to 5"):
        await rate_song(ledger, "a", rating)
    assert (await ledger.songs.get(rainy[0].id)).rating == 3


@pytest.mark.parametrize("reference", ["c", "", "/audio/other.mp3", "s3://rain.mp3", "%", "\udcff id"])
async def test_an_unknown_song_cannot_be_rated(ledger: Ledger, rainy, reference: str) -> None:
    """For any kind of reference."""
    with pytest.raises(InputError, match="This library has no song"):
        await rate_song(ledger, reference, 3)


@pytest.mark.parametrize("case", ["one stored", "one generation", "a copy"])
async def test_stored_songs_under_one_id_are_rated_together(
    ledger: Ledger, in_state, take, case: str
) -> None:
    """Some gateways return one id twice, and a song may be collected under two keys; a file names one of them."""
    same = case == "a copy"
    keys = [await in_state(State.RUNNING, f"key {number}") for number in range(2 if same else 1)]
    given = [take("a")] if same else [take("a"), take("a")]
    rows = [
        row for one in keys for row in await ledger.songs.ended(one.id, one.key, REGULAR, given, {"body": ""})
    ]
    for number, row in enumerate(rows[: 1 if case == "one stored" else 2]):
        audio = "ab" * 32 if same else f"{number}a" * 32
        file = StoredFile(
            f"/audio/{number}.mp3", 9, f"{number}c" * 32, 2.0, 44_100, 2, 0.9, -14.0, audio_sha256=audio
        )
        await ledger.songs.stored(row, file)
    assert (await rate_song(ledger, "a", 4)).rating == 4
    stored = [4, None] if case == "one stored" else [4, 4]
    assert [(await ledger.songs.get(row.id)).rating for row in rows] == stored
    await rate_song(ledger, "0.mp3", 1, folder=Path("/audio"))
    assert [(await ledger.songs.get(row.id)).rating for row in rows] == [1, stored[1]]


async def test_different_songs_under_one_id_ask_for_the_file(ledger: Ledger, in_state, take) -> None:
    """Ids of two gateways may coincide."""
    for number in range(2):
        one = await in_state(State.RUNNING, f"key {number}")
        [row] = await ledger.songs.ended(one.id, one.key, REGULAR, [take("a")], {"body": ""})
        file = StoredFile(f"/audio/{number}.mp3", 9, f"{number}c" * 32, 2.0, 44_100, 2, 0.9, -14.0)
        await ledger.songs.stored(row, file)
    with pytest.raises(InputError, match=r"2 songs have the id 'a': /audio/0\.mp3, /audio/1\.mp3"):
        await rate_song(ledger, "a", 3)


async def test_an_id_that_two_songs_share_asks_for_the_file(ledger: Ledger, in_state, take) -> None:
    """Some gateways return one id twice."""
    submission = await in_state(State.RUNNING)
    await ledger.songs.ended(submission.id, submission.key, REGULAR, [take("a"), take("a")], {"body": ""})
    with pytest.raises(InputError, match=f"2 songs have the id 'a': take 1 of {submission.key}, take 2"):
        await rate_song(ledger, "a", 3)


async def test_decisions_and_notes_are_given_and_undone(ledger: Ledger, rainy) -> None:
    """With who and when; the manifest shows and filters them."""
    for decision in ("discard", "keep"):
        await judge(ledger, ["a", "b"], JudgementKind.DECISION, decision, by="Ann")
    [song] = await judge(ledger, ["a"], JudgementKind.NOTES, " the best rain \n", by="Bob")
    assert (song.decision, song.decided_by, song.notes, song.noted_by) == (
        "keep", "Ann", "the best rain", "Bob"
    )  # fmt: skip
    assert song.decided_at is not None
    frame = await read_manifest(ledger)
    for where, found in (("decision == 'keep'", 2), ("'rain' in notes", 1), ("decision == 'discard'", 0)):
        assert len(filter_manifest(frame, where)) == found
    [song] = await undo_last(ledger, ["a"], JudgementKind.DECISION)
    assert (song.decision, song.notes) == ("discard", "the best rain")
    await undo_last(ledger, ["a"], JudgementKind.DECISION)
    with pytest.raises(InputError, match="nothing to undo: 'a' has no decision"):
        await undo_last(ledger, ["a"], JudgementKind.DECISION)
    assert (await judge(ledger, ["a"], JudgementKind.NOTES, ""))[0].noted_by is None


async def test_an_undo_of_several_songs_is_done_for_all_or_none(ledger: Ledger, rainy) -> None:
    """A song that is named twice counts once."""
    await judge(ledger, ["a"], JudgementKind.DECISION, "keep")
    await judge(ledger, ["a"], JudgementKind.DECISION, "discard")
    with pytest.raises(InputError, match="nothing to undo: 'b' has no decision"):
        await undo_last(ledger, ["a", "b"], JudgementKind.DECISION)
    [song] = await undo_last(ledger, ["a", "a"], JudgementKind.DECISION)
    assert song.decision == "keep"


async def test_characters_that_databases_refuse_are_replaced(ledger: Ledger, rainy) -> None:
    """In the judgement and in the song's row alike."""
    for value, by in (("a\x00b\udcff", "An\x00n"), ("c\udcff", "An\udcffn")):
        [song] = await judge(ledger, ["a"], JudgementKind.NOTES, value, by=by)
        judgement = await ledger.judgements.standing(song.id, JudgementKind.NOTES)
        assert judgement is not None
        assert (song.notes, song.noted_by) == (judgement.value, judgement.by)
    assert (song.notes, song.noted_by) == ("c?", "An?n")


async def test_nobody_is_judged_if_one_song_is_unknown(ledger: Ledger, rainy) -> None:
    """Nor by a value that is none."""
    with pytest.raises(InputError, match="no song 'nobody'"):
        await judge(ledger, ["a", "nobody"], JudgementKind.DECISION, "keep")
    for kind, value in ((JudgementKind.DECISION, "maybe"), (JudgementKind.NOTES, "x" * 10_001)):
        with pytest.raises(InputError, match="allowed is"):
            await judge(ledger, ["a"], kind, value)
    assert await ledger.judgements.of_song(rainy[0].id) == []


async def test_a_winner_is_recorded_against_another_song(ledger: Ledger, rainy) -> None:
    """And undone by its id; no row changes."""
    first, second = (song.id for song in rainy)
    won = await judge_row(ledger, first, JudgementKind.WINNER, None, other_row_id=second, by="Ann")
    assert [(one.song, one.other_song, one.by) for one in await ledger.judgements.of_song(first)] == [
        (first, second, "Ann")
    ]
    await undo(ledger, won.id)
    with pytest.raises(InputError, match="no such judgement to undo"):
        await undo(ledger, won.id)
    for other in (None, first, 99):
        with pytest.raises(InputError):
            await judge_row(ledger, first, JudgementKind.WINNER, None, other_row_id=other)
