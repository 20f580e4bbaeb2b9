"""`join` gateway on the simulator: the gateway makes the whole song of a new part, each once, whatever goes wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile
from sqlalchemy import update
from support.room import room_songs

from songflow.accounts import Access
from songflow.audio.alignment import find_source
from songflow.catalog.lineage import trees
from songflow.catalog.manifest import read_manifest
from songflow.errors import InputError
from songflow.families.registry import parse_request
from songflow.generation import joins, lifecycle
from songflow.generation.extensions import plan_extension
from songflow.generation.joins import join_key
from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import rescue
from songflow.generation.results import GenerationResult, SongResult
from songflow.generation.session import Session
from songflow.ledger import State, schema
from songflow.library.rebuild import Found, rebuild
from songflow.library.stitching import stitch

CLIP, AT = 3.0, 2.0
KEY, JOIN = "more", "more/join.1"


async def idea(opened: Session, account: Access) -> SongResult:
    """A song to extend."""
    request = parse_request({"prompt": "a cat on a roof", "model_type": "chirp-auk"})
    return (await generate_in(opened, request, account, key="cat")).songs[0]


async def extended(
    opened: Session, account: Access, song_id: str | None, key: str = KEY, at: float = AT
) -> GenerationResult:
    """An extension of a song of the library."""
    planned = await plan_extension(opened, song_id or "", account, overrides={"continue_at": at})
    return await generate_in(opened, planned.request, planned.access, key=key)


def seconds(path: str | None) -> float:
    return float(soundfile.info(path).duration)


def is_whole(song: SongResult, source: SongResult, length: float = AT + CLIP) -> bool:
    """Whether a song's whole file begins with its source and ends with its new part."""
    whole = Path(song.whole_path or "")
    return (
        seconds(str(whole)) == pytest.approx(length, abs=0.1)
        and find_source(Path(song.path or ""), whole).at == pytest.approx(length - CLIP, abs=0.02)
        and find_source(Path(source.path or ""), whole).at == pytest.approx(0, abs=0.02)
    )


async def test_the_gateway_makes_the_whole_song_and_both_files_are_kept(
    simulator: Any, access: Any, session: Any
) -> None:
    """A POST under a key of its own; the part's row names the whole song, which is no song of its own."""
    server, opened = simulator(clip_seconds=CLIP), await session(join="gateway")
    account = access(server.url)
    source = await idea(opened, account)
    made = await extended(opened, account, source.song_id)
    bill = server.bill()
    assert {(entry.body["clip_id"], entry.body["is_infill"]) for entry in bill[2:]} == {
        (song.song_id, False) for song in made.songs
    }
    for song in made.songs:
        assert seconds(song.path) == pytest.approx(CLIP, abs=0.1)
        assert is_whole(song, source)
        assert song.joined_by == "gateway"
    ledger = opened.library.ledger
    assert [one.price for one in await ledger.submissions.of_key(JOIN)] == [0.0]

    frame = await read_manifest(ledger)
    assert list(frame["key"]) == ["cat", "cat", KEY, KEY]
    row = frame.iloc[2]
    assert (row["joined_by"], row["whole_path"], row["source_score"], row["source_at"]) == (
        "gateway",
        made.songs[0].whole_path,
        1,
        0,
    )
    assert row["added_seconds"] == pytest.approx(AT, abs=0.1)
    assert frame["note"].isna().all()
    assert len(await room_songs(opened.library)) == 4
    (root, _) = trees(frame)
    assert f"joined by the gateway: {Path(row['whole_path']).name}" in root.children[0].text

    # The second extension's source is the clip, and the whole song grows.
    longer = await extended(opened, account, made.songs[0].song_id, "longest", at=2.5)
    assert is_whole(longer.songs[0], source, AT + 2.5 + CLIP)

    # The same key again: nothing is sent.
    again = await extended(opened, account, source.song_id)
    assert (again.songs, len(server.bill())) == (made.songs, 7)

    # A ledger that is rebuilt from the files knows who joined, and that the join was paid for.
    async with Session(type(opened.library.settings)(opened.library.settings.folder / "other")) as other:
        found = await rebuild(other.library, opened.library.settings.folder / "audio", [account.place])
        assert {one.found for one in found} == {Found.ADDED}
        rebuilt = await read_manifest(other.library.ledger)
        same = ["song_id", "joined_by", "whole_path", "source_score", "source_at", "note"]
        assert rebuilt[same].equals((await read_manifest(ledger))[same])
        assert [one.state for one in await other.library.ledger.submissions.of_key(JOIN)] == [State.SUCCEEDED]


