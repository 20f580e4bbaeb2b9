"""Manifests with known contents."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from songflow.catalog.manifest import COLUMNS

START = pd.Timestamp("2026-01-02T03:04:05Z")


def _row(number: int, given: dict[str, Any]) -> dict[str, Any]:
    plain = {
        "key": f"key-{number // 2}",
        "song_id": f"song-{number}",
        "take": number % 2,
        "title": f"Song {number}",
        "song_state": "stored",
        "state": "succeeded",
        "seconds": 30.0,
        "path": f"/music/song-{number}.mp3",
        "sha256": f"{number:064x}",
        "mode": "regular",
        "gateway": "simulator",
        "submission": 0,
        "price": 1.0,
        "billed": "yes",
        "sending_at": START,
        "settled_at": START + pd.Timedelta(seconds=50),
        "peak": 0.5,
        "rms_db": -14.0,
        "request.prompt": "a waltz",
        "request.seed": -1,
        "request.prompt_strength": 0.5,
    }
    return {**dict.fromkeys(COLUMNS), **plain, **given}


Manifest = Callable[..., pd.DataFrame]


@pytest.fixture(scope="session")
def manifest() -> Manifest:
    """A manifest of stored songs, two takes per generation; each argument changes one row."""

    def make(*rows: dict[str, Any]) -> pd.DataFrame:
        records = [_row(number, row) for number, row in enumerate(rows)]
        return pd.DataFrame(
            {
                name: pd.Series([record[name] for record in records], dtype=dtype)
                for name, dtype in COLUMNS.items()
            }
        )

    return make
