"""The audio store: local folders and any fsspec URL."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest

from songflow.errors import LibraryError
from songflow.library.audio_store import MIN_FREE_BYTES, AudioStore, prepare_folder, require_space


class Refusal(Exception):
    """What some cloud's own client raises."""


class FullStore(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A file system that takes nothing."""

    protocol = "fullstore"
    error: Exception = Refusal("bucket is full")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Folders are free."""

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Nothing is taken."""
        raise self.error

    def size(self, path: str) -> int:
        """Nothing is there."""
        raise Refusal("no such object")


class LossyStore(FullStore):
    """A file system that drops a byte and says nothing."""

    protocol = "lossystore"

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Taken, it says."""

    def size(self, path: str) -> int:
        """One less than was given."""
        return 3


fsspec.register_implementation("fullstore", FullStore)
fsspec.register_implementation("lossystore", LossyStore)


def begun(store: AudioStore) -> Path:
    store.prepare()
    part = store.parts / "take.part"
    part.write_bytes(b"song")
    return part


@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_a_local_store_renames_the_part(tmp_path: Path, scheme: str) -> None:
    """On the same file system, into its folder; what comes back is the absolute path."""
    store = AudioStore(f"{scheme}{tmp_path / 'elsewhere'}", tmp_path / "library")
    part = begun(store)
    path = await store.put(part, "song.mp3")
    assert path == str(tmp_path / "elsewhere" / "song.mp3")
    assert Path(path).read_bytes() == b"song"
    assert not part.exists()
    assert store.is_local
    assert part.parent.parent == Path(path).parent


async def test_without_a_url_songs_lie_in_the_library(tmp_path: Path) -> None:
    """In `audio/`."""
    store = AudioStore(None, tmp_path)
    assert await store.put(begun(store), "song.mp3") == str(tmp_path / "audio" / "song.mp3")


async def test_a_store_knows_whether_it_still_holds_a_song(tmp_path: Path) -> None:
    """In its full size, where that is known."""
    store = AudioStore(None, tmp_path)
    path = await store.put(begun(store), "song.mp3")
    assert await store.holds(path, 4)
    assert await store.holds(path, None)
    assert not await store.holds(path, 5)
    assert not await store.holds(path + "x", None)


async def test_a_remote_store_takes_the_bytes_and_gives_a_url(tmp_path: Path) -> None:
    """The part goes only when the store has all of it."""
    bucket = f"memory://{uuid.uuid4().hex}/songs/"
    store = AudioStore(bucket, tmp_path)
    part = begun(store)
    url = await store.put(part, "song.mp3")
    assert url == f"{bucket}song.mp3".replace("memory://", "memory:///")
    assert fsspec.filesystem("memory").cat(url) == b"song"
    assert not part.exists()
    assert not store.is_local
    assert store.parts == tmp_path / "parts"
    assert await store.holds(url, 4)
    assert not await store.holds(url + "x", 4)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refusal("bucket is full"), "the upload failed"),
        (PermissionError(13, "not yours"), "not yours"),
    ],
)
async def test_a_store_that_fails_leaves_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """Whatever its client raises comes out as the one kind of error that is tried again later."""
    monkeypatch.setattr(FullStore, "error", error)
    store = AudioStore("fullstore://bucket/songs", tmp_path)
    part = begun(store)
    with pytest.raises(OSError, match=words):
        await store.put(part, "song.mp3")
    assert part.read_bytes() == b"song"
    assert not await store.holds("fullstore://bucket/songs/song.mp3", 4)


async def test_a_store_that_holds_less_than_it_was_given_has_failed(tmp_path: Path) -> None:
    """A size is compared before the part goes."""
    store = AudioStore("lossystore://bucket/songs", tmp_path)
    part = begun(store)
    with pytest.raises(OSError, match="the store holds 3 bytes of 4"):
        await store.put(part, "song.mp3")
    assert part.exists()


def test_a_url_that_no_package_serves_is_refused(tmp_path: Path) -> None:
    """Before anything is spent."""
    with pytest.raises(LibraryError, match="SONGFLOW_AUDIO_URL cannot be used"):
        AudioStore("nosuchprotocol://bucket", tmp_path)


@pytest.mark.parametrize("folder", ["a file/below", "/proc/songflow", "/dev/null/x", "n" * 300])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, folder: str) -> None:
    """With the reason."""
    (tmp_path / "a file").touch()
    with pytest.raises(LibraryError, match=r"cannot be written: [A-Z]") as caught:
        prepare_folder(tmp_path / folder)
    assert caught.value.exit_code == 2


def test_preparing_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    """Its probe is gone."""
    prepare_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_space_for_a_song_is_required(tmp_path: Path) -> None:
    """64 MiB, unless said otherwise; the message has both numbers."""
    require_space(tmp_path, needed=1)
    assert MIN_FREE_BYTES == 64 << 20
    with pytest.raises(LibraryError, match=r"is full: \d+ MiB are free, 1099511627776 MiB are needed"):
        require_space(tmp_path, needed=1 << 60)
