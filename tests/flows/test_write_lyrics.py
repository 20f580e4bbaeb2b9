"""The flow write-lyrics: texts under the run's key, for another flow to sing."""

from __future__ import annotations

import pytest
from prefect import flow

from flows.generate import generate_song
from flows.lyrics import write_lyrics
from songflow.errors import InputError

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]


async def test_lyrics_feed_a_song_in_one_flow_and_a_retry_pays_nothing_more(studio):
    """Each step has a key of its own below the parent's run."""
    here = studio(takes=1)
    texts = []

    @flow(retries=1)
    async def ballad():
        words = await write_lyrics("a harbour at night", **here.options)
        texts.append(words.text)
        made = await generate_song("slow folk", lyrics=words.text, **here.options)
        if len(texts) == 1:
            raise RuntimeError("again")
        return made

    await ballad()
    first, song = (entry.body for entry in here.simulator.bill())
    assert first == {"prompt": "a harbour at night"}
    assert song["gen_params"]["lyrics"] == texts[0] == texts[1]


async def test_a_model_of_songs_writes_no_lyrics(studio):
    """Nothing is sent."""
    here = studio()
    with pytest.raises(InputError, match="suno-lyrics"):
        await write_lyrics("a harbour at night", model_type="chirp-auk", **here.options)
    assert here.billed == 0
