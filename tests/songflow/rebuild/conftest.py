"""Songs that are not ours."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile


@pytest.fixture
def mp3_of() -> Callable[[float], bytes]:
    """A tone of so many seconds as an mp3 file."""

    def make(seconds: float) -> bytes:
        tone = 0.4 * np.sin(2 * np.pi * 440.0 * np.arange(round(seconds * 44_100)) / 44_100)
        target = io.BytesIO()
        soundfile.write(target, np.column_stack((tone, tone)), 44_100, format="MP3")
        return target.getvalue()

    return make
