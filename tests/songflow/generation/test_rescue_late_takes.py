"""Takes that a gateway lists after the end are paid for, too: rescue looks for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import rescue


@pytest.mark.parametrize("dialect", ["openai-hk", "cometapi"])
async def test_a_take_listed_after_the_end_is_collected(
    simulator, access, session, song_request, play, dialect: str
) -> None:
    """The generation had ended with one song; another poll is free and brings the other."""
    server, opened = simulator({"fault": "one_take_only"}), await session()
    way = access(server.url, dialect)
    result = await generate_in(opened, song_request(), way, key="key")
    assert len(result.songs) == 1
    assert await rescue(opened, way) == []
    play(server)
    (found,) = await rescue(opened, way)
    assert [Path(song.path).is_file() for song in found.songs] == [True, True]
    assert found.songs[0] == result.songs[0]
    assert (found.exit_code, len(server.bill())) == (0, 1)
    assert await rescue(opened, way) == []


async def test_a_stored_song_stays_stored_if_late_takes_cannot_be_listed(
    simulator, access, session, song_request
) -> None:
    """Neither an unreachable gateway nor a missing key is an error for a song that is stored."""
    server, opened = simulator({"fault": "one_take_only"}), await session()
    await generate_in(opened, song_request(), access(server.url), key="key")
    server.stop()
    assert await rescue(opened, access(server.url)) == []
    assert await rescue(opened) == []


async def test_a_stored_song_has_not_failed_though_the_gateway_later_says_that_every_take_did(
    simulator, access, session, song_request, play, monkeypatch
) -> None:
    """Nobody is told of a failure."""
    server, opened = simulator({"fault": "one_take_only"}), await session()
    way, told = access(server.url), []
    result = await generate_in(opened, song_request(), way, key="key")
    monkeypatch.setattr(type(opened.events), "emit", lambda _, event: told.append(event))
    play(server, {"fault": "all_takes_fail", "times": None})
    assert await rescue(opened, way) == []
    assert told == []
    assert (await opened.library.ledger.songs.of_key("key"))[0].path == result.songs[0].path
