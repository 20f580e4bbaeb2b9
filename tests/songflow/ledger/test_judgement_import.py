"""Files of judgements are taken into a ledger, on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from songflow.catalog.judgement_file import JudgementFile
from songflow.catalog.judgement_import import TakenIn, take_in
from songflow.catalog.manifest import read_manifest
from songflow.ledger import Ledger, State, StoredFile
from songflow.ledger.songs import Lineage

AUDIO = ["0a" * 32, "1a" * 32]


@pytest.fixture
async def two(ledger: Ledger, in_state, take) -> str:
    """Two stored takes, "a" and "b", and a copy of "a" under another key; returns the first submission's id."""
    first = ""
    for key, ids in (("core", "ab"), ("again", "a")):
        one = await in_state(State.RUNNING, key)
        first = first or one.id
        rows = await ledger.songs.ended(
            one.id, key, Lineage("regular", None), [take(id) for id in ids], {"body": ""}
        )
        for row, audio in zip(rows, AUDIO, strict=False):
            path = f"/audio/{key}-{row.take}.mp3"
            file = StoredFile(path, 9, "c" * 64, 2.0, 44_100, 2, 0.9, -14.0, audio_sha256=audio)
            await ledger.songs.stored(row, file)
    return first


def file_of(*judgements: dict[str, Any]) -> JudgementFile:
    """A file by Ann, whose judgements were made one minute after another."""
    given = [
        {"id": f"judgement-{number}", "at": datetime(2026, 5, 1, 12, number, tzinfo=UTC), **one}
        for number, one in enumerate(judgements)
    ]
    return JudgementFile.model_validate({"songflow_judgements": 1, "by": "Ann", "judgements": given})


async def test_a_file_that_is_taken_in_twice_counts_once(ledger: Ledger, two: str) -> None:
    """Songs are found by audio, by submission and take, or by gateway and id; what is not here is named.

    Characters that PostgreSQL refuses do no harm.
    """
    by_id = {"gateway": "openai-hk", "song_id": "b"}
    file = file_of(
        {"kind": "rating", "value": 4, "song": {"audio_sha256": AUDIO[0]}},
        {"kind": "decision", "value": "keep", "song": {"submission": two, "take": 1}},
        {"kind": "notes", "value": "<b>soft\x00</b>", "song": by_id, "by": "Bob"},
        {"kind": "winner", "song": by_id, "other_song": {"audio_sha256": AUDIO[0]}},
        {"kind": "rating", "value": 1, "song": {"audio_sha256": "ff" * 32, "title": "Elsewhere"}},
        {"kind": "winner", "song": by_id, "other_song": {"gateway": "elsewhere", "song_id": "b\x00"}},
    )
    unknown = {"Elsewhere": 1, "b\ufffd": 1}
    decided = frozenset(song.id for song in await ledger.songs.of_submission(two) if song.take == 1)
    assert len(decided) == 1
    assert await take_in(ledger, file) == TakenIn(4, 0, decided, unknown)
    once = await read_manifest(ledger)
    assert await take_in(ledger, file) == TakenIn(0, 4, decided, unknown)
    assert once.equals(await read_manifest(ledger))
    assert once["rating"].dropna().to_dict() == {0: 4, 2: 4}
    assert once["rated_by"].dropna().to_dict() == {0: "Ann", 2: "Ann"}
    b = once.iloc[1]
    assert (b.decision, b.notes, b.noted_by, b.decided_by) == ("keep", "<b>soft\ufffd</b>", "Bob", "Ann")


async def test_an_id_that_several_songs_have_is_not_guessed(ledger: Ledger, two: str, in_state, take) -> None:
    """Two gateways, or two accounts of one, may give the same id to different songs."""
    other = await in_state(State.RUNNING, "other")
    [row] = await ledger.songs.ended(other.id, "other", Lineage("regular", None), [take("b")], {"body": ""})
    file = StoredFile("/audio/o.mp3", 9, "d" * 64, 2.0, 44_100, 2, 0.9, -14.0, audio_sha256="2a" * 32)
    await ledger.songs.stored(row, file)
    for more in ({}, {"take": 1}):
        by_id = {"gateway": "openai-hk", "song_id": "b", **more}
        file = file_of({"kind": "rating", "value": 4, "song": by_id})
        assert await take_in(ledger, file) == TakenIn(0, 0, frozenset(), {"b": 1})
    sure = file_of({"kind": "rating", "value": 4, "song": by_id | {"audio_sha256": AUDIO[1]}})
    assert (await take_in(ledger, sure)).recorded == 1
