"""The flow on a real Prefect server against the simulator: songs on disk, one bill, whatever is run again."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect import flow
from prefect.exceptions import ParameterTypeError

from flows.generate import generate_song

pytestmark = [pytest.mark.prefect, pytest.mark.xdist_group("prefect"), pytest.mark.usefixtures("prefect_server")]


async def test_a_prompt_becomes_songs_on_disk(studio):
    here = studio()
    result = await generate_song("a slow waltz", **here.options)
    assert [Path(song.path).suffix for song in result.songs] == [".mp3", ".mp3"]
    assert all(Path(song.path).stat().st_size > 0 for song in result.songs)
    assert (result.billed, here.billed) == ("yes", 1)
