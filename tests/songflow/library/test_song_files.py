"""Stored song files: the gateway's audio, byte for byte, and a tag with its provenance."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
import soundfile
from tinytag import TinyTag

from songflow.audio.checksums import audio_sha256_of
from songflow.audio.decoding import AudioFacts, measure
from songflow.audio.id3 import MAX_TAG_BYTES, Picture, Tag, audio_span, encode, read_tag
from songflow.downloads.downloader import Downloaded
from songflow.ledger.rows import Song, SourceFound
from songflow.ledger.songs import Origin
from songflow.library.audio_store import AudioStore
from songflow.library.provenance import PAYLOAD, PROVENANCE, REQUEST, SongMetadata, read_provenance
from songflow.library.storing import tag_and_store
from songflow.settings import LibrarySettings

PICTURE = Picture("image/jpeg", b"\xff\xd8\xff" + bytes(50))


def tag_at(path: str) -> Tag:
    """The tag of a stored song."""
    with Path(path).open("rb") as file:
        return read_tag(file)


def metadata_at(path: str) -> SongMetadata:
    """The metadata of a stored song."""
    with Path(path).open("rb") as file:
        return read_provenance(file)


def audio_sum_at(path: str) -> str:
    """The checksum of a stored song's audio, computed again."""
    with Path(path).open("rb") as file:
        return audio_sha256_of(file)


async def origin_of(opened: Any, song: Song) -> Origin:
    """A take with its submission and generation, from the ledger."""
    origin: Origin = await opened.library.ledger.songs.origin(song.id)
    return origin


def audio_in(data: bytes) -> bytes:
    """A song's bytes without its tags."""
    start, end = audio_span(io.BytesIO(data))
    return data[start:end]


@pytest.fixture
def kept(stored: Any, tmp_path: Path) -> Callable[..., Any]:
    """Store any bytes as if they were the download of a take in the ledger."""

    async def make(data: bytes, **more: Any) -> Any:
        opened, songs = await stored()
        part = opened.library.store.parts / "other.part"
        part.write_bytes(data)
        done = Downloaded(part, len(data), more.pop("facts", None))
        return await tag_and_store(
            opened.library, await origin_of(opened, songs[0]), done, uid="0123456789", **more
        )

    return make