async def test_a_gateway_that_knows_no_concatenation_costs_nothing_and_the_part_is_joined_here(
    simulator: Any, access: Any, session: Any, posts: Any
) -> None:
    """The open relay refuses it with 400: the extension has its whole song all the same, and says why."""
    server = simulator({"fault": "concat_refused", "times": None}, clip_seconds=CLIP, takes=1)
    opened, account = await session(join="gateway"), access(server.url)
    source = await idea(opened, account)
    made = await extended(opened, account, source.song_id)
    (song,) = made.songs
    assert is_whole(song, source)
    assert (song.joined_by, song.error, made.state) == ("local", None, "succeeded")
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert row["note"].startswith("joined here, because the gateway did not: ")
    assert "invalid_action" in row["note"]
    assert (len(server.bill()), posts(server)) == (2, 3)
    (refused,) = await opened.library.ledger.submissions.of_key(JOIN)
    assert (refused.state, refused.billed) == (State.REFUSED, "no")
    await extended(opened, account, source.song_id)
    assert posts(server) == 3, "a part that is joined is not asked for again"
    assert await rescue(opened) == []

    # A whole song that does not contain its source can be made anew.
    with pytest.raises(InputError, match="is joined with its source already"):
        await stitch(opened.library, str(song.song_id))
    async with opened.library.ledger.database.write("test") as connection:
        await connection.execute(update(schema.songs).values(source_score=0.1))
    assert (await stitch(opened.library, str(song.song_id))).seconds == pytest.approx(AT + CLIP, abs=0.1)


@pytest.mark.parametrize(("fault", "state"), [("lost_answer", State.UNKNOWN), ("moderated", State.FAILED)])
async def test_a_join_that_is_not_to_be_had_leaves_a_whole_song_that_is_joined_here(
    simulator: Any, access: Any, session: Any, fault: str, state: State
) -> None:
    """The extension is stored, so it succeeds; a join that may be billed waits for `rescue` under its own key."""
    server = simulator({"fault": fault, "match": "(concatenation)"}, clip_seconds=CLIP, takes=1)
    opened, account = await session(join="gateway"), access(server.url)
    source = await idea(opened, account)
    (song,) = (await extended(opened, account, source.song_id)).songs
    assert is_whole(song, source)
    assert song.joined_by == "local"
    (join,) = await opened.library.ledger.submissions.of_key(JOIN)
    assert join.state is state
    posts = len(server.bill())
    await extended(opened, account, source.song_id)
    assert len(server.bill()) == posts, "it is never sent again by itself"
    assert [one.key for one in await rescue(opened)] == ([JOIN] if state is State.UNKNOWN else [])


async def test_a_join_that_runs_beyond_the_deadline_is_collected_later_and_replaces_the_local_one(
    simulator: Any, access: Any, session: Any, play: Any
) -> None:
    """The part is joined here meanwhile; the gateway's whole song, which is paid for, takes that one's place."""
    server = simulator(clip_seconds=CLIP, takes=1)
    opened, account = await session(join="none"), access(server.url)
    source = await idea(opened, account)
    await extended(opened, account, source.song_id)
    hurried = await session(join="gateway", deadline=0.5)
    play(server, {"fault": "unknown_for_ever", "match": "(concatenation)", "times": None})
    (song,) = (await extended(hurried, account, source.song_id)).songs
    assert (song.joined_by, is_whole(song, source)) == ("local", True)
    play(server)
    (collected,) = await rescue(opened, account)
    assert (collected.key, collected.error) == (JOIN, None)
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert (row["joined_by"], row["whole_path"]) == ("gateway", song.whole_path)
    assert row[["note"]].isna().all()
    assert len(server.bill()) == 3


