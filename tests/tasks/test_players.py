"""Players in pages: what a page embeds, up to its size, and that no song keeps its page from being written."""

from __future__ import annotations

import asyncio
import base64
import io
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from songflow.families.udio import SongRequest
from songflow.ledger.key_summaries import KeySummary
from songflow.ledger.rows import Song
from songflow.ledger.states import SongState, State
from songflow.sweeps.cells import Cell
from songflow.sweeps.tally import SweepResult, Tally
from tasks.ui import players as players_module
from tasks.ui.players import MOST_PAGE_BYTES, Players, with_players
from tasks.ui.sweep_page import MAX_ROWS, heard_in, sweep_page
from tasks.ui.takes import take_block

SOUND = re.compile(r'<audio [^>]*src="data:audio/mpeg;base64,([\w+/=]+)"')
ELSEWHERE = "../../../artifacts/key/song-x"


def sound_file(folder: Path, seconds: float) -> str:
    """A quiet tone, as a song that decodes quickly."""
    path = folder / f"{seconds:g}.wav"
    tone = 0.1 * np.sin(np.arange(round(seconds * 16_000)) / 10)
    soundfile.write(path, tone.astype(np.float32), 16_000)
    return str(path)


def song(number: int, path: str | None, **facts: Any) -> Song:
    """A row of the ledger."""
    empty = dict.fromkeys(Song.__slots__)
    about = {
        "id": number,
        "key": f"k{number}",
        "take": 0,
        "song_id": f"id-{number}",
        "state": SongState.STORED,
        "title": f"Song {number}",
        "tags": (),
        "mode": "regular",
        "depth": 0,
        "path": path,
    }
    return Song(**{**empty, **about, **facts})


def page_of(songs: list[Song]):
    """A page with a section for each song."""
    return lambda players: "\n\n".join(take_block(str(one.title), one, players) for one in songs)


async def written(songs: list[Song]) -> str:
    """That page, with its players."""
    return await with_players(page_of(songs), songs, ELSEWHERE)


async def test_a_page_plays_what_it_has_room_for_and_says_so_of_the_rest(tmp_path, monkeypatch):
    """Of twelve songs of 130 s without covers nine have a player, each of 20 s; the page is below its size."""
    monkeypatch.setenv("SONGFLOW_ROOM_URL", "http://127.0.0.1:8766/")
    path = sound_file(tmp_path, 130)
    page = await written([song(number, path) for number in range(12)])
    found = SOUND.findall(page)
    assert len(found) == 9
    assert page.count("No player: this page has no room for another.") == 3
    assert MOST_PAGE_BYTES * 0.8 < len(page.encode()) <= MOST_PAGE_BYTES
    for data in found:
        played = soundfile.info(io.BytesIO(base64.b64decode(data)))
        assert (played.format, played.channels) == ("MP3", 1)
        assert played.duration == pytest.approx(20, abs=0.2)
    assert page.count("0:00 to 0:20 of 2:10") == 9
    assert page.count("[hear it whole, rate it](http://127.0.0.1:8766/#song-") == 12


async def test_a_sweep_of_ten_thousand_cells_is_a_page_of_the_same_size(tmp_path):
    """With long titles, addresses and errors; the first cells are played, and all others counted."""
    path = sound_file(tmp_path, 25)
    request = SongRequest(prompt="x")
    cells = [
        Cell(f"k{number}", request, {"prompt": "words " * 20, "seed": number}, 1) for number in range(10_000)
    ]
    summary = KeySummary(
        state=State.SUCCEEDED,
        dead=True,
        stored=2,
        missing=0,
        spent=1.0,
        error="reason | " * 60,
        generation_id="id",
        sending_at=datetime.now(UTC),
        settled_at=datetime.now(UTC),
    )
    url = f"https://gateway.example/{'a' * 400}.mp3"
    takes = {
        cell.key: [
            song(number, path, title="*A* title | " * 9, song_url=url, rating=4.0, error="<b>" * 50)
            for _ in range(2)
        ]
        for number, cell in enumerate(cells[:MAX_ROWS])
    }
    result = SweepResult.of("big", Tally(cells=10_000), posts=10_000, price=10_000.0, seconds=9.0)
    page = await with_players(
        lambda players: sweep_page(result, cells, dict.fromkeys(takes, summary), takes, players, "units"),
        heard_in(cells, takes),
        ELSEWHERE,
    )
    assert len(page.encode()) <= MOST_PAGE_BYTES
    assert len(SOUND.findall(page)) >= 5
    assert "rated 4 of 5" in page
    [shown] = re.findall(r"The first (\d+) of 10000 cells are shown", page)
    assert page.count("| succeeded |") == int(shown) > 50


