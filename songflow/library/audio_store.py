"""The audio store: complete songs on a local disk or at any fsspec URL."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from songflow.errors import LibraryError
from songflow.ledger.spool import sync_folder
from songflow.runtime.failpoints import reached
from songflow.runtime.remote_files import as_os_error, is_remote, local_path

__all__ = ["TRASH", "AudioStore", "move_into_place", "prepare_folder", "require_space"]

# File systems of fsspec that forget their files with the process, and those that only read.
_FLEETING = frozenset({"memory"})
_READ_ONLY = frozenset(
    {
        "http",
        "https",
        "zip",
        "tar",
        "libarchive",
        "data",
        "git",
        "github",
        "gist",
        "reference",
        "dvc",
        "wandb",
    }
)

TRASH = "trash"
"""The folder of discarded songs in a store."""

MIN_FREE_BYTES = 64 * 1024 * 1024
"""Free space required before a payment: two takes of several minutes, and the ledger's growth."""


class AudioStore:
    """A folder of songs, local or remote.

    `parts` is the local folder of unfinished downloads. For a local store it is on the same file system, so that a
    finished download becomes a song by one atomic rename. `is_local`: songs are files on this machine.
    """

    def __init__(self, url: str | None, library: Path) -> None:
        """The store at an fsspec URL or a path (None: `audio/` in the library's folder); nothing is opened yet.

        Raises:
            LibraryError: songs cannot be stored at such a URL.
        """
        self._url = url or str(library / "audio")
        self.is_local = not is_remote(self._url)
        self._opened: tuple[Any, str] | None = None
        if self.is_local:
            local = _local_folder(self._url)
            self._root = str(local)
            self.parts = local / ".parts"
        else:
            _check_remote(self._url)
            self.parts = library / "parts"

    def prepare(self) -> None:
        """Open the store, create the local folders and check that they are writable.

        Raises:
            LibraryError: they are not, the store cannot be opened, or the ledger could not name its songs.
        """
        place = self._root if self.is_local else self._url
        try:
            place.encode()
        except UnicodeEncodeError:
            raise LibraryError(
                f"The songs' folder {place!r} has a name that is not valid Unicode, which no ledger can store.",
                next="choose another with --library, SONGFLOW_LIBRARY or SONGFLOW_AUDIO_URL; nothing was sent.",
            ) from None
        prepare_folder(self.parts)
        self.require_opened()

    def require_opened(self) -> None:
        """Raise LibraryError if the store is not local and its file system cannot be opened."""
        if not self.is_local:
            self._open()

    @property
    def _remote(self) -> Any:
        """The file system of a store that is not local."""
        return self._open()[0]

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            self._opened = _open_remote(self._url)
        return self._opened

    async def put(self, part: Path, name: str) -> str:
        """Move a verified part file into the store as `name`; return its absolute path or URL.

        Raises:
            OSError: the store failed; the part file is unchanged.
        """
        return await asyncio.to_thread(self.put_sync, part, name)

    def put_sync(self, part: Path, name: str) -> str:
        """`put` for a thread: it returns when the file is in the store."""
        if self.is_local:
            target = Path(self._root) / name
            move_into_place(part, target)
            return str(target)
        return self._sent(self._upload, part, name)

    async def put_beside(self, draft: Path, name: str) -> str:
        """Move a file that belongs to a song into the store, before the song itself; return its path or URL."""
        if self.is_local:
            target = Path(self._root) / name
            await asyncio.to_thread(_move_beside, draft, target)
            return str(target)
        return await asyncio.to_thread(self._sent, self._upload_beside, draft, name)

    def _sent(self, upload: Callable[[Path, str], None], file: Path, name: str) -> str:
        address = f"{self._open()[1]}/{name}"
        with as_os_error("the upload failed", address):
            upload(file, address)
        return str(self._remote.unstrip_protocol(address))

    def _upload(self, part: Path, address: str) -> None:
        self._remote.makedirs(address.rpartition("/")[0], exist_ok=True)
        reached("song: before upload")
        self._remote.put_file(str(part), address)
        reached("song: after upload")
        size = self._remote.size(address)
        if size != part.stat().st_size:
            raise OSError(errno.EIO, f"the store has {size} bytes of {part.stat().st_size}", address)
        part.unlink()

    @asynccontextmanager
    async def open_local(self, path: str) -> AsyncIterator[Path]:
        """Provide a stored song as a local file inside a `with` block; also one of an earlier store.

        Raises:
            OSError: its store does not have it, or cannot be reached.
        """
        if not is_remote(path):
            yield local_path(path)
            return
        # Where the library may only be read, there is no folder for it.
        folder = self.parts if os.access(self.parts, os.W_OK) else Path(tempfile.gettempdir())
        copy = folder / f"look-{uuid.uuid4().hex}"
        try:
            with as_os_error("the download from the store failed", path):
                await asyncio.to_thread(self._download, path, copy)
            yield copy
        finally:
            copy.unlink(missing_ok=True)

    def _download(self, path: str, copy: Path) -> None:
        self._file_system_of(path).get_file(path, str(copy))

    def _file_system_of(self, path: str) -> Any:
        """The file system of a URL: the store's own, or that of an earlier store."""
        if not self.is_local and self.name_of(path) is not None:
            return self._remote
        import fsspec

        return fsspec.core.url_to_fs(path)[0]

    def _upload_beside(self, draft: Path, address: str) -> None:
        self._remote.makedirs(self._open()[1], exist_ok=True)
        reached("cover: before upload")
        self._remote.put_file(str(draft), address)
        reached("cover: after upload")
        draft.unlink()

    def address(self, name: str) -> str:
        """The path or URL of a name in the store."""
        if self.is_local:
            return str(Path(self._root) / name)
        return str(self._remote.unstrip_protocol(f"{self._open()[1]}/{name}"))

    def name_of(self, path: str) -> str | None:
        """The name of a file in the store, with its folder there; None for a file that is elsewhere."""
        root = self.address("")
        name = path.removeprefix(root.rstrip("/") + "/")
        return name if name != path and ".." not in name.split("/") else None

    async def remove(self, path: str) -> None:
        """Remove a file, if it is there.

        Raises:
            OSError: the store failed.
        """
        with as_os_error("it could not be removed", path):
            await asyncio.to_thread(self._remove, path)

    def _remove(self, path: str) -> None:
        if not is_remote(path):
            local_path(path).unlink(missing_ok=True)
        elif (system := self._file_system_of(path)).exists(path):
            system.rm_file(path)

    async def has_file(self, path: str, size: int | None) -> bool:
        """True if a song is still there, of this size in bytes (None: of any size); also in an earlier store."""
        return await asyncio.to_thread(self._has_file, path, size)

    def _size(self, path: str) -> Any:
        if not is_remote(path):
            return local_path(path).stat().st_size
        return self._file_system_of(path).size(path)

    def _has_file(self, path: str, size: int | None) -> bool:
        try:
            with as_os_error("its size cannot be read", path):
                found = self._size(path)
        except OSError:
            return False
        return size is None or found == size


