"""Rebuild a ledger from song files: equal rows, and no trust in strangers' files."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas
import pytest
from sqlalchemy import delete, select, update

from songflow.audio.id3 import Tag, audio_span, encode, read_tag
from songflow.catalog.manifest import filter_manifest, read_manifest
from songflow.documents.csv_table import csv_bytes
from songflow.errors import InputError
from songflow.families.udio import SongRequest
from songflow.generation.lifecycle import generate_in
from songflow.ledger import SongState, State, schema
from songflow.ledger.judgements import Judgement, JudgementKind
from songflow.library.library import Library
from songflow.library.provenance import MEASURES, PROVENANCE, REQUEST
from songflow.library.rebuild import Finding, Found, rebuild
from songflow.settings import LibrarySettings

NOT_IN_FILES = {"rating"}
"""Columns of the manifest that change after a song is stored, so that its file lacks them."""


async def forget_all(library: Library) -> None:
    """Delete all rows of the ledger."""
    async with library.ledger.database.write("hold") as connection:
        for table in reversed(schema.metadata.sorted_tables):
            await connection.execute(delete(table))


@pytest.fixture
def made(simulator: Any, access: Any, session: Any, song_request: Any, any_library: LibrarySettings) -> Any:
    """A session whose library has a core and an extension of it (or the core `alone`), with their gateway."""

    async def make(*, alone: bool = False, **fields: Any) -> Any:
        server, opened = simulator(takes=2, clip_seconds=2.0), await session(library=any_library)
        way = access(server.url)
        core = await generate_in(opened, song_request(**fields), way, key="core")
        if alone:
            return opened, (way.gateway, server.url), way
        request = song_request(
            "an outro", mode="continuation", source_song_id=core.songs[0].song_id, song_section_start=0.9
        )
        await generate_in(opened, request, way, key="outro")
        return opened, (way.gateway, server.url), way

    return make


@dataclass(frozen=True)
class Folder:
    """An empty library, a song's tag and audio, and a folder for files made of them."""

    library: Library
    place: tuple[str, str]
    path: Path
    tag: Tag
    audio: bytes

    def put(self, name: str, *, audio: bytes | None = None, **own: str) -> None:
        """Write a file with other Songflow texts (`provenance`, `request`, `payload`) in its tag."""
        others = {f"songflow {part}".removesuffix(" provenance"): text for part, text in own.items()}
        tag = replace(self.tag, own={**self.tag.own, **others})
        (self.path.parent / f"{name}.mp3").write_bytes(encode(tag) + (self.audio if audio is None else audio))

    def provenance(self, change: Callable[[dict[str, Any]], object]) -> str:
        """The song's provenance with a change."""
        provenance = json.loads(self.tag.own[PROVENANCE])
        change(provenance)
        return json.dumps(provenance)

    async def rebuild(self) -> dict[str, Finding]:
        """The result for each file, by its name."""
        findings = await rebuild(self.library, self.path.parent, [self.place])
        return {Path(finding.path).stem: finding for finding in findings}


@pytest.fixture
async def folder(simulator: Any, access: Any, session: Any, song_request: Any, tmp_path: Path) -> Folder:
    """One song of a lost ledger, alone in a folder."""
    server, opened = simulator(takes=1), await session()
    await generate_in(opened, song_request(), access(server.url), key="core")
    (song,) = await opened.library.ledger.songs.of_key("core")
    await forget_all(opened.library)
    path = tmp_path / "music" / "song.mp3"
    path.parent.mkdir()
    shutil.copy(song.path, path)
    data = path.read_bytes()
    start, _ = audio_span(io.BytesIO(data))
    return Folder(opened.library, ("simulator", server.url), path, read_tag(io.BytesIO(data)), data[start:])


@pytest.mark.parametrize("year", [1970, 2106])
async def test_a_machine_with_a_wrong_clock_writes_songs_that_can_be_rebuilt(
    folder: Folder, year: int
) -> None:
    """Without a battery it is in 1970; its times are taken as they are, down to the manifest and every export."""

    def wrong(provenance: dict[str, Any]) -> None:
        for part in ("submission", "song"):
            for name, value in provenance[part].items():
                if name.endswith("_at") and value is not None:
                    provenance[part][name] = f"{year}-01-01T00:00:0{len(name) % 10}Z"

    folder.put("song", provenance=folder.provenance(wrong))
    assert (await folder.rebuild())["song"].found is Found.ADDED
    frame = await read_manifest(folder.library.ledger)
    assert {time.year for time in (*frame["intended_at"], *frame["stored_at"])} == {year}
    assert len(csv_bytes(frame).decode().split(str(year))) > 3
    assert len(filter_manifest(frame, f"intended_at < '{year}-01-02'")) == 1


