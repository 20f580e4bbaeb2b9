"""Files by path or fsspec URL, with one kind of error.

Each fsspec file system raises exceptions of its own (botocore's, gcsfs's, aiohttp's ...), which callers cannot list.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

__all__ = ["as_os_error", "is_remote", "local_path", "open_file"]


def is_remote(url: str) -> bool:
    """True for a URL that is not a file of this machine."""
    return "://" in url and not url.startswith("file://")


def local_path(url: str) -> Path:
    """The path of a local file, given as a path or `file://` URL."""
    return Path(url.removeprefix("file://"))


@contextmanager
def as_os_error(operation: str, url: str) -> Iterator[None]:
    """Raise every exception of a file system as OSError, with `operation` ("the upload failed") in its message."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{operation} ({error})", url) from error


def open_file(url: str) -> IO[bytes]:
    """Open a stored file for reading, by its path or fsspec URL.

    Raises:
        OSError: it cannot be opened, or the package of its file system is not installed.
    """
    if not is_remote(url):
        return local_path(url).open("rb")
    import fsspec

    with as_os_error("the file cannot be opened", url):
        file: IO[bytes] = fsspec.open(url, "rb").open()
    return file