def prepare_folder(folder: Path) -> None:
    """Create a folder and check that it is writable.

    Raises:
        LibraryError: it is not.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{uuid.uuid4().hex}"  # threads of one process open libraries, too
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise LibraryError(
            f"The library's folder {folder} cannot be written: {error.strerror or error}.",
            next="choose another with --library or SONGFLOW_LIBRARY, or correct its permissions or free some space.",
        ) from None


def require_space(folder: Path, needed: int = MIN_FREE_BYTES) -> None:
    """Raise LibraryError if less than `needed` bytes are free: there must be room for a paid song."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise LibraryError(
            f"The disk of {folder} cannot be used: {error.strerror or error}.",
            next="mend that, or choose another place with --library; nothing was sent.",
        ) from None
    if free < needed:
        raise LibraryError(
            f"The disk of {folder} is full: {free >> 20} MiB are free, {needed >> 20} MiB are needed.",
            next="free some space or choose another place with --library; nothing was sent.",
        )


def move_into_place(part: Path, target: Path) -> None:
    """Move a complete file to its final name: fsync, rename, fsync of the folder."""
    with part.open("rb") as file:
        reached("song: before fsync")
        os.fsync(file.fileno())
        reached("song: after fsync")
    target.parent.mkdir(parents=True, exist_ok=True)
    reached("song: before rename")
    part.replace(target)
    reached("song: after rename")
    sync_folder(target.parent)


def _move_beside(draft: Path, target: Path) -> None:
    with draft.open("rb") as file:
        reached("cover: before fsync")
        os.fsync(file.fileno())
        reached("cover: after fsync")
    target.parent.mkdir(parents=True, exist_ok=True)
    reached("cover: before rename")
    draft.replace(target)
    # The folder is synced when the song is stored.
    reached("cover: after rename")


def _local_folder(url: str) -> Path:
    try:
        return local_path(url).expanduser().resolve()
    except (RuntimeError, OSError) as error:
        raise _unusable(str(getattr(error, "strerror", None) or error)) from None


def _check_remote(url: str) -> None:
    """Check, without a connection, that songs can be stored at a URL and stay there.

    Raises:
        LibraryError: they cannot.
    """
    import fsspec

    protocol, _, rest = url.partition("://")
    if "::" in url:
        raise _unusable("it chains file systems, and a song must lie in one")
    if protocol in _FLEETING:
        raise _unusable(f"songs at {protocol}:// are gone with the process")
    if protocol in _READ_ONLY:
        raise _unusable(f"songs cannot be written to {protocol}://")
    if not rest.strip("/"):
        raise _unusable("it names no bucket or folder")
    try:
        fsspec.get_filesystem_class(protocol)
    except (ValueError, ImportError) as error:
        raise _unusable(str(error)) from None


def _open_remote(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except Exception as error:  # whatever a file system raises; its text may quote a password of the URL
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise _unusable(f"its file system cannot be opened ({reason})") from None
    return filesystem, str(root).rstrip("/")


def _unusable(reason: str) -> LibraryError:
    return LibraryError(
        f"SONGFLOW_AUDIO_URL cannot be used: {reason}.",
        next="install the file system's package (s3fs, gcsfs, ...) or give another URL; nothing was sent.",
    )
