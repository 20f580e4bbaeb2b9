"""Suno songs through Kie.ai's API on the simulator, over a real socket: each way to make one, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import soundfile

from songflow.catalog.manifest import read_manifest
from songflow.errors import InputError, NotBilled
from songflow.families.registry import parse_request
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in

IDEA = {"prompt": "a cat on a roof", "model_type": "chirp-auk"}


async def test_an_idea_its_extension_and_words_of_ones_own(simulator: Any, access: Any, session: Any) -> None:
    """Each is paid once, under the gateway's name; the extension's new part is joined with its source."""
    server, opened = simulator(clip_seconds=4.0, takes=1, speed=60.0), await session()
    account = access(server.url, "kie", key="any")
    made = await generate_in(opened, parse_request(IDEA), account, key="cat")
    again = await generate_in(opened, parse_request(IDEA), account, key="cat")
    assert again.generation_id == made.generation_id
    planned = await plan_extension(
        opened, made.songs[0].song_id or "", overrides={"continue_at": 2.5}, given=account
    )
    longer = await generate_in(opened, planned.request, planned.access, key="more")
    assert soundfile.info(longer.songs[0].whole_path).duration == pytest.approx(6.5, abs=0.1)
    own = {"prompt": "punk", "lyrics": "City lights", "title": "Night", "model_type": "chirp-crow"}
    sung = await generate_in(opened, parse_request(own), account, key="sung")
    assert (sung.songs[0].title, Path(sung.songs[0].path or "").exists()) == ("Night", True)
    assert [(entry.body["model"], entry.price) for entry in server.bill()] == [
        ("V4_5", 1),
        ("V4_5", 1),
        ("V5", 1),
    ]
    rows = (await read_manifest(opened.library.ledger)).to_dict("records")
    assert {(row["gateway"], row["song_state"]) for row in rows} == {("kie", "stored")}


async def test_refusals_come_with_http_200_and_are_not_billed(
    simulator: Any, access: Any, session: Any
) -> None:
    """A balance that is too low, a key that is not accepted, and an idea that is too long for this API."""
    server, opened = (
        simulator(accept_keys=["good", "spent"], spent_keys=["spent"], spent_status=403),
        await session(),
    )
    for key, words in (("spent", "quota"), ("bad", "Invalid token")):
        with pytest.raises(NotBilled, match=words):
            await generate_in(opened, parse_request(IDEA), access(server.url, "kie", key=key), key=key)
    long = parse_request({**IDEA, "prompt": "x" * 501})
    with pytest.raises(InputError, match="takes 500 of an idea"):
        await generate_in(opened, long, access(server.url, "kie", key="good"), key="long")
    assert server.bill() == []
