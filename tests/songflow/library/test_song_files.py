"""What lies on the store: the gateway's audio, byte for byte, behind a tag that tells its whole story."""

from __future__ import annotations

import hashlib
import io
import json
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
from songflow.library.provenance import PAYLOAD, REQUEST, STORY, Told, read_story
from songflow.library.storing import keep
from songflow.settings import LibrarySettings

PICTURE = Picture("image/jpeg", b"\xff\xd8\xff" + bytes(50))


def tag_at(path: str) -> Tag:
    """The tag of a stored song."""
    with Path(path).open("rb") as file:
        return read_tag(file)


def told_at(path: str) -> Told:
    """What a stored song tells."""
    with Path(path).open("rb") as file:
        return read_story(file)


def audio_sum_at(path: str) -> str:
    """The sum of a stored song's audio, as it is reckoned again later."""
    with Path(path).open("rb") as file:
        return audio_sha256_of(file)


async def origin_of(opened: Any, song: Song) -> Origin:
    """A take as the ledger has it, with all that its story is told from."""
    origin: Origin = await opened.library.ledger.songs.origin(song.id)
    return origin


def audio_in(data: bytes) -> bytes:
    """A song's bytes without its tags."""
    start, end = audio_span(io.BytesIO(data))
    return data[start:end]


@pytest.fixture
def kept(stored: Any, tmp_path: Path) -> Callable[..., Any]:
    """Keeps any bytes as if they were the download of a take that the ledger has: what the store then holds."""

    async def make(data: bytes, **more: Any) -> Any:
        opened, songs = await stored()
        part = opened.library.store.parts / "other.part"
        part.write_bytes(data)
        done = Downloaded(part, len(data), more.pop("facts", None))
        return await keep(opened.library, await origin_of(opened, songs[0]), done, uid="0123456789", **more)

    return make


# --- the story --------------------------------------------------------------------------------------------------


async def test_a_song_tells_its_whole_story(stored: Any) -> None:
    """Everything that its rows say, the canonical request, and the gateway's payload; shown to players, too."""
    opened, songs = await stored(prompt="a waltz", seed=3)
    (submission,) = await opened.library.ledger.submissions.of_key("key")
    for song in songs:
        told = told_at(song.path)
        assert audio_sum_at(song.path) == song.audio_sha256 == told.story.audio.sha256
        assert (told.story.key, told.request.prompt, told.request.seed) == ("key", "a waltz", 3)
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
            assert getattr(told.story.submission, name) == getattr(submission, name), name
        for name in ("take", "song_id", "title", "tags", "lyrics", "root_song_id", "depth", "stored_at"):
            assert getattr(told.story.song, name) == getattr(song, name), name
        for name in ("seconds", "sample_rate", "channels", "peak", "rms_db"):
            assert getattr(told.story.audio, name) == getattr(song, name), name
        assert json.loads(told.payload)["id"] == song.song_id
        assert tag_at(song.path).own[REQUEST] == told.request.canonical()
        shown = TinyTag.get(song.path)
        assert (shown.title, shown.artist) == (song.title, "Songflow Simulator")
        assert shown.other["lyrics"] == [song.lyrics]
        assert "simulation" in shown.genre


