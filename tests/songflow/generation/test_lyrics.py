"""Lyrics on the simulator: paid for once as songs are, kept in the ledger, and no songs themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.room import room_songs

import songflow
from songflow.catalog.manifest import read_manifest
from songflow.errors import GenerationFailed, InputError, InvalidRequest, OutcomeUnknown
from songflow.families.registry import models, parse_request, priced_models, request_of
from songflow.generation import lifecycle
from songflow.generation.lifecycle import generate_in
from songflow.generation.lyrics import LyricsResult, request_for
from songflow.generation.rescue import rescue
from songflow.generation.session_settings import SessionSettings
from songflow.ledger import State

PROMPT = "a harbour at night"
RELAY = {"prompt": PROMPT}


@pytest.mark.parametrize(
    ("gateway", "body", "texts"),
    [
        ("cometapi", RELAY, 1),
        ("openai-hk", RELAY, 1),
        ("kie", {"prompt": PROMPT, "callBackUrl": "https://callback.invalid/"}, 2),
        ("sunoapi", {"prompt": PROMPT, "callBackUrl": "https://callback.invalid/"}, 2),
        ("piapi", {"model": "music-u", "task_type": "generate_lyrics", "input": RELAY}, 1),
    ],
)
async def test_each_gateway_is_asked_in_its_own_way_and_the_texts_are_no_songs(
    simulator: Any, access: Any, session: Any, gateway: str, body: dict[str, Any], texts: int
) -> None:
    """One price for all texts of a request; the same key returns them again without another request."""
    server, opened = simulator(), await session()
    account = access(server.url, gateway)
    request = request_for(PROMPT, account)
    result = LyricsResult.of(await generate_in(opened, request, account, key="words"))
    (billed,) = server.bill()
    assert (billed.body, billed.price) == (body, 0.1)
    assert (result.state, result.billed, result.price, len(result.lyrics)) == ("succeeded", "yes", 0.1, texts)
    for one in result.lyrics:
        assert one.text.startswith("[Verse]\n")
        assert one.title == f"{PROMPT} (simulated)"
    again = LyricsResult.of(await generate_in(opened, request, account, key="words"))
    assert (again, len(server.bill())) == (result, 1)
    assert (await read_manifest(opened.library.ledger)).empty
    assert await room_songs(opened.library) == []
    assert (await opened.library.ledger.money.balance()).spent == pytest.approx(0.1)
    assert await rescue(opened, account) == []


async def test_a_lost_answer_is_never_paid_for_twice_and_a_failure_is_one(
    simulator: Any, access: Any, session: Any
) -> None:
    """Lyrics go through the same paid step as songs."""
    server = simulator({"fault": "lost_answer"}, {"fault": "moderated", "skip": 0})
    opened, account = await session(), access(server.url)
    request = request_for(PROMPT, account)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await generate_in(opened, request, account, key="lost")
    assert len(server.bill()) == 1
    with pytest.raises(GenerationFailed, match="moderation"):
        await generate_in(opened, request_for("another theme", account), account, key="failed")
    assert len(server.bill()) == 2


async def test_rescue_collects_texts_of_a_dead_process(
    simulator: Any, access: Any, session: Any, die: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it found is the text itself."""
    server, opened = simulator(), await session()
    account = access(server.url)

    class Killed(BaseException):
        pass

    async def dies(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(lifecycle, "wait", dies)
    with pytest.raises(Killed):
        await generate_in(opened, request_for(PROMPT, account), account, key="words")
    monkeypatch.undo()
    await die(opened)
    (found,) = await rescue(opened, account)
    (text,) = found.as_dict()["songs"]
    assert (found.key, found.error, found.state) == ("words", None, State.SUCCEEDED)
    assert text["text"].startswith("[Verse]\n")
    assert await rescue(opened, account) == []


async def test_a_gateway_without_lyrics_and_a_wrong_request_send_nothing(
    simulator: Any, access: Any, session: Any, posts: Any
) -> None:
    """The message names the gateways that write lyrics."""
    server, opened = simulator(), await session()
    account = access(server.url, "shape-c")
    with pytest.raises(InputError, match="custom does not sell lyrics") as refused:
        await generate_in(opened, request_for(PROMPT, account), account, key="words")
    assert "choose a gateway that sells lyrics (cometapi, openai-hk, kie, " in str(refused.value.next)
    piapi = access(server.url, "piapi")
    with pytest.raises(InputError, match="piapi does not sell suno-lyrics"):
        await generate_in(opened, request_for(PROMPT, piapi, "suno-lyrics"), piapi, key="words")
    for prompt, model in ((" ", None), ("a theme", "chirp-auk")):
        with pytest.raises(InvalidRequest):
            request_for(prompt, piapi, model)
    assert posts(server) == 0


def test_lyrics_have_a_price_and_are_no_model_of_songs() -> None:
    """Nobody can ask for songs of them."""
    assert {"suno-lyrics", "udio-lyrics"} <= priced_models().keys() - models().keys()
    with pytest.raises(InvalidRequest, match="model_type"):
        parse_request({"prompt": "a song", "model_type": "suno-lyrics"})
    body = {"lyrics": {"prompt": PROMPT, "model_type": "udio-lyrics"}}
    assert request_of(body).body() == body


async def test_python_writes_lyrics_without_a_key_and_feeds_a_song(tmp_path: Path) -> None:
    """On the built-in simulator."""
    quick = {
        "library": tmp_path / "songs",
        "settings": SessionSettings(embedded_speed=250.0, clip_seconds=0.25),
        "waiting": {"poll_interval": 0.02},
    }
    written = await songflow.generate_lyrics(PROMPT, **quick)
    assert written.simulated
    sung = await songflow.generate("slow folk", lyrics=written.text, **quick)
    frame = await songflow.manifest(tmp_path / "songs")
    assert frame["request.lyrics"].tolist() == [written.text] * len(sung.songs)
