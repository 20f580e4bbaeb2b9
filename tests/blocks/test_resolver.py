"""Blocks by name, and accounts by the ledger's aliases."""

from __future__ import annotations

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from blocks import CometAPICredentials, OpenAIHKCredentials, SimulatorCredentials
from blocks.resolver import load_credentials, resolve_access
from songflow.errors import MissingCredentials
from songflow.families.udio import SongRequest
from songflow.generation.lifecycle import generate_in
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]

KEY = "sk-never-show-me-0123456789abcdef"


async def test_a_name_or_a_type_and_a_name_find_a_block():
    await CometAPICredentials(api_key=KEY).asave("only-one", overwrite=True)
    for reference in ("only-one", "cometapi-credentials/only-one", "block:cometapi-credentials/only-one"):
        block = await load_credentials(reference)
        assert isinstance(block, CometAPICredentials)
        assert block.alias == "block:cometapi-credentials/only-one"


async def test_a_name_of_two_blocks_needs_its_type():
    await CometAPICredentials(api_key=KEY).asave("both", overwrite=True)
    await OpenAIHKCredentials(api_key=KEY).asave("both", overwrite=True)
    with pytest.raises(MissingCredentials, match="cometapi-credentials/both, openai-hk-credentials/both"):
        await load_credentials("both")
    assert isinstance(await load_credentials("openai-hk-credentials/both"), OpenAIHKCredentials)


async def test_an_unknown_block_is_an_error_that_lists_the_saved_ones():
    await CometAPICredentials(api_key=KEY).asave("known", overwrite=True)
    with pytest.raises(
        MissingCredentials, match=r"no credentials block 'unknown'.*cometapi-credentials/known"
    ):
        await load_credentials("unknown")


async def test_without_a_prefect_api_the_error_says_so():
    settings = {PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(settings), pytest.raises(MissingCredentials, match="Prefect API does not answer"):
        await load_credentials("any")


async def made(here, access):
    """A submission that this access took."""
    async with Session(here.library.get_settings(), SessionSettings(poll_interval=0.1)) as session:
        result = await generate_in(session, SongRequest(prompt="x"), access, key="k")
        return (await session.library.ledger.submissions.of_key(result.key))[0]


async def test_the_alias_in_the_ledger_finds_the_account_again(studio):
    here = studio()
    block = here.credentials
    await block.asave("taker", overwrite=True)
    submission = await made(here, block.get_access())
    found = await resolve_access(submission)
    assert found is not None
    assert (found.account.secret, found.account.base_url) == (here.secret, here.simulator.url)


async def test_a_changed_blocks_key_is_not_sent_to_the_old_address(studio):
    here = studio()
    await here.credentials.asave("mover", overwrite=True)
    submission = await made(here, (await SimulatorCredentials.aload("mover")).get_access())
    await SimulatorCredentials(base_url="https://elsewhere.example", api_key=KEY).asave(
        "mover", overwrite=True
    )
    assert await resolve_access(submission) is None


async def test_accounts_without_a_block_are_found_in_the_environment(studio, monkeypatch):
    here = studio()
    submission = await made(here, here.credentials.get_access())
    assert submission.account == "block:song-simulator-credentials/unsaved"
    assert await resolve_access(submission) is None