async def test_the_file_and_its_audio_have_sums_of_their_own(stored: Any) -> None:
    """`sha256` is the file's, `audio_sha256` that of what the gateway's host sent, without its tag."""
    opened, songs = await stored()
    folder = opened.library.settings.folder
    for song in songs:
        data = Path(song.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == song.sha256
        assert len(data) == song.bytes
        assert hashlib.sha256(audio_in(data)).hexdigest() == song.audio_sha256
        assert measure(Path(song.path)).seconds == song.seconds
    assert not list((folder / "audio" / ".parts").glob("*.tagged"))


async def test_the_audio_is_the_hosts_byte_for_byte(kept: Any, audio: Callable[..., bytes]) -> None:
    """Behind its old tags, and with what stood at its end."""
    old = b"TAG" + b"Another title".ljust(125, b"\0")
    file = await kept(encode(Tag({"TIT2": "old"})) + encode(Tag({"TIT2": "older"})) + audio() + old)
    data = Path(file.path).read_bytes()
    assert audio_in(data) == audio()
    assert data.endswith(audio() + old)
    assert file.audio_sha256 == hashlib.sha256(audio()).hexdigest()
    assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    with soundfile.SoundFile(file.path) as one, soundfile.SoundFile(io.BytesIO(audio())) as other:
        assert (one.read() == other.read()).all()


async def test_what_the_old_tag_said_besides_is_kept_within_reason(
    kept: Any, audio: Callable[..., bytes]
) -> None:
    """Its own texts and comments stay, in nobody else's name; long ones, pictures and lyrics go."""
    found = Tag(
        texts={"TIT2": "its own title", "TSSE": "LAME", "TALB": "x" * 5000},
        own={"replaygain": "-3 dB", STORY: "{}", "Songflow payload": "forged", "songflow extra": "forged"},
        comments={"": "a simulation"},
        lyrics="not these",
        picture=Picture("image/gif", b"GIF8"),
    )
    tag = tag_at((await kept(encode(found) + audio())).path)
    assert tag.texts["TSSE"] == "LAME"
    assert tag.texts["TIT2"] != "its own title"
    assert "TALB" not in tag.texts
    assert set(tag.own) == {"replaygain", STORY, REQUEST, PAYLOAD}
    assert tag.comments == {"": "a simulation"}
    assert tag.lyrics != "not these"
    assert tag.picture is None


async def test_what_was_found_of_its_source_is_in_the_story(kept: Any, audio: Callable[..., bytes]) -> None:
    """And what decoding measured."""
    source = SourceFound(0.98, 1.5, 30.25, "a remark")
    facts = AudioFacts(0.5, 0.5, 44_100, 2, 0.4, -11.0)
    file = await kept(audio(), source=source, facts=facts)
    story = told_at(file.path).story
    assert (story.source.source_score, story.source.source_at) == (0.98, 1.5)
    assert (story.source.added_seconds, story.source.note) == (30.25, "a remark")
    assert (story.audio.peak, story.audio.rms_db) == (0.4, -11.0)


async def test_hostile_titles_stand_in_tags_harmlessly(stored: Any) -> None:
    """NUL, 300 characters, emoji, marks that turn the writing: each reader sees what the ledger has."""
    _, songs = await stored(
        {"fault": "hostile_titles", "times": None}, {"fault": "hostile_titles", "times": None}
    )
    for song in songs:
        shown = TinyTag.get(song.path)
        assert (shown.title or "") == song.title.strip("\0") or not song.title.strip()
        assert told_at(song.path).story.song.title == song.title
        assert measure(Path(song.path)).seconds == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    "title",
    ["a\ufffdb", "x" * 300, "🎻" * 80, "\u202egnp.exe", "\u2066a\u2069\u200f", "<b>*_[x](y)", "", "  "],
)
async def test_each_hostile_title_comes_back(title: str, stored: Any, audio: Callable[..., bytes]) -> None:
    """Byte for byte, in the frame that players read and in the story."""
    opened, songs = await stored()
    part = opened.library.store.parts / "other.part"
    part.write_bytes(audio())
    origin = await origin_of(opened, songs[0])
    named = replace(origin, song=replace(origin.song, title=title))
    file = await keep(opened.library, named, Downloaded(part, 1, None), uid="0123456789")
    assert tag_at(file.path).texts.get("TIT2", "") == title
    assert told_at(file.path).story.song.title == title


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


async def test_covers_can_be_left_out(stored: Any, tmp_path: Path) -> None:
    """Nothing is fetched, nothing is stored."""
    _, songs = await stored(library=LibrarySettings(tmp_path / "library", covers=False))
    assert [(song.cover_path, tag_at(song.path).picture) for song in songs] == [(None, None)] * 2
    assert list((tmp_path / "library" / "audio").glob("*.png")) == []


