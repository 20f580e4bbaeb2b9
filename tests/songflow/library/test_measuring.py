"""Songs are measured beside everything else: on arrival, or later; whatever fails is a line in the log."""

from __future__ import annotations

import logging
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from songflow.audio.measures import Measures, measure_song
from songflow.catalog.columns import FROM_MEASURES
from songflow.catalog.manifest import read_manifest
from songflow.errors import InvalidEnvironment
from songflow.generation.session import Session
from songflow.ledger import schema
from songflow.ledger.measures import Unmeasured
from songflow.library import measuring
from songflow.library.measuring import Measured, MeasuringPool, measure_missing
from songflow.settings import LibrarySettings


class Recorded:
    """In place of the ledger: what would be written, by row."""

    may_write = True

    def __init__(self) -> None:
        self.rows: dict[int, Measures | None] = {}

    async def record(self, measured: dict[int, Measures | None]) -> None:
        self.rows |= measured


async def pool_of(paths: list[str], *, seconds: float = 60.0, patience: float | None = None) -> Any:
    """What a pool records for files of this length, and its counts."""
    recorded = Recorded()
    pool = MeasuringPool(recorded)  # type: ignore[arg-type]
    for number, path in enumerate(paths):
        await pool.put(Unmeasured(number, path, seconds))
    await pool.close(patience=patience)
    return recorded.rows, pool.counts


@pytest.fixture
def tone(audio: Any, tmp_path: Path) -> str:
    (tmp_path / "tone.wav").write_bytes(audio("WAV", 1.0))
    return str(tmp_path / "tone.wav")


async def test_a_song_is_measured_when_it_has_arrived(stored: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its row was committed; the end of the session waits for it. The manifest has what the file has."""
    monkeypatch.setenv("SONGFLOW_MEASURE", "arrival")
    session, songs = await stored(clip_seconds=1.0)
    await session.measuring.close(patience=30)
    found = await session.library.ledger.measures.of_songs([song.id for song in songs])
    assert found == {song.id: measure_song(song.path) for song in songs}
    frame = await read_manifest(session.library.ledger)
    for row, song in zip(frame.to_dict("records"), songs, strict=True):
        expected = asdict(found[song.id])
        assert {name: row[name] for name in ("loudness_lufs", "clipped_samples")} == {
            name: expected[name] for name in ("loudness_lufs", "clipped_samples")
        }


async def test_songs_without_measures_are_measured_later(stored: Any, any_library: LibrarySettings) -> None:
    """Once; songs of an earlier version of the measures again."""
    session, songs = await stored(library=any_library, clip_seconds=1.0)
    measures = session.library.ledger.measures
    assert await measure_missing(measures, keys=["another"]) == Measured()
    assert await measure_missing(measures, limit=1) == Measured(measured=1)
    told: list[int] = []
    assert await measure_missing(
        measures, keys=["key"], tell=lambda so_far: told.append(so_far.all)
    ) == Measured(1)
    assert told == [1]
    assert await measure_missing(measures) == Measured()
    frame = await read_manifest(session.library.ledger)
    assert (
        frame[[name for name in FROM_MEASURES if name not in ("loudness_range", "tempo")]]
        .notna()
        .all(axis=None)
    )
    async with session.library.ledger.database.write("test") as connection:
        await connection.execute(update(schema.measures).values(version=0, loudness_lufs=None))
    assert await measure_missing(measures) == Measured(measured=len(songs))
    assert (await read_manifest(session.library.ledger))["loudness_lufs"].notna().all()


async def test_long_songs_are_measured_by_a_process(tone: str, tmp_path: Path, caplog: Any) -> None:
    """A file that cannot be decoded is not tried again; one that is missing is. Neither ends the process."""
    (tmp_path / "bad.mp3").write_bytes(b"no music")
    rows, counts = await pool_of(
        [str(tmp_path / "bad.mp3"), str(tmp_path / "none.mp3"), tone, f"file://{tone}"]
    )
    measured = measure_song(tone)
    assert rows == {0: None, 2: measured, 3: measured}
    assert counts == Measured(measured=2, unreadable=1, failed=1)
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


@pytest.mark.parametrize(
    ("command", "counts"),
    [
        (["/no/such/interpreter"], Measured(measured=1)),  # a thread does it
        ([sys.executable, "-S", "-c", "pass"], Measured(failed=1)),
    ],
)
async def test_a_process_that_does_not_work_is_done_without(
    tone: str, monkeypatch: pytest.MonkeyPatch, command: list[str], counts: Measured
) -> None:
    """It cannot be started, or ends at once."""
    monkeypatch.setattr(measuring, "isolated_python", lambda _: command)
    assert (await pool_of([tone]))[1] == counts


async def test_the_end_does_not_wait_for_a_long_measurement(
    tone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not done is left out, and its process is ended."""
    sleeps = [sys.executable, "-S", "-c", "import time; time.sleep(100)"]
    monkeypatch.setattr(measuring, "isolated_python", lambda _: sleeps)
    assert await pool_of([tone, tone], patience=0.2) == ({}, Measured())


async def test_no_failure_of_measuring_fails_a_song(
    stored: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does one of writing the measures down."""

    def fail(*_: Any) -> Any:
        raise MemoryError("out of memory")

    monkeypatch.setenv("SONGFLOW_MEASURE", "arrival")
    monkeypatch.setattr(measuring, "measure_song", fail)
    session, songs = await stored(clip_seconds=1.0)
    await session.measuring.close(patience=30)
    assert [song.state for song in songs] == ["stored", "stored"]
    assert "was not measured (MemoryError: out of memory)" in caplog.text
    monkeypatch.undo()
    monkeypatch.setattr(session.library.ledger.measures, "record", fail)
    assert await measure_missing(session.library.ledger.measures) == Measured(measured=2)
    assert "The measures of 2 songs were not written" in caplog.text


async def test_too_many_waiting_songs_are_left_for_later(
    monkeypatch: pytest.MonkeyPatch, stored: Any
) -> None:
    """What arrives never waits."""
    _, [song, _] = await stored(clip_seconds=1.0)
    monkeypatch.setattr(measuring, "_MOST", 2)
    recorded = Recorded()
    pool = MeasuringPool(recorded)  # type: ignore[arg-type]
    for row in range(4):
        pool.arrived(replace(song, id=row))
    await pool.close(patience=30)
    assert sorted(recorded.rows) == [0, 1]


def test_only_arrival_and_off_are_allowed(
    library_settings: LibrarySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is sent."""
    for value, measures in (("off", False), ("Arrival", True), ("", True)):
        monkeypatch.setenv("SONGFLOW_MEASURE", value)
        assert (Session(library_settings).measuring is not None) is measures
    monkeypatch.setenv("SONGFLOW_MEASURE", "always")
    with pytest.raises(InvalidEnvironment, match="SONGFLOW_MEASURE is 'always': allowed is arrival or off"):
        Session(library_settings)