async def test_a_cancelled_store_waits_until_the_song_is_in_its_place(
    kept: Callable[..., Any], audio: Callable[..., bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What locks the part must not let it go while a thread still works with it."""
    begun, go_on = threading.Event(), threading.Event()
    put_sync = AudioStore.put_sync

    def slowly(store: AudioStore, part: Path, name: str) -> str:
        if name == "late.mp3":
            begun.set()
            go_on.wait(10)
        return put_sync(store, part, name)

    monkeypatch.setattr(AudioStore, "put_sync", slowly)
    storing = asyncio.ensure_future(kept(audio(), name="late"))
    await asyncio.to_thread(begun.wait, 10)
    storing.cancel()
    await asyncio.sleep(0.05)
    assert not storing.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await storing
    assert [path.name for path in tmp_path.rglob("late*")] == ["late.mp3"]


# --- provenance --------------------------------------------------------------------------------------------------


async def test_a_song_file_has_its_complete_provenance(stored: Any) -> None:
    """All fields of its rows, the canonical request, and the gateway's payload; frames that players show, too."""
    opened, songs = await stored(prompt="a waltz", seed=3)
    (submission,) = await opened.library.ledger.submissions.of_key("key")
    for song in songs:
        metadata = metadata_at(song.path)
        assert audio_sum_at(song.path) == song.audio_sha256 == metadata.provenance.audio.sha256
        assert (metadata.provenance.key, metadata.request.prompt, metadata.request.seed) == (
            "key",
            "a waltz",
            3,
        )
        for name in (
            "id",
            "ordinal",
            "gateway",
            "base_url",
            "account",
            "generation_id",
            "price",
            "settled_at",
        ):
            assert getattr(metadata.provenance.submission, name) == getattr(submission, name), name
        for name in ("take", "song_id", "title", "tags", "lyrics", "root_song_id", "depth", "stored_at"):
            assert getattr(metadata.provenance.song, name) == getattr(song, name), name
        for name in ("seconds", "sample_rate", "channels", "peak", "rms_db"):
            assert getattr(metadata.provenance.audio, name) == getattr(song, name), name
        assert json.loads(metadata.payload)["id"] == song.song_id
        assert tag_at(song.path).own[REQUEST] == metadata.request.canonical()
        shown = TinyTag.get(song.path)
        assert (shown.title, shown.artist) == (song.title, "Songflow Simulator")
        assert shown.other["lyrics"] == [song.lyrics]
        assert "simulation" in shown.genre


async def test_the_file_and_its_audio_have_separate_checksums(stored: Any) -> None:
    """`sha256` is the file's, `audio_sha256` that of the downloaded audio without its tag."""
    opened, songs = await stored()
    folder = opened.library.settings.folder
    for song in songs:
        data = Path(song.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == song.sha256
        assert len(data) == song.bytes
        assert hashlib.sha256(audio_in(data)).hexdigest() == song.audio_sha256
        assert measure(Path(song.path)).seconds == song.seconds
    assert not list((folder / "audio" / ".parts").glob("*.tagged"))


async def test_the_audio_is_copied_byte_for_byte(kept: Any, audio: Callable[..., bytes]) -> None:
    """Old tags at its head are replaced; an ID3v1 tag at its end stays."""
    old = b"TAG" + b"Another title".ljust(125, b"\0")
    file = await kept(encode(Tag({"TIT2": "old"})) + encode(Tag({"TIT2": "older"})) + audio() + old)
    data = Path(file.path).read_bytes()
    assert audio_in(data) == audio()
    assert data.endswith(audio() + old)
    assert file.audio_sha256 == hashlib.sha256(audio()).hexdigest()
    assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    with soundfile.SoundFile(file.path) as one, soundfile.SoundFile(io.BytesIO(audio())) as other:
        assert (one.read() == other.read()).all()


async def test_short_frames_of_the_old_tag_are_kept(kept: Any, audio: Callable[..., bytes]) -> None:
    """Other texts and comments stay; long ones, pictures, lyrics and forged Songflow frames are dropped."""
    found = Tag(
        texts={"TIT2": "its own title", "TSSE": "LAME", "TALB": "x" * 5000},
        own={
            "replaygain": "-3 dB",
            PROVENANCE: "{}",
            "Songflow payload": "forged",
            "songflow extra": "forged",
        },
        comments={"": "a simulation"},
        lyrics="not these",
        picture=Picture("image/gif", b"GIF8"),
    )
    tag = tag_at((await kept(encode(found) + audio())).path)
    assert tag.texts["TSSE"] == "LAME"
    assert tag.texts["TIT2"] != "its own title"
    assert "TALB" not in tag.texts
    assert set(tag.own) == {"replaygain", PROVENANCE, REQUEST, PAYLOAD}
    assert tag.comments == {"": "a simulation"}
    assert tag.lyrics != "not these"
    assert tag.picture is None


async def test_source_check_and_measures_are_in_the_provenance(
    kept: Any, audio: Callable[..., bytes]
) -> None:
    """As they are in the ledger row."""
    source = SourceFound(0.98, 1.5, 30.25, "a remark")
    facts = AudioFacts(0.5, 0.5, 44_100, 2, 0.4, -11.0)
    file = await kept(audio(), source=source, facts=facts)
    found = metadata_at(file.path).provenance
    assert (found.source.source_score, found.source.source_at) == (0.98, 1.5)
    assert (found.source.added_seconds, found.source.note) == (30.25, "a remark")
    assert (found.audio.peak, found.audio.rms_db) == (0.4, -11.0)


async def test_hostile_titles_are_stored_in_tags_unchanged(stored: Any) -> None:
    """NUL, 300 characters, emoji, bidirectional marks: each reader gets the ledger's text."""
    _, songs = await stored(
        {"fault": "hostile_titles", "times": None}, {"fault": "hostile_titles", "times": None}
    )
    for song in songs:
        shown = TinyTag.get(song.path)
        assert (shown.title or "") == song.title.strip("\0") or not song.title.strip()
        assert metadata_at(song.path).provenance.song.title == song.title
        assert measure(Path(song.path)).seconds == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize(
    "title",
    ["a\ufffdb", "x" * 300, "🎻" * 80, "\u202egnp.exe", "\u2066a\u2069\u200f", "<b>*_[x](y)", "", "  "],
)
async def test_each_hostile_title_is_read_back(title: str, stored: Any, audio: Callable[..., bytes]) -> None:
    """Byte for byte, from the frame that players read and from the provenance."""
    opened, songs = await stored()
    part = opened.library.store.parts / "other.part"
    part.write_bytes(audio())
    origin = await origin_of(opened, songs[0])
    named = replace(origin, song=replace(origin.song, title=title))
    file = await tag_and_store(opened.library, named, Downloaded(part, 1, None), uid="0123456789")
    assert tag_at(file.path).texts.get("TIT2", "") == title
    assert metadata_at(file.path).provenance.song.title == title


# --- covers and other containers --------------------------------------------------------------------------------


async def test_a_cover_is_in_the_song_and_beside_it(stored: Any) -> None:
    """The same bytes, under the song's name."""
    _, songs = await stored()
    for song in songs:
        assert Path(song.cover_path) == Path(song.path).with_suffix(".png")
        data = Path(song.cover_path).read_bytes()
        assert data.startswith(b"\x89PNG")
        assert tag_at(song.path).picture == Picture("image/png", data)
        front = TinyTag.get(song.path, image=True).images.front_cover
        assert front is not None
        assert front.data == data


async def test_covers_can_be_switched_off(stored: Any, tmp_path: Path) -> None:
    """Nothing is fetched, nothing is stored."""
    _, songs = await stored(library=LibrarySettings(tmp_path / "library", covers=False))
    assert [(song.cover_path, tag_at(song.path).picture) for song in songs] == [(None, None)] * 2
    assert list((tmp_path / "library" / "audio").glob("*.png")) == []


async def test_a_song_is_stored_even_if_its_cover_cannot_be(
    kept: Any, audio: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The cover is still in the song's tag."""
    from songflow.library.audio_store import AudioStore

    async def refuse(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AudioStore, "put_beside", refuse)
    file = await kept(audio(), cover=PICTURE)
    assert file.cover_path is None
    assert tag_at(file.path).picture == PICTURE
    assert not list(tmp_path.rglob("*.cover"))


@pytest.mark.parametrize(("container", "ending"), [("WAV", ".wav"), ("FLAC", ".flac"), ("OGG", ".ogg")])
async def test_other_containers_are_stored_as_received_with_a_note(
    container: str, ending: str, kept: Any, audio: Callable[..., bytes]
) -> None:
    """With the container's ending; both checksums are the file's."""
    data = audio(container)
    file = await kept(data, cover=PICTURE)
    assert file.path.endswith(ending)
    assert Path(file.path).read_bytes() == data
    assert file.sha256 == file.audio_sha256 == hashlib.sha256(data).hexdigest()
    assert file.note == "stored as received, without Songflow metadata: it is not an mp3"
    assert Path(file.cover_path).read_bytes() == PICTURE.data


@pytest.mark.parametrize(("data", "ending"), [(b"\0\0\0\x20ftypM4A ", ".m4a"), (b"nothing known", ".audio")])
async def test_only_mp3_files_get_the_ending_mp3(data: bytes, ending: str, kept: Any) -> None:
    """If decoding is off, a download can be anything."""
    assert Path((await kept(data)).path).suffix == ending


async def test_a_song_is_stored_without_a_tag_that_would_be_too_large(
    kept: Any, audio: Callable[..., bytes]
) -> None:
    """Its ending is still .mp3."""
    file = await kept(audio(), cover=Picture("image/png", bytes(MAX_TAG_BYTES)))
    assert file.path.endswith(".mp3")
    assert Path(file.path).read_bytes() == audio()
    assert "too large" in file.note


async def test_a_remote_store_gets_the_tagged_song_and_its_cover(stored: Any, tmp_path: Path) -> None:
    """The same bytes as on a disk."""
    library = LibrarySettings(tmp_path / "library", audio_url=f"bucket://{tmp_path.name}/songs")
    _, songs = await stored(library=library)
    memory = fsspec.filesystem("bucket")
    for song in songs:
        data = memory.cat(song.path)
        assert hashlib.sha256(data).hexdigest() == song.sha256
        assert read_provenance(io.BytesIO(data)).provenance.song.song_id == song.song_id
        assert read_tag(io.BytesIO(data)).picture.data == memory.cat(song.cover_path)
    assert {path.suffix for path in (tmp_path / "library" / "parts").iterdir()} == {".lock"}


async def test_files_of_an_earlier_attempt_are_not_reused(stored: Any, audio: Callable[..., bytes]) -> None:
    """A tagged file left by a killed process is rewritten from the part file."""
    opened, songs = await stored()
    part = opened.library.store.parts / "other.part"
    part.write_bytes(audio())
    part.with_suffix(".tagged").write_bytes(b"half of" * 10_000)
    part.with_suffix(".cover").write_bytes(b"half of" * 10_000)
    origin = await origin_of(opened, songs[0])
    file = await tag_and_store(
        opened.library, origin, Downloaded(part, 1, None), uid="0123456789", cover=PICTURE
    )
    assert audio_in(Path(file.path).read_bytes()) == audio()
    assert Path(file.cover_path).read_bytes() == PICTURE.data
    assert not list(part.parent.glob("other.*"))


async def test_a_large_payload_stays_in_the_ledger(
    stored: Any, audio: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file carries payloads of a sensible size only."""
    monkeypatch.setattr("songflow.library.provenance.MAX_PAYLOAD_BYTES", 100)
    _, songs = await stored()
    assert PAYLOAD not in tag_at(songs[0].path).own
    assert metadata_at(songs[0].path).payload == "{}"
