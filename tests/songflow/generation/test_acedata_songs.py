"""Suno songs through Ace Data Cloud's API on the simulator, over a real socket: each way to make one, and its cost."""

from __future__ import annotations

from typing import Any

import pytest
import soundfile

from songflow.errors import InputError, NotBilled
from songflow.families.registry import parse_request
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in

IDEA = {"prompt": "a cat on a roof", "model_type": "chirp-auk"}


@pytest.mark.parametrize("whole", [False, True])
async def test_an_idea_its_extension_and_words_of_ones_own(
    whole: bool, simulator: Any, access: Any, session: Any
) -> None:
    """Each is paid once; the extension becomes the same whole song, whether or not its part holds the source."""
    server = simulator(clip_seconds=4.0, takes=1, speed=60.0, whole_parts=whole)
    opened = await session()
    account = access(server.url, "acedata", key="any")
    made = await generate_in(opened, parse_request(IDEA), account, key="cat")
    again = await generate_in(opened, parse_request(IDEA), account, key="cat")
    assert again.generation_id == made.generation_id
    source = made.songs[0].song_id or ""
    words = {"continue_at": 2.5, "lyrics": "miau"}
    planned = await plan_extension(opened, source, given=account, overrides=words)
    longer = await generate_in(opened, planned.request, account, key="more")
    part = longer.songs[0]
    assert soundfile.info(part.path).duration == pytest.approx(6.5 if whole else 4.0, abs=0.1)
    assert soundfile.info(part.whole_path).duration == pytest.approx(6.5, abs=0.1)
    own = {"prompt": "punk", "lyrics": "City lights", "title": "Night", "model_type": "chirp-crow"}
    sung = await generate_in(opened, parse_request(own), account, key="sung")
    assert sung.songs[0].title == "Night"
    assert [(entry.body["action"], entry.body["model"], entry.price) for entry in server.bill()] == [
        ("generate", "chirp-v4-5", 1),
        ("extend", "chirp-v4-5", 1),
        ("generate", "chirp-v5", 1),
    ]


async def test_the_gateway_joins_a_new_part_with_its_source(
    simulator: Any, access: Any, session: Any
) -> None:
    """By a task of its own, whose song is the whole one."""
    server, opened = simulator(clip_seconds=3.0, takes=1), await session(join="gateway")
    account = access(server.url, "acedata", key="any")
    source = (await generate_in(opened, parse_request(IDEA), account, key="cat")).songs[0].song_id or ""
    words = {"continue_at": 2.0, "lyrics": "miau"}
    planned = await plan_extension(opened, source, given=account, overrides=words)
    (part,) = (await generate_in(opened, planned.request, account, key="more")).songs
    assert part.joined_by == "gateway"
    assert soundfile.info(part.whole_path).duration == pytest.approx(5.0, abs=0.1)
    assert server.bill()[2].body == {"action": "concat", "audio_id": part.song_id, "async": True}


async def test_a_task_of_the_earlier_documents_is_collected_too(
    simulator: Any, access: Any, session: Any
) -> None:
    """It has no times, and its songs no state."""
    server, opened = simulator({"fault": "other_form", "on": "fetch"}), await session()
    made = await generate_in(opened, parse_request(IDEA), access(server.url, "acedata", key="any"), key="cat")
    assert (made.state, [song.error for song in made.songs]) == ("succeeded", [None, None])


async def test_refusals_cost_nothing(simulator: Any, access: Any, session: Any, posts: Any) -> None:
    """What this API does not take is not even sent; a key or a balance is refused by the gateway."""
    keys = {"accept_keys": ["good", "spent"], "spent_keys": ["spent"]}
    server, opened = simulator(**keys), await session()
    long = parse_request({**IDEA, "prompt": "x" * 501})
    with pytest.raises(InputError, match="takes 500 of an idea"):
        await generate_in(opened, long, access(server.url, "acedata", key="good"), key="long")
    assert posts(server) == 0
    for key, words in (("spent", "quota"), ("bad", "Invalid token")):
        with pytest.raises(NotBilled, match=words):
            await generate_in(opened, parse_request(IDEA), access(server.url, "acedata", key=key), key=key)
    assert server.bill() == []
