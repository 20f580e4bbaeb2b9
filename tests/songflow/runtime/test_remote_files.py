"""Files by path or URL, and the one kind of error that file systems raise through us."""

from __future__ import annotations

import errno
from pathlib import Path

import fsspec
import pytest

from songflow.runtime.remote_files import as_os_error, is_remote, local_path, open_file


@pytest.mark.parametrize(
    ("url", "remote"), [("a/b.mp3", False), ("file:///a/b.mp3", False), ("s3://bucket/b.mp3", True)]
)
def test_only_urls_of_other_machines_are_remote(url: str, remote: bool) -> None:
    """Paths and file:// URLs are local."""
    assert is_remote(url) is remote


def test_a_file_url_names_a_local_path() -> None:
    """As does the path itself."""
    assert local_path("file:///a/b.mp3") == local_path("/a/b.mp3") == Path("/a/b.mp3")


def test_paths_and_urls_are_opened_alike(tmp_path: Path) -> None:
    """Local files without fsspec, others through it."""
    (tmp_path / "a.mp3").write_bytes(b"local")
    fsspec.filesystem("memory").pipe("/remote/a.mp3", b"remote")
    found = []
    for url in (str(tmp_path / "a.mp3"), f"file://{tmp_path}/a.mp3", "memory://remote/a.mp3"):
        with open_file(url) as file:
            found.append(file.read())
    assert found == [b"local", b"local", b"remote"]


@pytest.mark.parametrize("url", ["nowhere://a.mp3", "memory://missing.mp3", "/missing.mp3"])
def test_a_file_that_cannot_be_opened_is_an_os_error(url: str) -> None:
    """An unknown protocol too, which fsspec reports as ValueError."""
    with pytest.raises(OSError):  # noqa: PT011 - the message is the file system's
        open_file(url)


def test_errors_of_a_file_system_become_os_errors() -> None:
    """They keep their text and cause; an OSError stays as it is."""
    cause = RuntimeError("403 Forbidden")
    with (
        pytest.raises(OSError, match=r"the upload failed \(403 Forbidden\)") as caught,
        as_os_error("the upload failed", "s3://b/a"),
    ):
        raise cause
    assert (caught.value.errno, caught.value.filename, caught.value.__cause__) == (
        errno.EIO,
        "s3://b/a",
        cause,
    )
    missing = FileNotFoundError("gone")
    with pytest.raises(FileNotFoundError) as found, as_os_error("the upload failed", "s3://b/a"):
        raise missing
    assert found.value is missing
