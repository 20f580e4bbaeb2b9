"""Credentials blocks: complete, validated, and without visible keys."""

from __future__ import annotations

import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_UI_URL, temporary_settings
from prefect.testing.standard_test_suites import BlockStandardTestSuite
from pydantic import ValidationError

import blocks
from blocks import (
    CometAPICredentials,
    CustomGatewayCredentials,
    InstalledGatewayCredentials,
    OpenAIHKCredentials,
    SimulatorCredentials,
    SongLibrary,
)
from songflow.errors import InputError
from songflow.gateways import FetchProblem, FetchProblemKind

KEY = "sk-never-show-me-0123456789abcdef"
ALL = [getattr(blocks, name) for name in blocks.__all__]
on_a_server = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]


@pytest.mark.parametrize("block", ALL, ids=lambda block: block.__name__, indirect=True)
class TestEveryBlock(BlockStandardTestSuite):
    @pytest.fixture
    def block(self, request: pytest.FixtureRequest) -> type[Block]:
        block: type[Block] = request.param
        return block

    def test_has_a_valid_image(self, block: type[Block]) -> None:
        """It is Prefect's own icon; tests/browser shows that browsers get it."""
        with temporary_settings({PREFECT_UI_URL: "https://prefect.example/studio/"}):
            assert str(block._logo_url) == "https://prefect.example/studio/ico/android-chrome-192x192.png"

    def test_has_a_documentation_url(self, block: type[Block]) -> None:
        """No link at all, since no address of the documentation is certain."""
        assert block._documentation_url is None

    def test_is_found_by_a_search_for_song(self, block: type[Block]) -> None:
        assert "song" in block.get_block_type_name().lower()


@pytest.mark.parametrize("block", [one for one in ALL if one is not SongLibrary])
def test_a_form_of_credentials_begins_with_the_key(block: type[Block]) -> None:
    properties = block.model_json_schema()["properties"]
    assert next(iter(properties)) == "api_key"


@pytest.mark.parametrize(
    ("block", "fields", "text"),
    [
        (CometAPICredentials, {"base_url": "ftp://api.example"}, "must look like https://"),
        (
            CometAPICredentials,
            {"base_url": f"https://user:{KEY}@api.example"},
            "must not hold a user or password",
        ),
        (OpenAIHKCredentials, {"api_key": f"{KEY}\n"}, "was a line break copied"),
        (OpenAIHKCredentials, {"api_key": ""}, "key is empty"),
        (OpenAIHKCredentials, {"prices": {"udio32-v1.5": -1}}, "must be a number from 0"),
        (OpenAIHKCredentials, {"prices": {"udio32": 1}}, "there is no model 'udio32'"),
        (
            CustomGatewayCredentials,
            {"base_url": "https://x.example", "fetch_path": "/f"},
            "must hold {id} or {ids}",
        ),
        (CustomGatewayCredentials, {"base_url": "https://x.example", "shape": "E"}, "Input should be 'A'"),
        (SimulatorCredentials, {"base_url": "localhost:8000"}, "must look like https://"),
        (InstalledGatewayCredentials, {"gateway": "gone"}, "no gateway 'gone' is installed here"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_wrong_values_are_refused_without_showing_the_key(block, fields, text):
    with pytest.raises(ValidationError) as refused:
        block(**{"api_key": KEY, **fields})
    assert text in str(refused.value)
    assert KEY not in str(refused.value)
    assert KEY not in repr(refused.value)


def test_a_block_is_an_account_with_prices():
    access = CometAPICredentials(api_key=KEY, prices={"udio32-v1.5": 3}, refunds_failed=True).get_access()
    assert access.refunds_failed
    assert not CometAPICredentials(api_key=KEY).get_access().refunds_failed
    assert access.gateway == "cometapi"
    assert access.account.base_url == "https://api.cometapi.com"
    assert access.account.secret == KEY
    assert access.account.alias == "block:cometapi-credentials/unsaved"
    assert access.prices["udio32-v1.5"] == 3


def test_a_custom_gateway_is_described_by_its_block():
    block = CustomGatewayCredentials(
        base_url="https://x.example/", submit_path="/s", fetch_path="/q?ids={ids}", shape="D"
    )
    dialect = block.get_access().account.dialect
    settings = dialect.services["udio"].settings
    assert (dialect.base_url, settings["submit_path"], settings["shape"]) == ("https://x.example", "/s", "D")
    assert block.get_access().account.secret is None


def test_any_gateway_that_is_known_by_name_has_a_block():
    block = InstalledGatewayCredentials(gateway="cometapi", api_key=KEY)
    account = block.get_access().account
    assert (account.dialect.name, account.base_url) == ("cometapi", "https://api.cometapi.com")
    assert account.alias == "block:installed-song-gateway-credentials/unsaved"


def test_the_simulator_without_an_address_is_the_embedded_one():
    assert SimulatorCredentials().get_access().is_embedded
    with pytest.raises(InputError, match="songflow simulate"):
        SimulatorCredentials().get_client()


async def test_the_client_of_a_block_talks_to_its_gateway(studio):
    async with studio().credentials.get_client() as gateway:
        answer = await gateway.fetch("udio", "nobody-knows-me")
    assert isinstance(answer, FetchProblem)
    assert answer.kind is FetchProblemKind.NOT_FOUND


class TestSaved:
    pytestmark = on_a_server

    async def test_a_saved_block_is_loaded_with_its_name(self):
        await CometAPICredentials(api_key=KEY, prices={"udio130-v1.5": 5}).asave("studio", overwrite=True)
        access = (await CometAPICredentials.aload("studio")).get_access()
        assert access.account.secret == KEY
        assert access.account.alias == "block:cometapi-credentials/studio"
        assert access.prices == {"udio130-v1.5": 5}

    async def test_the_server_shows_no_secret(self, prefect_server):
        await CometAPICredentials(api_key=KEY).asave("hidden", overwrite=True)
        hidden = SongLibrary(folder="songs", ledger_url=f"postgresql://user:{KEY}@host/db")
        await hidden.asave("hidden", overwrite=True)
        async with get_client() as client:
            for slug in ("cometapi-credentials", "song-library"):
                document = await client.read_block_document_by_name("hidden", slug, include_secrets=False)
                assert KEY not in document.model_dump_json()
                assert "***" in document.model_dump_json()
        assert KEY not in prefect_server.dump()
        loaded = await SongLibrary.aload("hidden")
        assert KEY in (loaded.get_settings().ledger_url or "")
        assert KEY not in repr(loaded.get_settings())