class Killed(BaseException):
    """What ends a process in these tests."""


@pytest.mark.parametrize("at", ["the join", "the wait", "the download"])
async def test_after_a_death_between_the_extension_and_its_join_the_same_key_joins_once(
    simulator: Any, access: Any, session: Any, die: Any, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Before the join is paid for, while it runs, and before it is stored: it is billed once, and the part is kept."""
    server = simulator(clip_seconds=CLIP, takes=1)
    opened, account = await session(join="gateway"), access(server.url)
    source = await idea(opened, account)
    home, name = {
        "the join": (joins, "_join"),
        "the wait": (lifecycle, "wait"),
        "the download": (lifecycle, "collect"),
    }[at]
    real = getattr(home, name)

    async def dies(*given: Any) -> Any:
        if at == "the join" or given[1].key == JOIN:
            raise Killed
        return await real(*given)

    monkeypatch.setattr(home, name, dies)
    with pytest.raises(Killed):
        await extended(opened, account, source.song_id)
    monkeypatch.undo()
    await die(opened)
    (left,) = await opened.library.ledger.songs.of_key(KEY)
    assert (left.path is not None, left.whole_path) == (True, None)
    assert len(server.bill()) == (2 if at == "the join" else 3)
    (song,) = (await extended(opened, account, source.song_id)).songs
    assert (song.joined_by, is_whole(song, source), len(server.bill())) == ("gateway", True, 3)
    assert await rescue(opened) == []


async def test_rescue_pays_for_no_join_and_collects_one_that_is_paid_for(
    simulator: Any, access: Any, session: Any, die: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death while the gateway joins: rescue stores the whole song beside the part."""
    server = simulator(clip_seconds=CLIP, takes=1)
    opened, account = await session(join="gateway"), access(server.url)
    source = await idea(opened, account)
    real = lifecycle.wait

    async def dies(*given: Any) -> Any:
        if given[1].key == JOIN:
            raise Killed
        return await real(*given)

    monkeypatch.setattr(lifecycle, "wait", dies)
    with pytest.raises(Killed):
        await extended(opened, account, source.song_id)
    monkeypatch.undo()
    await die(opened)
    (collected,) = await rescue(await session(), account)
    assert (collected.key, collected.error, len(server.bill())) == (JOIN, None, 3)
    row = (await read_manifest(opened.library.ledger)).iloc[-1]
    assert (row["joined_by"], row["key"]) == ("gateway", KEY)


async def test_a_budget_covers_the_join_of_an_extension(simulator: Any, access: Any, session: Any) -> None:
    """Both count for one run; a join beyond it is not sent, and the part is joined here."""
    server = simulator(clip_seconds=CLIP, takes=1)
    opened = await session(join="gateway", budget=1.5)
    account = Access(access(server.url).account, {"suno-join": 1.0})
    source = await idea(opened, account)
    (song,) = (await extended(opened, account, source.song_id)).songs
    assert (song.joined_by, len(server.bill())) == ("local", 2)


async def test_a_gateway_without_concatenation_is_refused_before_anything_is_sent(
    simulator: Any, access: Any, session: Any, posts: Any
) -> None:
    """The message names those that have it."""
    server, opened = simulator(), await session(join="gateway")
    account = access(server.url, "kie")
    song = {"prompt": "punk", "model_type": "chirp-auk", "continue_at": 3}
    planned = await plan_extension(opened, "elsewhere", account, overrides=song)
    with pytest.raises(InputError, match="kie does not join") as refused:
        await generate_in(opened, planned.request, account, key="more")
    assert "cometapi, openai-hk, acedata, simulator" in str(refused.value.next)
    assert posts(server) == 0


def test_the_key_of_a_join_fits_into_the_ledger_and_is_its_own() -> None:
    """Also for the longest key of an extension."""
    keys = {join_key(key, take) for key in ("more", "k" * 255, "k" * 254 + "j") for take in (0, 1)}
    assert len(keys) == 6
    assert max(map(len, keys)) <= 255
