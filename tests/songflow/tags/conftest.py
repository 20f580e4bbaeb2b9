"""Songs as files: real mp3 bytes, and a generation stored in a library of the test's own."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import soundfile

from songflow.generation.lifecycle import generate_in


@cache
def sound(container: str = "MP3", seconds: float = 0.5) -> bytes:
    """A tone in any container that libsndfile writes."""
    tone = 0.4 * np.sin(2 * np.pi * 440.0 * np.arange(round(seconds * 44_100)) / 44_100)
    target = io.BytesIO()
    soundfile.write(target, np.column_stack((tone, tone)), 44_100, format=container)
    return target.getvalue()


@pytest.fixture
def audio() -> Callable[..., bytes]:
    """Makes files of a tone: `audio("FLAC")`; an mp3 has no tag."""
    return sound


@pytest.fixture
def stored(simulator: Any, access: Any, session: Any, song_request: Any) -> Callable[..., Any]:
    """Makes one generation whole: (session, its rows of songs); `faults` and `settings` are the simulator's."""

    async def make(*faults: dict[str, Any], key: str = "key", library: Any = None, **fields: Any) -> Any:
        opened = await session(library=library)
        server = simulator(*faults)
        await generate_in(opened, song_request(**fields), access(server.url), key=key)
        return opened, await opened.library.ledger.songs.of_key(key)

    return make
