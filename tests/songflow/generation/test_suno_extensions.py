"""Suno extensions on the simulator: only the new part comes back, and it is joined with its source here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
from support.room import room_songs

from songflow.accounts import Access
from songflow.audio.alignment import find_source
from songflow.catalog.lineage import trees
from songflow.catalog.manifest import read_manifest
from songflow.errors import InputError, InvalidRequest
from songflow.families.registry import parse_request
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in
from songflow.generation.results import GenerationResult, SongResult
from songflow.generation.session import Session
from songflow.library.audio_store import AudioStore
from songflow.library.rebuild import Found, rebuild
from songflow.library.stitching import stitch
from songflow.listening.files import stored_audio

CLIP = 4.0
AT = 2.5
CUT = CLIP - AT


async def idea(opened: Session, account: Access) -> SongResult:
    """A song to extend."""
    request = parse_request({"prompt": "a cat on a roof", "model_type": "chirp-auk"})
    return (await generate_in(opened, request, account, key="cat")).songs[0]


async def extended(
    opened: Session, account: Access, song_id: str | None, key: str, **fields: Any
) -> GenerationResult:
    """An extension of a song of the library."""
    planned = await plan_extension(opened, song_id or "", overrides=fields, given=account)
    return await generate_in(opened, planned.request, planned.access, key=key)


def seconds(path: str | None) -> float:
    return float(soundfile.info(path).duration)


async def test_an_extension_is_joined_into_the_whole_song_and_both_files_are_kept(
    simulator: Any, access: Any, session: Any
) -> None:
    """The source up to the second, then the new part; ledger, manifest and lineage tell the two files apart."""
    server, opened = simulator(clip_seconds=CLIP, takes=1), await session()
    account = access(server.url)
    source = await idea(opened, account)
    made = await extended(opened, account, source.song_id, "more", continue_at=AT)
    first, again = server.bill()
    assert again.body == {
        "prompt": "",
        "tags": "a cat on a roof",
        "mv": "chirp-auk",
        "title": "",
        "task_id": first.generation_id,
        "continue_clip_id": source.song_id,
        "continue_at": AT,
    }
    assert [entry.price for entry in server.bill()] == [1, 1]
    for song in made.songs:
        assert (seconds(song.path), seconds(song.whole_path)) == pytest.approx((CLIP, AT + CLIP), abs=0.1)
        assert find_source(Path(song.path or ""), Path(song.whole_path or "")).at == pytest.approx(
            AT, abs=0.01
        )
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert (row["whole_path"], row["mode"], row["request.continue_at"]) == (
        made.songs[0].whole_path,
        "continuation",
        AT,
    )
    assert (row["source_score"], row["source_at"]) == (1, 0)
    assert row["added_seconds"] == pytest.approx(CLIP - CUT, abs=0.1)
    (root,) = trees(await read_manifest(opened.library.ledger))
    assert (
        f"continuation at 2.5, 4.0 s, new part, joined: {Path(row['whole_path']).name}"
        == root.children[0].text
    )

    # The listening room plays the whole song.
    played = [one for one in await room_songs(opened.library) if one["joined"]]
    assert [await stored_audio(opened.library.ledger, one["id"]) for one in played] == [row["whole_path"]]

    # A second extension continues the first one's clip, and the whole song grows.
    longer = await extended(opened, account, made.songs[0].song_id, "longest", continue_at=3.0)
    whole = Path(longer.songs[0].whole_path or "")
    assert seconds(str(whole)) == pytest.approx(AT + 3.0 + CLIP, abs=0.1)
    assert find_source(Path(longer.songs[0].path or ""), whole).at == pytest.approx(AT + 3.0, abs=0.01)

    # A ledger that is rebuilt from the files knows which is which.
    async with Session(type(opened.library.settings)(opened.library.settings.folder / "other")) as other:
        found = await rebuild(other.library, opened.library.settings.folder / "audio", [account.place])
        assert [one.found for one in found] == [Found.ADDED] * 3
        frame = (await read_manifest(other.library.ledger)).set_index("song_id")
        assert frame.loc[row["song_id"], "whole_path"] == row["whole_path"]

    # A part that is moved away from its whole song contains its source no more, and the whole song alone is no song.
    part, moved = Path(longer.songs[0].path or ""), opened.library.settings.folder / "moved"
    moved.mkdir()
    part.rename(moved / part.name)
    (away,) = await rebuild(opened.library, moved, [account.place])
    assert away.found is Found.MOVED
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert row[["whole_path", "source_score", "source_at", "added_seconds"]].isna().all()
    assert row["note"] == "only the new part (`songflow stitch` joins it with its source)"
    left = {one.path: one.found for one in await rebuild(opened.library, part.parent, [account.place])}
    assert (left[str(whole)], len(left)) == (Found.SKIPPED, 3)


async def test_a_part_that_is_not_joined_can_be_stitched_later(
    simulator: Any, access: Any, session: Any
) -> None:
    """With `join` none the new part's file is all there is, and `stitch` cuts the source at the same second."""
    server, opened = simulator(clip_seconds=CLIP, takes=1), await session(join="none")
    account = access(server.url)
    source = await idea(opened, account)
    made = await extended(opened, account, source.song_id, "more", continue_at=AT, lyrics="la la")
    assert [song.whole_path for song in made.songs] == [None]
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert row["note"] == "only the new part (`songflow stitch` joins it with its source)"
    stitched = await stitch(opened.library, str(made.songs[0].song_id), crossfade=0.1)
    assert stitched.seconds == pytest.approx(AT + CLIP, abs=0.1)
    joining = await session()
    behind = await extended(joining, account, made.songs[0].song_id, "behind", continue_at=AT)
    assert behind.songs[0].whole_path is None, "it would lack its beginning"
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert row["note"].endswith(
        "not joined with its source: it is only a new part itself, and not joined with its own source"
    )
    joined = await extended(joining, account, source.song_id, "again", continue_at=AT)
    with pytest.raises(InputError, match="is joined with its source already"):
        await stitch(joining.library, str(joined.songs[0].song_id))


