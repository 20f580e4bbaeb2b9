"""The audio store: local folders and any fsspec URL."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest

from songflow.errors import LibraryError
from songflow.library.audio_store import MIN_FREE_BYTES, AudioStore, prepare_folder, require_space


class Refusal(Exception):
    """An exception of a cloud's own client."""


class FullStore(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A file system that accepts no file."""

    protocol = "fullstore"
    error: Exception = Refusal("bucket is full")

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Succeed."""

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Fail."""
        raise self.error

    def size(self, path: str) -> int:
        """No file exists."""
        raise Refusal("no such object")


class LossyStore(FullStore):
    """A file system that silently drops a byte."""

    protocol = "lossystore"

    def put_file(self, lpath: str, rpath: str, **_: Any) -> None:
        """Succeed without an error."""

    def size(self, path: str) -> int:
        """One byte less than was uploaded."""
        return 3


class BrokenStore(FullStore):
    """A file system that cannot be opened."""

    protocol = "brokenstore"

    def __init__(self, *_: Any, **__: Any) -> None:
        raise Refusal("no credentials for me:pa55word")


fsspec.register_implementation("brokenstore", BrokenStore)
fsspec.register_implementation("fullstore", FullStore)
fsspec.register_implementation("lossystore", LossyStore)


def begun(store: AudioStore) -> Path:
    store.prepare()
    part = store.parts / "take.part"
    part.write_bytes(b"song")
    return part


@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_a_local_store_renames_the_part(tmp_path: Path, scheme: str) -> None:
    """On the same file system, into its folder; the absolute path is returned."""
    store = AudioStore(f"{scheme}{tmp_path / 'elsewhere'}", tmp_path / "library")
    part = begun(store)
    path = await store.put(part, "song.mp3")
    assert path == str(tmp_path / "elsewhere" / "song.mp3")
    assert Path(path).read_bytes() == b"song"
    assert not part.exists()
    assert store.is_local
    assert part.parent.parent == Path(path).parent


async def test_without_a_url_songs_are_stored_in_the_library(tmp_path: Path) -> None:
    """In `audio/`."""
    store = AudioStore(None, tmp_path)
    assert await store.put(begun(store), "song.mp3") == str(tmp_path / "audio" / "song.mp3")


async def test_a_store_checks_that_it_has_a_song(tmp_path: Path) -> None:
    """With its size, if that is known."""
    store = AudioStore(None, tmp_path)
    path = await store.put(begun(store), "song.mp3")
    assert await store.has_file(path, 4)
    assert await store.has_file(path, None)
    assert not await store.has_file(path, 5)
    assert not await store.has_file(path + "x", None)


async def test_a_remote_store_uploads_a_song_and_returns_its_url(tmp_path: Path) -> None:
    """The part file is deleted only once the store has all of it."""
    bucket = f"bucket://{uuid.uuid4().hex}/songs/"
    store = AudioStore(bucket, tmp_path)
    part = begun(store)
    url = await store.put(part, "song.mp3")
    assert url == f"{bucket}song.mp3".replace("bucket://", "bucket:///")
    assert fsspec.filesystem("bucket").cat(url) == b"song"
    assert not part.exists()
    assert not store.is_local
    assert store.parts == tmp_path / "parts"
    assert await store.has_file(url, 4)
    assert not await store.has_file(url + "x", 4)


async def test_songs_of_an_earlier_store_are_still_there(tmp_path: Path) -> None:
    """Whatever the store is now: on this machine, a bucket, or another bucket."""
    stores = [
        AudioStore(url, tmp_path) for url in (None, *(f"bucket://{uuid.uuid4().hex}/songs" for _ in range(2)))
    ]
    paths = [await store.put(begun(store), "song.mp3") for store in stores]
    for store in stores:
        for path in paths:
            assert await store.has_file(path, 4)
            async with store.open_local(path) as file:
                assert file.read_bytes() == b"song"
    for store, path in zip(stores, reversed(paths), strict=True):
        await store.remove(path)
        await store.remove(path)
        assert not await store.has_file(path, None)
    assert not await stores[0].has_file("nosuchprotocol://bucket/song.mp3", None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Refusal("bucket is full"), "the upload failed"),
        (PermissionError(13, "not yours"), "not yours"),
    ],
)
async def test_a_failed_upload_leaves_the_part_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    """Every exception of its client becomes an OSError, which callers retry."""
    monkeypatch.setattr(FullStore, "error", error)
    store = AudioStore("fullstore://bucket/songs", tmp_path)
    part = begun(store)
    with pytest.raises(OSError, match=words):
        await store.put(part, "song.mp3")
    assert part.read_bytes() == b"song"
    assert not await store.has_file("fullstore://bucket/songs/song.mp3", 4)


async def test_an_incomplete_upload_is_an_error(tmp_path: Path) -> None:
    """Sizes are compared before the part file is deleted."""
    store = AudioStore("lossystore://bucket/songs", tmp_path)
    part = begun(store)
    with pytest.raises(OSError, match="the store has 3 bytes of 4"):
        await store.put(part, "song.mp3")
    assert part.exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nosuchprotocol://bucket", "Protocol not known"),
        ("memory://songs", "gone with the process"),
        ("zip://songs.zip", "cannot be written"),
        ("https://songs.test/x", "cannot be written"),
        ("tar://x::file:///songs.tar", "chains file systems"),
        ("simplecache::memory://songs", "chains file systems"),
        ("bucket://", "names no bucket"),
        ("~nobody-has-this-name/songs", "cannot be used"),
    ],
)
def test_a_store_that_does_not_keep_songs_is_refused(tmp_path: Path, url: str, words: str) -> None:
    """Before any payment, and without a connection."""
    with pytest.raises(LibraryError, match=f"SONGFLOW_AUDIO_URL cannot be used: .*{words}|{words}"):
        AudioStore(url, tmp_path)


@pytest.mark.parametrize("url", ["ftp://me:pa55word@127.0.0.1:1/songs", "brokenstore://bucket/songs"])
def test_a_store_that_cannot_be_opened_is_refused(tmp_path: Path, url: str) -> None:
    """When the library is opened to pay, whatever its file system raises; a look needs no store."""
    store = AudioStore(url, tmp_path)
    with pytest.raises(LibraryError, match="its file system cannot be opened") as caught:
        store.prepare()
    assert "pa55word" not in str(caught.value)


@pytest.mark.parametrize("folder", ["a file/below", "/proc/songflow", "/dev/null/x", "n" * 300])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, folder: str) -> None:
    """With the reason."""
    (tmp_path / "a file").touch()
    with pytest.raises(LibraryError, match=r"cannot be written: [A-Z]") as caught:
        prepare_folder(tmp_path / folder)
    assert caught.value.exit_code == 2


def test_a_folder_that_no_ledger_can_name_is_refused(tmp_path: Path) -> None:
    """Before a song is paid for whose place could not be recorded."""
    with pytest.raises(LibraryError, match="is not valid Unicode"):
        AudioStore(None, tmp_path / "m\udcffsic").prepare()
    assert list(tmp_path.iterdir()) == []


def test_preparing_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    """The file that tests for write access is deleted."""
    prepare_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_threads_prepare_one_folder_together(tmp_path: Path) -> None:
    """Each tests for write access with a file of its own."""
    with ThreadPoolExecutor(4) as threads:
        for _ in threads.map(prepare_folder, [tmp_path] * 400):
            pass
    assert list(tmp_path.iterdir()) == []


def test_space_for_a_song_is_required(tmp_path: Path) -> None:
    """64 MiB by default; the message has both numbers."""
    require_space(tmp_path, needed=1)
    assert MIN_FREE_BYTES == 64 << 20
    with pytest.raises(LibraryError, match=r"is full: \d+ MiB are free, 1099511627776 MiB are needed"):
        require_space(tmp_path, needed=1 << 60)
