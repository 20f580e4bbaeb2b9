"""Accounts from a gateway's name, the environment or a stored submission, and their use in a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from songflow.accounts import (
    EMBEDDED_URL,
    Access,
    access_from_environment,
    at_url,
    resolve_from_environment,
    that_took,
)
from songflow.errors import InputError, LibraryError, MissingCredentials, RequestRefused
from songflow.families.udio import MODELS
from songflow.gateways import Dialect
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PaidRequest, PayingPolicy
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.generation.submit import submit_once
from songflow.polling.loop import Fixed, default_deadline
from songflow.settings import LibrarySettings

CUSTOM = {"base_url": "https://my.example/", "submit_path": "/go", "fetch_path": "/ask/{id}", "shape": "c"}


def settings_of(dialect: Dialect) -> tuple[str, ...]:
    settings = dialect.services["udio"].settings
    return tuple(settings[name] for name in ("submit_path", "fetch_path", "shape"))


def test_without_a_gateway_name_the_embedded_simulator_is_used() -> None:
    """No key, no address, no cost."""
    found = access_from_environment()
    assert (found.is_embedded, found.gateway, found.account.base_url) == (True, "simulator", EMBEDDED_URL)
    assert found.account.secret is None


def test_a_simulator_with_an_address_is_not_the_embedded_one() -> None:
    """It is used like any other gateway."""
    found = access_from_environment("simulator", "http://127.0.0.1:9/")
    assert (found.is_embedded, found.account.base_url) == (False, "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("gateway", "variable"),
    [
        ("cometapi", "COMETAPI_KEY"),
        ("openai-hk", "OPENAI_HK_KEY"),
        ("cometapi", "SONGFLOW_API_KEY"),
        ("openai-hk", "SONGFLOW_API_KEY"),
    ],
)
def test_a_key_is_read_from_the_gateways_variable_or_the_common_one(
    monkeypatch: pytest.MonkeyPatch, gateway: str, variable: str
) -> None:
    """The alias names the variable; white space around a key is removed."""
    monkeypatch.setenv(variable, " sk-key\n")
    found = access_from_environment(gateway)
    assert (found.account.secret, found.account.alias) == ("sk-key", f"env:{variable}")
    assert found.account.base_url.startswith("https://api.")


def test_the_gateways_variable_outranks_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The common one is for users of a single gateway."""
    monkeypatch.setenv("SONGFLOW_API_KEY", "common")
    monkeypatch.setenv("COMETAPI_KEY", "own")
    assert access_from_environment("cometapi").account.secret == "own"


def test_a_missing_key_is_an_error_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """It also mentions the simulator; a blank variable is not a key."""
    monkeypatch.setenv("COMETAPI_KEY", "  ")
    with pytest.raises(MissingCredentials) as caught:
        access_from_environment("cometapi")
    assert "COMETAPI_KEY" in caught.value.next
    assert "built-in simulator" in caught.value.next


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"gateway": "udio"}, "There is no gateway 'udio'"),
        ({"gateway": "custom"}, "needs a base URL"),
        ({"gateway": "custom", **CUSTOM, "shape": "z"}, "shape must be one of"),
        ({"gateway": "custom", **CUSTOM, "fetch_path": "/ask"}, "fetch_path must hold"),
        ({"gateway": "openai-hk", "base_url": "ftp://x"}, "must look like https"),
    ],
)
def test_an_invalid_gateway_is_an_input_error(
    monkeypatch: pytest.MonkeyPatch, arguments, problem: str
) -> None:
    """Exit 2; the message names the fault and the allowed values."""
    monkeypatch.setenv("SONGFLOW_API_KEY", "key")
    with pytest.raises(InputError, match=problem) as caught:
        access_from_environment(**arguments)
    assert caught.value.exit_code == 2
    assert "nothing was sent" in caught.value.next


def test_a_key_that_no_header_can_carry_is_an_input_error_without_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line break inside a key is a copying mistake."""
    monkeypatch.setenv("COMETAPI_KEY", "sk-se\nsame")
    with pytest.raises(InputError, match="white space") as caught:
        access_from_environment("cometapi")
    assert "same" not in str(caught.value)


def test_a_custom_gateway_has_the_relays_paths_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A base URL is enough for a usual relay."""
    monkeypatch.setenv("SONGFLOW_API_KEY", "key")
    full = access_from_environment("custom", **CUSTOM).account.dialect
    assert settings_of(full) == ("/go", "/ask/{id}", "C")
    usual = access_from_environment("custom", "https://my.example").account.dialect
    assert settings_of(usual) == ("/udio/submit/music", "/udio/fetch/{id}", "B")


def test_an_account_has_its_own_prices(song_request) -> None:
    """By model; models without one have the published price."""
    long = song_request(model_type="udio130-v1.5")
    plain = access_from_environment()
    assert (plain.price_of(song_request()), plain.price_of(long)) == (1.0, 2.0)
    dear = Access(plain.account, {"udio32-v1.5": 0.05})
    assert (dear.price_of(song_request()), dear.price_of(long)) == (0.05, MODELS["udio130-v1.5"].price)


def test_an_account_can_be_moved_to_another_address() -> None:
    """To the live address of the embedded simulator, for example."""
    assert at_url(access_from_environment(), "http://127.0.0.1:9").base_url == "http://127.0.0.1:9"


@pytest.fixture
def stored(simulator, access, session, song_request):
    """A submission of this account."""

    async def make(dialect: str, alias: str, url: str | None = None):
        opened = await session(embedded_speed=250.0, clip_seconds=0.25)
        way = access(url or simulator().url, dialect, alias=alias)
        return await submit_once(opened, PaidRequest(song_request(), "key"), way)

    return make


