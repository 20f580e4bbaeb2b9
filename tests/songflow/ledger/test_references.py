"""Songs and requests named by the beginnings of their ids and keys, on SQLite and PostgreSQL."""

from __future__ import annotations

import pytest

from songflow.errors import InputError
from songflow.ledger import Ledger, State
from songflow.ledger.references import full_key, full_song_id
from songflow.ledger.songs import Lineage


@pytest.fixture
async def known(ledger: Ledger, in_state, take) -> Ledger:
    """A ledger with some songs and three requests."""
    submission = await in_state(State.RUNNING, "song-waltz")
    ids = ("abcd-1", "100%_sure", "/tmp/songs/feed-1.mp3", "C:\\songs\\feed-2.mp3", "ref 1/0")
    takes = [take("abcd-100"), take("abcd-200", title="Rain"), *map(take, ids)]
    await ledger.songs.ended(submission.id, submission.key, Lineage("regular", None), takes, {"body": ""})
    await in_state(State.UNKNOWN, "song-walls")
    return ledger


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("abcd-2", "abcd-200"),
        ("abcd-1", "abcd-1"),  # it is an id itself
        ("100%", "100%_sure"),
        ("100_", "100_"),
        ("ABCD-2", "ABCD-2"),
        ("abc", "abc"),  # too short to name anything
        ("wxyz", "wxyz"),
        ("feed-1", "/tmp/songs/feed-1.mp3"),  # of a path, the file name is enough
        ("feed-2", "C:\\songs\\feed-2.mp3"),
        ("/tmp/so", "/tmp/songs/feed-1.mp3"),
        ("songs/", "songs/"),
        ("ref 1", "ref 1/0"),
    ],
)
async def test_one_beginning_is_an_id(known: Ledger, given: str, found: str) -> None:
    """What begins no id stays as it is: only the gateway may know it."""
    assert await full_song_id(known, given) == found


async def test_one_beginning_is_a_key(known: Ledger) -> None:
    """And a whole key is itself."""
    assert await full_key(known, "song-walt") == "song-waltz"
    assert await full_key(known, "song-walls") == "song-walls"
    assert await full_key(known, "nothing") == "nothing"


async def test_an_ambiguous_beginning_lists_what_it_may_mean(known: Ledger) -> None:
    """Songs with their titles, keys with their states."""
    with pytest.raises(InputError, match="3 song ids begin with 'abcd'") as songs:
        await full_song_id(known, "abcd")
    assert "abcd-200 'Rain'" in songs.value.message
    with pytest.raises(InputError, match="2 keys begin with 'song-wal'") as keys:
        await full_key(known, "song-wal")
    assert "song-walls (unknown)" in keys.value.message