# --- complete rebuilds -------------------------------------------------------------------------------------------


async def test_the_rebuilt_manifest_equals_the_lost_one(made: Any) -> None:
    """The ledger is lost, rebuilt, and the frames compare equal; a second rebuild changes nothing."""
    opened, place, _ = await made(lyrics="La la", seed=3, prompt_strength=0.75)
    library = opened.library
    before = await read_manifest(library.ledger)
    spent = await library.ledger.money.balance()
    await forget_all(library)
    assert (await read_manifest(library.ledger)).empty
    findings = await rebuild(library, library.settings.folder, [place])
    assert [finding.found for finding in findings] == [Found.ADDED] * 4
    after = await read_manifest(library.ledger)
    carried = [name for name in before.columns if name not in NOT_IN_FILES]
    pandas.testing.assert_frame_equal(before[carried], after[carried])
    assert before["cover_path"].notna().all()
    assert before["source_score"].notna().sum() == 2
    assert await library.ledger.money.balance() == spent
    again = await rebuild(library, library.settings.folder, [place])
    assert [finding.found for finding in again] == [Found.KNOWN] * 4
    pandas.testing.assert_frame_equal(after, await read_manifest(library.ledger))
    assert await library.ledger.money.balance() == spent


async def test_a_rebuilt_song_can_be_extended_and_its_key_never_pays_again(
    made: Any, song_request: Any
) -> None:
    """Its id, account, gateway and request are restored."""
    opened, place, way = await made(alone=True)
    (song, *_) = await opened.library.ledger.songs.of_key("core")
    await forget_all(opened.library)
    await rebuild(opened.library, Path(song.path).parent, [place])
    assert (await generate_in(opened, song_request(), way, key="core")).songs[0].path == song.path
    request = song_request("an intro", mode="precede", source_song_id=song.song_id)
    intro = await generate_in(opened, request, way, key="intro")
    (extended, *_) = await opened.library.ledger.songs.of_key("intro")
    assert len(intro.stored) == 2
    assert (extended.parent_song_id, extended.root_song_id, extended.depth) == (song.song_id, song.song_id, 1)
    assert extended.source_score == pytest.approx(1.0, abs=0.05)


async def test_rebuilt_songs_count_as_spent_without_asking_a_cap(
    made: Any, any_library: LibrarySettings
) -> None:
    """They were paid for: in all, and on the day on which that was."""
    opened, place, _ = await made()
    day = (await opened.library.ledger.submissions.of_key("core"))[0].intended_at.date().isoformat()
    await forget_all(opened.library)
    async with Library(replace(any_library, budget=1.0)) as library:
        await rebuild(library, any_library.folder, [place])
        assert (await library.ledger.money.balance()).spent == 2.0
        assert (await library.ledger.money.balance(f"day:{day}")).spent == 2.0


