"""Suno songs on the simulator, over a real socket: each way to make one, and exactly what it costs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from songflow.catalog.manifest import read_manifest
from songflow.errors import InputError, OutcomeUnknown
from songflow.families.registry import parse_request
from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import adopt, rescue
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session

WORDS = "[Verse]\nWalking down the streets\nBeneath the city lights"

Make = Callable[..., Awaitable[GenerationResult]]


def bodies(server: Any) -> list[dict[str, Any]]:
    """The bodies on the simulator's bill."""
    return [entry.body for entry in server.bill()]


def downloads(server: Any) -> dict[str, int]:
    """The answers to downloads, by kind."""
    answered: dict[str, int] = httpx.get(f"{server.url}/_simulator/requests").json()["downloads"]["answered"]
    return answered


@pytest.mark.parametrize("gateway", ["cometapi", "openai-hk"])
async def test_an_idea_becomes_two_songs_for_one_price(
    gateway: str, simulator: Any, access: Any, session: Any
) -> None:
    """At both gateways: the documented body, one entry on the bill, and no song is fetched while it is streamed."""
    server, opened = simulator(speed=60.0), await session()
    account = access(server.url, gateway, key="hk-any")
    request = parse_request({"prompt": "a cat on a roof", "model_type": "chirp-auk"})
    result = await generate_in(opened, request, account, key="cat")
    again = await generate_in(opened, request, account, key="cat")
    assert bodies(server) == [{"mv": "chirp-auk", "gpt_description_prompt": "a cat on a roof"}]
    assert (server.bill()[0].price, result.price, again.generation_id) == (1, 1.0, result.generation_id)
    assert downloads(server) == {"200": 2}
    assert all(song.path and Path(song.path).stat().st_size for song in result.songs)
    rows = (await read_manifest(opened.library.ledger)).to_dict("records")
    assert [
        (row["request.model_type"], row["request.lyrics_type"], row["song_state"], row["gateway"])
        for row in rows
    ] == [("chirp-auk", "generate", "stored", gateway)] * 2


async def test_words_of_ones_own_are_sung_in_a_style_and_an_instrumental_has_none(
    simulator: Any, access: Any, session: Any
) -> None:
    """Two requests, two prices; the title is the one that was given."""
    server, opened = simulator(), await session()
    own = {"prompt": "emotional punk", "lyrics": WORDS, "title": "City Lights", "negative_prompt": "dance"}
    sung = await generate_in(
        opened, parse_request({**own, "model_type": "chirp-crow"}), access(server.url), key="sung"
    )
    quiet = {"prompt": "a slow waltz", "lyrics_type": "instrumental", "model_type": "chirp-v4"}
    played = await generate_in(opened, parse_request(quiet), access(server.url), key="played")
    assert bodies(server) == [
        {
            "prompt": WORDS,
            "tags": "emotional punk",
            "mv": "chirp-crow",
            "title": "City Lights",
            "negative_tags": "dance",
        },
        {
            "mv": "chirp-v4",
            "gpt_description_prompt": "a slow waltz",
            "prompt": "",
            "make_instrumental": True,
        },
    ]
    assert [song.title for song in sung.songs] == ["City Lights"] * 2
    assert sum(entry.price for entry in server.bill()) == sung.price + played.price == 2
    lyrics = [song.lyrics for song in await opened.library.ledger.songs.of_key("sung")]
    assert lyrics == [WORDS] * 2


async def test_a_model_that_the_gateway_does_not_sell_is_refused_before_anything_is_sent(
    simulator: Any, access: Any, session: Any, posts: Any
) -> None:
    """The gateways that sell it are named; a gateway of the user's own sells no Suno at all."""
    server, opened = simulator(), await session()
    request = parse_request({"prompt": "a cat", "model_type": "chirp-auk-turbo"})
    with pytest.raises(InputError, match="cometapi does not sell chirp-auk-turbo") as caught:
        await generate_in(opened, request, access(server.url, "cometapi", key="any"), key="one")
    assert "sells chirp-auk-turbo (openai-hk, simulator);" in str(caught.value.next)
    with pytest.raises(InputError, match="custom does not sell suno") as caught:
        await generate_in(opened, request, access(server.url, "shape-b"), key="two")
    assert (caught.value.exit_code, posts(server)) == (2, 0)


async def test_an_error_behind_a_success_is_unknown_and_rescue_names_the_first_id(
    simulator: Any, access: Any, session: Any
) -> None:
    """The relay answers with two JSON documents if it cannot store the task that it has paid for."""
    answer = '{"code":"success","message":"","data":"task_1"}{"code":"insert_task_failed","message":"","data":null}'
    server, opened = simulator({"fault": "non_json_2xx", "body": answer}), await session()
    request = parse_request({"prompt": "a cat", "model_type": "chirp-auk"})
    with pytest.raises(OutcomeUnknown):
        await generate_in(opened, request, access(server.url), key="cat")
    (left,) = await rescue(opened)
    assert left.answer is not None
    assert (left.state, left.answer.candidate_ids) == ("unknown", ("task_1",))


async def test_a_lost_answer_is_unknown_until_a_person_adopts_its_task(
    simulator: Any, access: Any, session: Any
) -> None:
    """Paid once, never sent again by itself, and collected under the id that the gateway's own log shows."""
    server = simulator({"fault": "lost_answer"})
    account = access(server.url)

    async def resolve(_: object) -> Any:
        return account

    opened: Session = await session(resolver=resolve)
    request = parse_request({"prompt": "a cat", "model_type": "chirp-auk"})
    with pytest.raises(OutcomeUnknown):
        await generate_in(opened, request, account, key="cat")
    with pytest.raises(OutcomeUnknown):
        await generate_in(opened, request, account, key="cat")
    (left,) = await rescue(opened)
    (paid,) = server.bill()
    assert (left.state, left.billed) == ("unknown", "maybe")
    adopted = await adopt(opened, paid.generation_id)
    assert (adopted.state, adopted.billed, len(server.bill())) == ("succeeded", "yes", 1)
    assert all(song.path for song in adopted.songs)
