"""Small file systems in memory, which can be filled up or be made read-only; only root can mount them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["bound_read_only", "mounted", "read_only"]


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[None]:
    """A file system of a size such as `1m` in a folder; skips the test where none can be mounted."""
    folder.mkdir(exist_ok=True)
    if os.name != "posix" or not _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        pytest.skip("a file system can only be mounted as root")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a mounted file system read-only."""
    assert _mount("-o", "remount,ro", str(folder)), "a file of it is open for writing"
    try:
        yield
    finally:
        assert _mount("-o", "remount,rw", str(folder))


def _mount(*options: str) -> bool:
    return subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0


@contextmanager
def bound_read_only(folder: Path, second: Path) -> Iterator[None]:
    """The same folder at a second place, where it may only be read."""
    second.mkdir()
    assert _mount("--bind", str(folder), str(second))
    try:
        assert _mount("-o", "remount,bind,ro", str(second))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(second)], check=True)