async def test_a_custom_gateways_dialect_is_restored(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """Its paths and shape are in the file."""
    server, opened = simulator(), await session()
    await generate_in(opened, song_request(), access(server.url, "shape-c"), key="key")
    (before,) = await opened.library.ledger.submissions.of_key("key")
    await forget_all(opened.library)
    findings = await rebuild(opened.library, opened.library.settings.folder, [("custom", server.url)])
    assert {finding.found for finding in findings} == {Found.ADDED}
    (after,) = await opened.library.ledger.submissions.of_key("key")
    assert after.dialect == before.dialect
    assert after.state is State.SUCCEEDED
    assert after.lease.is_dead()


# --- existing rows -------------------------------------------------------------------------------


async def test_existing_rows_are_not_changed(made: Any) -> None:
    """Neither by a copy elsewhere nor after a rating."""
    opened, place, _ = await made()
    library = opened.library
    (song, *_) = await library.ledger.songs.of_key("core")
    await library.ledger.judgements.record([Judgement(song.id, JudgementKind.RATING, 4.0)])
    before = await read_manifest(library.ledger)
    copies = library.settings.folder / "copies"
    shutil.copytree(Path(song.path).parent, copies)
    findings = await rebuild(library, copies, [place])
    assert {finding.found for finding in findings} == {Found.KNOWN}
    assert findings[0].reason == f"the ledger has this take at {song.path}"
    pandas.testing.assert_frame_equal(before, await read_manifest(library.ledger))


async def test_moved_songs_get_their_new_paths(made: Any) -> None:
    """The same bytes at another path, and no file at the old one: the rows are updated."""
    opened, place, _ = await made(alone=True)
    library = opened.library
    song, other = await library.ledger.songs.of_key("core")
    moved = library.settings.folder / "moved"
    Path(song.path).parent.rename(moved)
    # A song is one whatever its name; only beside a part's own file it is that part's whole song.
    (moved / Path(other.path).name).rename(moved / "other.whole.mp3")
    findings = await rebuild(library, moved, [place])
    assert [finding.found for finding in findings] == [Found.MOVED] * 2
    now = await library.ledger.songs.get(song.id)
    assert (now.path, now.cover_path) == (
        str(moved / Path(song.path).name),
        str(moved / Path(song.cover_path).name),
    )
    assert replace(now, path=song.path, cover_path=song.cover_path) == song


async def test_a_file_with_other_bytes_does_not_replace_a_missing_song(made: Any) -> None:
    """Only its metadata claims that it is the missing song."""
    opened, place, _ = await made(alone=True)
    library = opened.library
    (song, *_) = await library.ledger.songs.of_key("core")
    moved = library.settings.folder / "moved"
    moved.mkdir()
    data = Path(song.path).read_bytes()
    Path(song.path).unlink()
    (moved / "song.mp3").write_bytes(data + b"\0")
    (finding,) = await rebuild(library, moved, [place])
    assert (finding.found, finding.reason) == (Found.KNOWN, f"the ledger has this take at {song.path}")
    assert (await library.ledger.songs.get(song.id)).path == song.path


async def test_an_uncollected_take_is_left_to_rescue(made: Any) -> None:
    """The gateway has the original; a file does not replace it."""
    opened, place, _ = await made(alone=True)
    library = opened.library
    (song, *_) = await library.ledger.songs.of_key("core")
    async with library.ledger.database.write("hold") as connection:
        announced = {"state": SongState.ANNOUNCED, "path": None}
        await connection.execute(update(schema.songs).where(schema.songs.c.id == song.id).values(announced))
    findings = await rebuild(library, Path(song.path).parent, [place])
    (skipped,) = (finding for finding in findings if finding.found is Found.SKIPPED)
    assert "`songflow rescue`" in skipped.reason
    assert (await library.ledger.songs.get(song.id)).path is None


@pytest.mark.parametrize(
    ("table", "change", "reason"),
    [
        (schema.submissions, {"state": State.OVERDUE}, "its generation is unfinished"),
        (schema.submissions, {"generation_id": "another"}, "its generation differs"),
        (schema.submissions, {"ordinal": 7}, "its generation differs"),
        (schema.generations, {"body_hash": "0" * 64}, "its key belongs to another request"),
        (schema.songs, {"song_id": "another"}, "knows this take as the song another"),
        (schema.songs, {"take": 7}, "knows this path as another song's"),
    ],
)
async def test_a_file_that_contradicts_the_ledger_is_skipped(
    made: Any, table: Any, change: dict[str, Any], reason: str
) -> None:
    """With the contradiction as the reason."""
    opened, place, _ = await made(alone=True)
    library = opened.library
    (song, *_) = await library.ledger.songs.of_key("core")
    async with library.ledger.database.write("hold") as connection:
        if table is schema.songs:
            await connection.execute(update(table).where(table.c.id == song.id).values(change))
        else:
            await connection.execute(update(table).where(table.c.key == "core").values(change))
    before = await read_manifest(library.ledger)
    findings = {finding.path: finding for finding in await rebuild(library, Path(song.path).parent, [place])}
    assert findings[song.path].found is Found.SKIPPED
    assert reason in findings[song.path].reason
    pandas.testing.assert_frame_equal(before, await read_manifest(library.ledger))


# --- untrusted files -------------------------------------------------------------------------------------------


async def test_songs_of_an_untrusted_gateway_are_skipped(folder: Folder) -> None:
    """Extending such a song sends a key to the address in the file, so a person must trust it first."""
    library, (gateway, url), music = folder.library, folder.place, folder.path.parent
    (finding,) = await rebuild(library, music)
    assert finding.found is Found.SKIPPED
    assert f"run again with --trust {gateway}={url}" in finding.reason
    assert [one.found for one in await rebuild(library, music, [("cometapi", url)])] == [Found.SKIPPED]
    assert [one.found for one in await rebuild(library, music, [(gateway, url)])] == [Found.ADDED]
    # The ledger now has the gateway.
    assert [one.found for one in await rebuild(library, music)] == [Found.KNOWN]


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a later version": lambda found: found.update(version=2),
    "no version": lambda found: found.update(version=None),
    "no key": lambda found: found.pop("key"),
    "a long key": lambda found: found.update(key="k" * 256),
    "a key of control characters": lambda found: found.update(key="a\x1b[2Jb"),
    "an invalid id": lambda found: found["submission"].update(id="../../etc"),
    "a negative price": lambda found: found["submission"].update(price=-1),
    "a huge price": lambda found: found["submission"].update(price=1e300),
    "a time in the year 1": lambda found: found["submission"].update(intended_at="0001-01-01T00:00:00Z"),
    "a time without a zone": lambda found: found["submission"].update(intended_at="2026-01-01T00:00:00"),
    "a negative take": lambda found: found["song"].update(take=-1),
    "a huge depth": lambda found: found["song"].update(depth=10**12),
    "seconds that are not a number": lambda found: found["audio"].update(seconds=float("nan")),
    "an invalid checksum": lambda found: found["audio"].update(sha256="x" * 64),
    "an unknown hash version": lambda found: found.update(hash_version=99),
}


