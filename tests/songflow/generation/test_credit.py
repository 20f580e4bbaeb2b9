"""What an account has left at its gateway: read in each dialect, shown, and nothing paid depends on it."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from songflow.families.registry import parse_request
from songflow.gateways import Credit, read_credit
from songflow.generation.credit import about_credit, warn_if_low
from songflow.generation.lifecycle import generate_in
from songflow.generation.session import Session

KEY = "sk-a-key-that-is-long-enough-0123456789/+="


@pytest.mark.parametrize(
    ("gateway", "unit"),
    [("cometapi", "USD"), ("openai-hk", "USD"), ("piapi", "USD"), ("kie", "credits"), ("sunoapi", "credits")],
)
async def test_each_gateway_tells_it_in_its_own_way(
    gateway: str, unit: str, simulator: Any, access: Any
) -> None:
    """What is left is the simulator's credit; a key that is not accepted is told as that, and not shown."""
    server = simulator(credit=12.5, accept_keys={KEY})
    assert await read_credit(access(server.url, gateway, key=KEY).account) == Credit(12.5, unit)
    other = KEY.replace("long", "short")
    refused = await read_credit(access(server.url, gateway, key=other).account)
    assert isinstance(refused, str)
    assert other not in refused
    assert await read_credit(access(server.url, "simulator", key=KEY).account) is None


async def test_what_is_spent_is_no_longer_there(simulator: Any, access: Any, session: Any) -> None:
    """By the price of the song that was made."""
    server, opened = simulator(credit=3.0), await session()
    account = access(server.url, "cometapi", key=KEY)
    request = parse_request({"prompt": "a cat", "model_type": "chirp-auk"})
    await generate_in(opened, request, account, key="cat")
    assert await read_credit(account.account) == Credit(2.0, "USD")


async def test_a_key_in_the_address_is_in_no_log_and_in_no_error(
    simulator: Any, access: Any, closed_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither as it is nor as an address spells it, with the HTTP library at its most talkative."""
    caplog.set_level(logging.DEBUG)
    for url in (simulator().url, closed_url):
        told = str(await read_credit(access(url, "cometapi", key=KEY).account))
        assert KEY not in told
    logging.getLogger("httpx").info(
        "HTTP Request: GET https://query.example/user/quota?key=%s", "another-key"
    )
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "/user/quota?key=***" in said
    for spelt in (KEY, KEY.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D"), "another-key"):
        assert spelt not in said


class Ears:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.notices: list[Any] = []

    def __call__(self, notice: Any) -> None:
        self.notices.append(notice)


async def test_too_little_is_an_event_and_stops_nothing(
    simulator: Any, access: Any, library_settings: Any
) -> None:
    """In the unit of the prices: less than they are. In another unit: only when nothing is left."""
    server, ears = simulator(credit=2.0), Ears()
    dollars = access(server.url, "cometapi", key=KEY)
    credits = access(server.url, "kie", key=KEY)
    async with Session(replace(library_settings, unit="usd"), listener=ears) as opened:
        await warn_if_low(opened, dollars, 2.0)
        await warn_if_low(opened, credits, 99.0)
        assert ears.notices == []
        await warn_if_low(opened, dollars, 2.5)
        empty = access(simulator(credit=0.0).url, "kie", key=KEY, alias="empty")
        await warn_if_low(opened, empty, 1.0)
        await warn_if_low(opened, access(simulator().url, "simulator"), 1.0)
    low, nothing = ears.notices
    assert (nothing.about, nothing.facts["left"]) == ("account.empty", 0.0)
    assert (low.kind, low.facts["left"], low.facts["price"]) == ("account.credit-low", 2.0, 2.5)
    assert KEY not in str(low)


@pytest.mark.parametrize(
    ("credit", "said"),
    [
        (None, None),
        ("HTTP 404", "What the account has left could not be read (HTTP 404)."),
        (Credit(5.0, "USD"), "The account has 5 USD left: enough for 3 usd."),
        (
            Credit(1.5, "USD"),
            "The account has 1.5 USD left: less than 3 usd: the gateway will refuse what it does not cover.",
        ),
        (
            Credit(800, "credits"),
            "The account has 800 credits left: in another unit than the prices here, so the two cannot be compared.",
        ),
    ],
)
def test_it_is_told_in_a_sentence(credit: Credit | str | None, said: str | None) -> None:
    """With what it means for the price, or that nobody can say."""
    assert about_credit(credit, 3.0, "usd") == said