async def test_a_store_that_takes_no_cover_gets_its_song(
    kept: Any, audio: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A picture is not worth a song."""
    from songflow.library.audio_store import AudioStore

    async def refuse(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AudioStore, "put_cover", refuse)
    file = await kept(audio(), cover=PICTURE)
    assert file.cover_path is None
    assert tag_at(file.path).picture == PICTURE
    assert not list(tmp_path.rglob("*.cover"))


@pytest.mark.parametrize(("container", "ending"), [("WAV", ".wav"), ("FLAC", ".flac"), ("OGG", ".ogg")])
async def test_what_is_no_mp3_is_stored_as_it_came_and_says_so(
    container: str, ending: str, kept: Any, audio: Callable[..., bytes]
) -> None:
    """Under an ending of its own; both sums are the file's."""
    data = audio(container)
    file = await kept(data, cover=PICTURE)
    assert file.path.endswith(ending)
    assert Path(file.path).read_bytes() == data
    assert file.sha256 == file.audio_sha256 == hashlib.sha256(data).hexdigest()
    assert file.note == "stored as it came, without its story: it is no mp3"
    assert Path(file.cover_path).read_bytes() == PICTURE.data


@pytest.mark.parametrize(("data", "ending"), [(b"\0\0\0\x20ftypM4A ", ".m4a"), (b"nothing known", ".audio")])
async def test_only_what_is_mp3_is_called_so(data: bytes, ending: str, kept: Any) -> None:
    """Without decoding anything can arrive."""
    assert Path((await kept(data)).path).suffix == ending


async def test_a_story_that_is_too_large_costs_no_song(kept: Any, audio: Callable[..., bytes]) -> None:
    """It is an mp3 all the same."""
    file = await kept(audio(), cover=Picture("image/png", bytes(MAX_TAG_BYTES)))
    assert file.path.endswith(".mp3")
    assert Path(file.path).read_bytes() == audio()
    assert "too large" in file.note


async def test_a_remote_store_gets_the_tagged_song_and_its_cover(stored: Any, tmp_path: Path) -> None:
    """The same bytes as on a disk."""
    library = LibrarySettings(tmp_path / "library", audio_url=f"memory://{tmp_path.name}/songs")
    _, songs = await stored(library=library)
    memory = fsspec.filesystem("memory")
    for song in songs:
        data = memory.cat(song.path)
        assert hashlib.sha256(data).hexdigest() == song.sha256
        assert read_story(io.BytesIO(data)).story.song.song_id == song.song_id
        assert read_tag(io.BytesIO(data)).picture.data == memory.cat(song.cover_path)
    assert {path.suffix for path in (tmp_path / "library" / "parts").iterdir()} == {".lock"}


async def test_what_another_attempt_left_behind_is_not_believed(
    stored: Any, audio: Callable[..., bytes]
) -> None:
    """A tagged file of a process that was killed is written anew from the part."""
    opened, songs = await stored()
    part = opened.library.store.parts / "other.part"
    part.write_bytes(audio())
    part.with_suffix(".tagged").write_bytes(b"half of" * 10_000)
    part.with_suffix(".cover").write_bytes(b"half of" * 10_000)
    origin = await origin_of(opened, songs[0])
    file = await keep(opened.library, origin, Downloaded(part, 1, None), uid="0123456789", cover=PICTURE)
    assert audio_in(Path(file.path).read_bytes()) == audio()
    assert Path(file.cover_path).read_bytes() == PICTURE.data
    assert not list(part.parent.glob("other.*"))


async def test_a_large_payload_stays_in_the_ledger(
    stored: Any, audio: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file carries what is of sensible size."""
    monkeypatch.setattr("songflow.library.provenance.MAX_PAYLOAD_BYTES", 100)
    _, songs = await stored()
    assert PAYLOAD not in tag_at(songs[0].path).own
    assert told_at(songs[0].path).payload == "{}"