async def test_invalid_provenance_is_skipped(folder: Folder) -> None:
    """Each field has bounds; every such file is listed with a reason, and the valid one is added."""
    for name, change in HOSTILE.items():
        folder.put(name, provenance=folder.provenance(change))
    for number, text in enumerate(("", "[]", "null", "{", "[" * 9000)):
        folder.put(f"noise {number}", provenance=text)
    findings = await folder.rebuild()
    assert findings.pop("song").found is Found.ADDED
    assert len(findings) == len(HOSTILE) + 5
    assert {
        name for name, one in findings.items() if one.found is not Found.SKIPPED or not one.reason
    } == set()
    assert "does not support" in findings["a later version"].reason
    assert "wrong: submission.price" in findings["a negative price"].reason


async def test_an_invalid_request_is_skipped(folder: Folder) -> None:
    """`--like` and extensions would use it."""
    blank = json.dumps({"gen_params": {"prompt": "", "config": {"mode": "regular"}}})
    texts = ("", "[]", "{}", '{"gen_params": 1}', '{"gen_params": {"config": []}}', "[" * 9000, blank)
    for number, text in enumerate(texts):
        folder.put(f"file {number}", request=text)
    findings = await folder.rebuild()
    assert findings.pop("song").found is Found.ADDED
    assert {finding.found for finding in findings.values()} == {Found.SKIPPED}
    assert all("its request" in finding.reason for finding in findings.values())


async def test_an_invalid_payload_is_dropped(folder: Folder) -> None:
    """Nothing depends on it, so the song is still added."""
    texts = ('{"a": "\\u0000"}', "", "[]", "no json", "[" * 9000, '{"a": "' + "x" * 99_999 + '"}')
    folder.path.unlink()
    for take, text in enumerate(texts):
        folder.put(
            f"{take}",
            payload=text,
            provenance=folder.provenance(lambda found, n=take: found["song"].update(take=n)),
        )
    assert {finding.found for finding in (await folder.rebuild()).values()} == {Found.ADDED}
    async with folder.library.ledger.database.read() as connection:
        rows = (await connection.execute(select(schema.songs.c.payload).order_by(schema.songs.c.take))).all()
    assert [row.payload for row in rows] == [texts[0], *["{}"] * 5]


async def test_the_audio_is_compared_with_the_metadata(folder: Folder, audio: Any) -> None:
    """Changed audio is measured again and noted; broken audio is skipped."""
    folder.path.unlink()
    folder.put("another", audio=audio("MP3", 3.0))
    folder.put("broken", audio=b"\xff\xfb\x90\x00" + bytes(5000))
    findings = await folder.rebuild()
    changed = "its audio has changed since it was stored"
    assert (findings["another"].found, findings["another"].reason) == (Found.ADDED, changed)
    assert findings["broken"].found is Found.SKIPPED
    assert f"{changed}, and is broken" in findings["broken"].reason
    (song,) = await folder.library.ledger.songs.of_key("core")
    assert song.seconds == pytest.approx(3.0, abs=0.1)
    assert song.note == changed