async def test_a_part_whose_whole_song_cannot_be_stored_does_not_contain_its_source(
    simulator: Any, access: Any, session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part is stored, and its row describes the part alone."""
    server, opened = simulator(clip_seconds=CLIP, takes=1), await session()
    account = access(server.url)
    source = await idea(opened, account)

    async def refuse(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AudioStore, "put_beside", refuse)
    made = await extended(opened, account, source.song_id, "more", continue_at=AT)
    assert (seconds(made.songs[0].path), made.songs[0].whole_path) == (pytest.approx(CLIP, abs=0.1), None)
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert row[["source_score", "source_at", "added_seconds"]].isna().all()
    assert row["note"] == "only the new part, not joined with its source: the whole song could not be stored"


async def test_a_part_whose_source_is_gone_is_stored_with_the_reason(
    simulator: Any, access: Any, session: Any
) -> None:
    """It is paid for: that it could not be joined is a note, and its own file is whole."""
    server, opened = simulator(clip_seconds=CLIP, takes=1), await session()
    account = access(server.url)
    source = await idea(opened, account)
    Path(source.path or "").unlink()
    made = await extended(opened, account, source.song_id, "more", continue_at=AT)
    assert all(song.path and song.whole_path is None for song in made.songs)
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert str(row["note"]).startswith("only the new part, not joined with its source: ")


async def test_an_extension_needs_a_second_of_its_source_and_its_task(
    simulator: Any, access: Any, session: Any, posts: Any
) -> None:
    """Each is asked for before anything is sent; the relay would bill a second behind the end, and refuse no task."""
    server, opened = simulator(clip_seconds=1.0), await session()
    account = access(server.url)
    source = await idea(opened, account)
    with pytest.raises(InvalidRequest, match="continue_at is required"):
        await plan_extension(opened, str(source.song_id), account)
    behind = r"continue_at is 1\.5 s, and the song's own part is 1.* s long"
    with pytest.raises(InvalidRequest, match=behind):
        await plan_extension(opened, str(source.song_id), account, overrides={"continue_at": 1.5})
    foreign = {"prompt": "punk", "model_type": "chirp-auk", "continue_at": 3}
    unknown = await plan_extension(opened, "elsewhere", account, overrides=foreign)
    with pytest.raises(InputError, match="source_generation_id is required"):
        await generate_in(opened, unknown.request, account, key="more")
    known = await plan_extension(
        opened, "elsewhere", account, overrides={**foreign, "source_generation_id": "task"}
    )
    assert (known.request.source_song_id, posts(server)) == ("elsewhere", 1)
