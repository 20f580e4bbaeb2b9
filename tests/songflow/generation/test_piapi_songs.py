"""Udio songs through PiAPI's API on the simulator, over a real socket: each way to make one, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest

from songflow.catalog.manifest import read_manifest
from songflow.errors import InputError, NotBilled
from songflow.families.registry import parse_request
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in

IDEA = {"prompt": "night breeze, piano"}


async def test_an_idea_its_continuation_and_words_of_ones_own(
    simulator: Any, access: Any, session: Any
) -> None:
    """Each is paid once; the continuation holds the song that it continues."""
    server, opened = simulator(clip_seconds=4.0, takes=1, speed=60.0), await session()
    account = access(server.url, "piapi", key="any")
    made = await generate_in(opened, parse_request(IDEA), account, key="night")
    again = await generate_in(opened, parse_request(IDEA), account, key="night")
    assert again.generation_id == made.generation_id
    source = made.songs[0].song_id or ""
    planned = await plan_extension(opened, source, given=account, overrides={"prompt": "snow"})
    longer = await generate_in(opened, planned.request, account, key="more")
    own = {"prompt": "jazz", "lyrics": "Stars above", "negative_prompt": "rock", "seed": 7}
    sung = await generate_in(opened, parse_request(own), account, key="sung")
    assert [entry.body["input"] for entry in server.bill()] == [
        {"gpt_description_prompt": "night breeze, piano", "negative_tags": "", "seed": -1}
        | {"lyrics_type": "generate"},
        {"gpt_description_prompt": "snow", "lyrics": "", "negative_tags": "", "lyrics_type": "generate"}
        | {"seed": -1, "continue_song_id": source, "continue_at": 0},
        {"gpt_description_prompt": "jazz", "lyrics": "Stars above", "negative_tags": "rock", "seed": 7}
        | {"lyrics_type": "user"},
    ]
    assert [entry.price for entry in server.bill()] == [made.price, longer.price, sung.price] == [1, 1, 1]
    (part,) = await opened.library.ledger.songs.of_key("more")
    assert (part.source_score or 0) > 0.9
    assert part.seconds == pytest.approx(8.0, abs=0.1)
    rows = (await read_manifest(opened.library.ledger)).to_dict("records")
    assert {(row["gateway"], row["song_state"]) for row in rows} == {("piapi", "stored")}


async def test_the_other_documented_form_of_a_report_is_collected_too(
    simulator: Any, access: Any, session: Any
) -> None:
    """An envelope with a time, a status in capital letters, and one address."""
    server, opened = simulator({"fault": "other_form", "on": "fetch"}, takes=1), await session()
    made = await generate_in(opened, parse_request(IDEA), access(server.url, "piapi", key="any"), key="night")
    assert (made.state, len(made.songs), made.songs[0].error) == ("succeeded", 1, None)


async def test_refusals_cost_nothing(simulator: Any, access: Any, session: Any, posts: Any) -> None:
    """What the body has no place for is not even sent; a key or a balance is refused by the gateway."""
    keys = {"accept_keys": ["good", "spent"], "spent_keys": ["spent"]}
    server, opened = simulator(**keys), await session()
    strong = parse_request({**IDEA, "prompt_strength": 0.9})
    with pytest.raises(InputError, match=r"piapi cannot make this song: prompt_strength is 0\.9"):
        await generate_in(opened, strong, access(server.url, "piapi", key="good"), key="strong")
    assert posts(server) == 0
    for key, words in (("spent", "quota"), ("bad", "Invalid token")):
        with pytest.raises(NotBilled, match=words):
            await generate_in(opened, parse_request(IDEA), access(server.url, "piapi", key=key), key=key)
    assert server.bill() == []
