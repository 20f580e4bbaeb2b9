"""Gateway and account of an extension: those that have its source."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

import songflow
from songflow.accounts import EMBEDDED_URL
from songflow.errors import InputError, InvalidRequest, MissingCredentials
from songflow.generation.extensions import find_parent, plan_extension
from songflow.generation.lifecycle import generate_in
from songflow.ledger import schema


@pytest.fixture
def make(song_request: Any) -> Any:
    """Makes the two songs of a generation."""

    async def songs(opened: Any, account: Any, key: str = "core", **fields: Any) -> Any:
        return await generate_in(opened, song_request(**fields), account, key=key)

    return songs


async def test_a_parent_is_found_with_its_request_and_its_submission(
    session: Any, simulator: Any, access: Any, make: Any
) -> None:
    """Its row, its submission and its request."""
    server, opened = simulator(), await session()
    made = await make(opened, access(server.url, "cometapi", key="k"), seed=7, lyrics="la")
    parent = await find_parent(opened, made.songs[1].song_id)
    assert (parent.song.take, parent.submission.gateway) == (1, "cometapi")
    assert parent.submission.base_url == server.url
    assert (parent.request.seed, parent.request.lyrics) == (7, "la")


async def test_an_unknown_parent_is_refused_by_its_id(session: Any) -> None:
    """The error also explains how to extend a song that only the gateway has."""
    with pytest.raises(InputError, match=r"no song 'nowhere'.*--gateway and --prompt"):
        await find_parent(await session(), "nowhere")


async def test_a_failed_take_cannot_be_extended(session: Any, simulator: Any, access: Any, make: Any) -> None:
    """The other take can."""
    server, opened = simulator({"fault": "one_take_fails", "take": 1}), await session()
    made = await make(opened, access(server.url))
    with pytest.raises(InputError, match="failed at the gateway"):
        await find_parent(opened, made.songs[0].song_id)
    assert (await find_parent(opened, made.songs[1].song_id)).song.take == 1


async def test_the_account_selects_among_two_gateways_with_the_same_song_id(
    session: Any, simulator: Any, access: Any, make: Any
) -> None:
    """Without an account, the id is refused and both are named."""
    server, opened = simulator(), await session()
    first, second = access(server.url, "cometapi", key="k"), access(server.url, "openai-hk", key="k")
    made = await make(opened, first)
    await _also_at(opened, second, made, make)
    song_id = made.songs[0].song_id
    with pytest.raises(InputError, match=r"Several gateways.*cometapi.*openai-hk"):
        await find_parent(opened, song_id)
    for account in (first, second):
        parent = await find_parent(opened, song_id, account)
        assert parent.submission.gateway == account.gateway
    async with opened.library.ledger.database.write("test") as connection:
        table, built_in = schema.submissions, {"gateway": "simulator", "base_url": EMBEDDED_URL}
        await connection.execute(update(table).where(table.c.key == "other").values(built_in))
    with pytest.raises(InputError, match=r"Several gateways.*cometapi.*the built-in simulator"):
        await find_parent(opened, song_id)


async def test_a_parent_is_looked_up_within_the_gateway_of_the_account(
    session: Any, simulator: Any, access: Any, make: Any
) -> None:
    """Where its gateway's song of this id has failed, another gateway's is not taken for it."""
    server, opened = simulator(), await session()
    first, second = access(server.url, "cometapi", key="k"), access(server.url, "openai-hk", key="k")
    made = await make(opened, first)
    await _also_at(opened, second, made, make)
    song_id = made.songs[0].song_id
    at_second = (await opened.library.ledger.submissions.of_key("other"))[0].id
    async with opened.library.ledger.database.write("test") as connection:
        songs = schema.songs
        await connection.execute(
            update(songs).where(songs.c.submission_id == at_second).values(state="failed", error="moderated")
        )
    with pytest.raises(InputError, match=r"failed at the gateway \(moderated\)"):
        await find_parent(opened, song_id, second)
    assert (await find_parent(opened, song_id, first)).submission.gateway == "cometapi"


async def _also_at(opened: Any, account: Any, made: Any, make: Any) -> None:
    """Another generation whose songs have the same ids."""
    other = await make(opened, account, key="other", prompt="another")
    async with opened.library.ledger.database.write("test") as connection:
        for mine, theirs in zip(made.songs, other.songs, strict=True):
            table = schema.songs
            await connection.execute(
                update(table).where(table.c.song_id == theirs.song_id).values(song_id=mine.song_id)
            )


async def test_without_an_account_the_parents_account_pays(
    session: Any, simulator: Any, access: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its stored name, with its current key."""
    server, opened = simulator(), await session()
    made = await make(opened, access(server.url, "openai-hk", key="old", alias="env:OPENAI_HK_KEY"))
    monkeypatch.setenv("OPENAI_HK_KEY", "new")
    planned = await plan_extension(opened, made.songs[0].song_id, place="intro")
    assert (planned.access.gateway, planned.access.account.base_url) == ("openai-hk", server.url)
    assert (
        planned.access.account.fingerprint == access(server.url, "openai-hk", key="new").account.fingerprint
    )
    assert planned.parent is not None
    assert planned.request.prompt == planned.parent.request.prompt