@pytest.mark.parametrize(
    ("mode", "part"), [("precede", "0:15 to 0:35 of 1:00"), ("continuation", "0:25 to 0:45 of 1:00")]
)
async def test_an_extension_is_played_around_its_seam(tmp_path, mode, part):
    """Fifteen of the twenty seconds are from its new part, wherever that is; the seam is at 30 s."""
    found = song(1, sound_file(tmp_path, 60), mode=mode, seconds=60.0, added_seconds=30.0)
    found = replace(found, source_at=30.0 if mode == "precede" else 0.0)
    assert part in await written([found])


async def test_a_song_that_cannot_be_played_does_not_keep_its_page_from_being_written(tmp_path, caplog):
    """Gone, broken, without a sound, of a store whose package is missing: a text, a warning, and the others play."""
    broken, silent = tmp_path / "broken.mp3", tmp_path / "silent.wav"
    broken.write_bytes(b"<script>no song</script>" * 100)
    soundfile.write(silent, np.zeros(0, dtype=np.float32), 16_000)
    good = sound_file(tmp_path, 3)
    paths = [str(tmp_path / "gone.mp3"), str(broken), str(silent), "nowhere://a.mp3", good, f"local://{good}"]
    page = await written([song(number, path) for number, path in enumerate(paths)])
    assert len(SOUND.findall(page)) == 2
    assert page.count("No player: ") == 4
    assert "<script>" not in page
    assert sum("has no player in Prefect" in record.message for record in caplog.records) == 4
    assert "No player" not in await written([song(9, None, state=SongState.FAILED)])


async def test_a_page_of_two_takes_with_covers_is_as_small_as_the_documents_state(tmp_path):
    """A player with its cover has 125 kB at most, their page 250 kB; a broken cover is left out."""
    good, broken = tmp_path / "good.png", tmp_path / "broken.png"
    Image.effect_noise((2000, 2000), 90).save(good)
    broken.write_bytes(b"\x89PNG\r\n\x1a\n")
    path = sound_file(tmp_path, 130)
    page = await written([song(number, path, cover_path=str(good)) for number in (1, 2)])
    blocks = re.findall(r"<table>.*</table>", page)
    assert ["Cover" in block for block in blocks] == [True, True]
    assert max(map(len, blocks)) <= 125_000
    assert len(page.encode()) <= 250_000
    without = await written([song(3, sound_file(tmp_path, 1), cover_path=str(broken))])
    assert len(SOUND.findall(without)) == 1
    assert "Cover" not in without


async def test_players_are_made_outside_of_the_event_loop(tmp_path, monkeypatch):
    """The loop goes on while a song is decoded: here it is what lets the decoding end."""
    going_on = threading.Event()
    real = players_module.make_preview

    def waiting(*args: Any, **options: Any) -> Any:
        assert going_on.wait(20)
        return real(*args, **options)

    monkeypatch.setattr(players_module, "make_preview", waiting)
    making = asyncio.create_task(written([song(1, sound_file(tmp_path, 1))]))
    await asyncio.sleep(0)
    going_on.set()
    assert len(SOUND.findall(await making)) == 1


async def test_without_time_or_where_they_are_switched_off_there_are_no_players(
    tmp_path, monkeypatch, caplog
):
    """A setting that cannot be used is a warning, and the default counts."""
    songs = [song(1, sound_file(tmp_path, 1), song_url="https://x.example/a.mp3")]
    monkeypatch.setattr(players_module, "_MAKING_SECONDS", 0.0)
    late = await written(songs)
    assert "No player: there was no time to make it." in late
    monkeypatch.setenv("SONGFLOW_PREVIEW_SECONDS", "0")
    off = await written(songs)
    assert off == page_of(songs)(Players())
    assert "[at the gateway](https://x.example/a.mp3)" in off
    monkeypatch.undo()
    monkeypatch.setenv("SONGFLOW_PREVIEW_SECONDS", "many")
    assert len(SOUND.findall(await written(songs))) == 1
    assert "SONGFLOW_PREVIEW_SECONDS is 'many'" in caplog.text