async def test_the_account_of_a_submission_is_restored_from_the_environment(
    stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its gateway, its address and the current key."""
    submission = await stored("openai-hk", "env:OPENAI_HK_KEY")
    assert await resolve_from_environment(submission) is None
    monkeypatch.setenv("OPENAI_HK_KEY", "key")
    found = await resolve_from_environment(submission)
    assert found.took(submission)
    assert (found.account.secret, found.account.alias) == ("key", "env:OPENAI_HK_KEY")


async def test_a_stored_custom_gateway_keeps_its_paths_and_shape(
    stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger stores them."""
    submission = await stored("shape-d", "env:SONGFLOW_API_KEY")
    monkeypatch.setenv("SONGFLOW_API_KEY", "key")
    found = await resolve_from_environment(submission)
    assert settings_of(found.account.dialect)[1:] == ("/shape-d/fetch/{id}", "D")


async def test_a_blocks_account_is_not_replaced_by_a_key_of_the_environment(
    stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key in the environment may belong to another person."""
    monkeypatch.setenv("OPENAI_HK_KEY", "key")
    assert await resolve_from_environment(await stored("openai-hk", "block:mine")) is None


async def test_simulator_accounts_need_no_key(stored) -> None:
    """Neither the embedded one nor one at an address."""
    assert (await resolve_from_environment(await stored("simulator", "env:SONGFLOW_API_KEY"))) is not None


async def test_the_embedded_simulators_account_is_restored_without_a_key(stored) -> None:
    """It has neither a fixed address nor a key."""
    found = await resolve_from_environment(await stored("simulator", "simulator", EMBEDDED_URL))
    assert found.is_embedded


# --- sessions ---------------------------------------------------------------------------------------------


async def test_an_unusable_library_opens_no_session(tmp_path: Path) -> None:
    """Nothing is left open."""
    (tmp_path / "library").write_text("a file where the folder should be")
    with pytest.raises(LibraryError):
        async with Session(LibrarySettings(tmp_path / "library")):
            raise AssertionError("it opened")


async def test_a_session_has_one_connection_per_account(session, access) -> None:
    """Two keys of a gateway are two accounts; the same one is opened once."""
    opened = await session()
    one, two = access("http://127.0.0.1:9", key="one"), access("http://127.0.0.1:9", key="two")
    assert await opened.gateways.get(one) is await opened.gateways.get(one)
    assert await opened.gateways.get(one) is not await opened.gateways.get(two)


async def test_the_poll_interval_is_the_users_or_scaled_to_the_gateways_time(
    session, access, song_request
) -> None:
    """The embedded simulator's time runs faster, so it is polled more often."""
    real, request = access("http://127.0.0.1:9"), song_request()
    assert await (await session(poll_interval=3.0)).polling.schedule(real, request) == Fixed(3.0, jitter=0.0)
    opened = await session(poll_interval=None, embedded_speed=50.0)
    assert await opened.polling.schedule(real, request) == Fixed(5.0)
    assert await opened.polling.schedule(access_from_environment(), request) == Fixed(0.1)


async def test_the_deadline_is_the_users_or_that_of_the_model(session) -> None:
    """The user's comes first."""
    model = MODELS["udio130-v1.5"]
    assert (await session(deadline=7.0)).polling.deadline(model) == 7.0
    assert (await session(deadline=None)).polling.deadline(model) == default_deadline(130.0)


@pytest.mark.parametrize(
    ("base_url", "private"),
    [
        ("http://127.0.0.1:9", True),
        ("http://localhost:9", True),
        (EMBEDDED_URL, True),
        ("http://93.184.216.34", False),
        ("http://no-such-host.invalid", False),
    ],
)
async def test_private_download_addresses_need_a_private_gateway(
    session, base_url: str, private: bool
) -> None:
    """A public gateway cannot make us fetch from our own network."""
    downloads = await (await session()).downloads(base_url)
    assert downloads._allow_private is private


def test_session_settings_have_their_documented_defaults() -> None:
    """Four repeats within a minute, and two minutes for a POST."""
    settings = SessionSettings()
    assert (settings.retries, settings.repeat_within, settings.submit_timeout) == (4, 60.0, 120.0)


async def test_of_two_accounts_the_one_that_took_the_submission_is_used(
    simulator, access, session, song_request
) -> None:
    """Even if both have one alias, as unsaved blocks do; after a change of key, by the gateway."""
    server, opened = simulator(), await session()
    first, second, elsewhere = (
        access(server.url, key="sk-first"),
        access(server.url, key="sk-second"),
        access("http://127.0.0.1:9", key="sk-second"),
    )
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), second)
    assert that_took((first, second), submission) is second
    assert that_took((elsewhere, first), submission) is first
    assert that_took((elsewhere,), submission) is None


async def test_an_extension_is_never_sent_to_a_gateway_without_the_source(
    simulator, access, session, song_request, posts
) -> None:
    """The song's own gateway refuses; a fallback elsewhere is not tried."""
    refusing = simulator({"fault": "status", "on": "submit", "status": 403, "times": None})
    other, opened = simulator(), await session()
    request = song_request(mode="continuation", source_song_id="song-1", song_section_start=0.9)
    with pytest.raises(RequestRefused):
        await generate_in(
            opened,
            request,
            access(refusing.url),
            key="key",
            policy=PayingPolicy(fallbacks=(access(other.url),)),
        )
    assert (posts(refusing), posts(other)) == (1, 0)
    await generate_in(
        opened,
        song_request(),
        access(refusing.url),
        key="core",
        policy=PayingPolicy(fallbacks=(access(other.url),)),
    )
    assert (posts(refusing), posts(other)) == (2, 1)
