"""Fixtures for tests of libraries: small file systems and recordings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import support.stores  # noqa: F401 - it registers its file system
from support.disks import mounted
from support.recordings import audio, play, write

__all__ = ["audio", "play", "small_disk", "write"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount in-memory file systems of a size such as `1m`."""
    with ExitStack() as disks:
        numbers = itertools.count()

        def mount(size: str) -> Path:
            folder = tmp_path / f"disk{next(numbers)}"
            disks.enter_context(mounted(folder, size))
            return folder

        yield mount