async def test_a_missing_key_of_the_parents_account_is_an_error_that_names_it(
    session: Any, simulator: Any, access: Any, make: Any
) -> None:
    """Nothing is sent without the key."""
    server, opened = simulator(), await session()
    made = await make(opened, access(server.url, "openai-hk", key="old", alias="env:OPENAI_HK_KEY"))
    with pytest.raises(MissingCredentials, match=r"no key for its account 'env:OPENAI_HK_KEY'"):
        await plan_extension(opened, made.songs[0].song_id)
    assert len(server.bill()) == 1


async def test_another_gateway_cannot_extend_a_song_even_as_a_fallback(
    session: Any, simulator: Any, access: Any, make: Any
) -> None:
    """It does not have the song; another account of the same gateway is allowed."""
    server, opened = simulator(), await session()
    mine = access(server.url, "cometapi", key="k")
    made = await make(opened, mine)
    song_id = made.songs[0].song_id
    other = access(server.url, "openai-hk", key="k")
    with pytest.raises(InputError, match=r"is at cometapi .* openai-hk .* cannot extend it"):
        await plan_extension(opened, song_id, other)
    with pytest.raises(InputError, match="fallback must be at the same gateway"):
        await plan_extension(opened, song_id, mine, fallbacks=[other])
    second = access(server.url, "cometapi", key="another", alias="second")
    planned = await plan_extension(opened, song_id, second, fallbacks=[mine])
    assert planned.access is second


async def test_a_bare_id_needs_a_gateway_and_a_prompt(session: Any, access: Any) -> None:
    """It has no parent in the ledger, and a fallback at another gateway does not have the song either."""
    opened, account = await session(), access("http://127.0.0.1:9", "cometapi", key="k")
    planned = await plan_extension(opened, "bare", account, mode="precede", overrides={"prompt": "father"})
    assert planned.parent is None
    assert planned.access is account
    with pytest.raises(InvalidRequest, match="prompt is required"):
        await plan_extension(opened, "bare", account)
    with pytest.raises(InputError, match="no song 'bare' in this library"):
        await plan_extension(opened, "bare", overrides={"prompt": "father"})
    with pytest.raises(InputError, match="cannot extend it"):
        await plan_extension(
            opened,
            "bare",
            account,
            overrides={"prompt": "father"},
            fallbacks=[access("http://127.0.0.1:9", "openai-hk", key="k")],
        )


@pytest.mark.parametrize("dialect", ["cometapi", "openai-hk"])
async def test_an_extension_is_made_from_plain_python(
    session: Any, simulator: Any, access: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """The gateway bills the planned body, and the songs have their parent."""
    server = simulator()
    for variable in ("COMETAPI_KEY", "OPENAI_HK_KEY"):
        monkeypatch.setenv(variable, "k")
    here = {"library": str(tmp_path / "songs"), "waiting": {"poll_interval": 0.02}}
    core = await songflow.generate("mother", account={"gateway": dialect, "base_url": server.url}, **here)
    longer = await songflow.extend(
        core.songs[1].song_id, placement={"mode": "precede"}, prompt="father", **here
    )
    assert len(longer.stored) == 2
    assert longer.songs[0].duration == pytest.approx(0.5, abs=0.02)
    bodies = [entry.body["gen_params"] for entry in server.bill()]
    assert bodies[1]["config"] == {
        "mode": "precede",
        "context_length": 130,
        "source": {"source_type": "song", "song_id": core.songs[1].song_id},
    }
    assert {entry.dialect for entry in server.bill()} == {dialect}