async def test_paths_of_a_custom_gateway_are_checked(folder: Folder) -> None:
    """A key would be sent to them."""
    url = folder.place[1]
    for name, paths in {"none": None, "odd": {"host": "x"}, "no path": dict.fromkeys(_PATHS, "x")}.items():
        custom = {"gateway": "custom", "paths": paths}
        folder.put(
            name,
            provenance=folder.provenance(lambda found, custom=custom: found["submission"].update(custom)),
        )
    findings = await rebuild(folder.library, folder.path.parent, [("custom", url)])
    reasons = {Path(finding.path).stem: finding.reason for finding in findings}
    assert {reasons[name] for name in ("none", "odd", "no path")} == {"its gateway's paths are invalid"}


_PATHS = ("submit_path", "fetch_path", "shape")


async def test_files_without_metadata_are_listed_and_skipped(
    any_library: LibrarySettings, audio: Any, tmp_path: Path
) -> None:
    """Foreign songs and other containers are listed; pipes, links, hidden folders and pictures are ignored."""
    music = tmp_path / "music"
    (music / ".parts").mkdir(parents=True)
    (music / "foreign.mp3").write_bytes(audio("MP3", 0.5))
    (music / "empty.MP3").touch()
    (music / "other.flac").write_bytes(b"fLaC")
    (music / "cover.png").touch()
    (music / ".parts" / "hidden.mp3").touch()
    (music / "link.mp3").symlink_to(music / "foreign.mp3")
    os.mkfifo(music / "pipe.mp3")
    async with Library(any_library) as library:
        findings = await rebuild(library, music)
        assert (await read_manifest(library.ledger)).empty
    assert [Path(finding.path).name for finding in findings] == ["empty.MP3", "foreign.mp3", "other.flac"]
    assert {(one.found, one.reason) for one in findings} == {(Found.SKIPPED, "it has no Songflow metadata")}


async def test_a_missing_folder_is_an_error(any_library: LibrarySettings, tmp_path: Path) -> None:
    """Not an empty library."""
    async with Library(any_library) as library:
        with pytest.raises(InputError, match="There is no folder"):
            await rebuild(library, tmp_path / "nowhere")


async def test_the_stored_request_is_the_canonical_one(folder: Folder) -> None:
    """A request formatted differently in the file is the same request."""
    loose = json.dumps(json.loads(folder.tag.own[REQUEST]), indent=2)
    folder.path.unlink()
    folder.put("loose", request=loose)
    await folder.rebuild()
    generation = await folder.library.ledger.submissions.generation("core")
    assert generation.body == SongRequest.from_body(json.loads(loose)).canonical() == folder.tag.own[REQUEST]


async def test_a_file_whose_row_was_never_written_is_adopted(made: Any) -> None:
    """The process was killed between rename and row, and the gateway no longer has the song: the file is enough."""
    opened, place, _ = await made(alone=True)
    library = opened.library
    before = await read_manifest(library.ledger)
    lost = ("path", "bytes", "sha256", "audio_sha256", "stored_at")
    async with library.ledger.database.write("hold") as connection:
        await connection.execute(
            update(schema.songs).values(
                state=SongState.ANNOUNCED, error="gone", **dict.fromkeys((*lost, *MEASURES))
            )
        )
    findings = await rebuild(library, Path(before.path[0]).parent, [place])
    assert [finding.found for finding in findings] == [Found.ADDED] * 2
    pandas.testing.assert_frame_equal(before, await read_manifest(library.ledger))
    assert [one.found for one in await rebuild(library, Path(before.path[0]).parent, [place])] == [
        Found.KNOWN
    ] * 2


async def test_a_file_whose_name_is_no_text_is_skipped_with_its_reason(made: Any, tmp_path: Path) -> None:
    """From an old archive, perhaps: the others are restored."""
    opened, place, _ = await made(alone=True)
    folder = tmp_path / "old"
    folder.mkdir()
    songs = await opened.library.ledger.songs.of_key("core")
    for number, song in enumerate(songs):
        (folder / os.fsdecode(b"caf\xe9.mp3" if number else b"plain.mp3")).write_bytes(
            Path(song.path).read_bytes()
        )
    await forget_all(opened.library)
    found = await rebuild(opened.library, folder, [place])
    assert sorted((one.found, "UTF-8" in (one.reason or "")) for one in found) == [
        (Found.ADDED, False),
        (Found.SKIPPED, True),
    ]
