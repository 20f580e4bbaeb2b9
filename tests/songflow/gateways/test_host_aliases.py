"""Host aliases: all host names of a gateway are one place, and stored rows keep the host name they were made with."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from songflow.accounts import Access, that_can_take
from songflow.families.udio import SongRequest
from songflow.gateways import DIALECTS, Account, place_of
from songflow.sweeps.cells import cell_key

API, PI = "https://api.openai-hk.com", "https://pi.openai-hk.com"


def access(gateway: str, url: str) -> Access:
    return Access(Account(DIALECTS[gateway], url, "env:KEY", SecretStr("a-key-of-sixteen")))


@pytest.mark.parametrize(
    ("gateway", "one", "other"),
    [
        ("openai-hk", API, PI),
        ("openai-hk", API, "https://pi.openai-hk.com:443"),
        ("simulator", "http://127.0.0.1:8000", "http://localhost:8000"),
        ("simulator", "http://127.0.0.1:8000", "http://[::1]:8000"),
        ("custom", "http://localhost:9/v1", "http://127.0.0.1:9/v1"),
    ],
)
def test_host_names_of_one_gateway_are_one_place(gateway: str, one: str, other: str) -> None:
    """Songs made through any of them are there."""
    assert place_of(gateway, one) == place_of(gateway, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("openai-hk", API), ("cometapi", API)),
        (("openai-hk", API), ("openai-hk", "https://other.openai-hk.com")),
        (("cometapi", "https://api.cometapi.com"), ("cometapi", PI)),
        (("openai-hk", PI), ("custom", API)),
        (("simulator", "http://localhost:8000"), ("simulator", "http://localhost:8001")),
        (("custom", "http://[::2]:80"), ("custom", "http://[::1]:80")),
    ],
)
def test_other_gateways_hosts_and_ports_are_other_places(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    """An alias belongs to its own gateway only."""
    assert place_of(*one) != place_of(*other)


def test_the_published_addresses_are_canonical() -> None:
    """Their places are the addresses in existing rows."""
    for name, dialect in DIALECTS.items():
        if dialect.base_url:
            assert place_of(name, dialect.base_url) == (name, dialect.base_url)


def test_an_extension_can_be_sent_to_the_other_host() -> None:
    """Both accounts are at the gateway that has the source."""
    request = SongRequest.parse({"prompt": "a", "mode": "precede", "source_song_id": "s"})
    choices = [access("openai-hk", API), access("openai-hk", PI), access("openai-hk", "http://other.example")]
    assert that_can_take(choices, request) == tuple(choices[:2])


def test_cell_keys_contain_the_host_name_as_given() -> None:
    """Keys from before host aliases stay valid."""
    request = SongRequest.parse({"prompt": "a slow waltz", "seed": 7})
    made = {url: cell_key(request, access("openai-hk", url), 1) for url in (API, PI)}
    assert made == {
        API: "cell-7b02b69cc6064731d0e65ad6bfa143d1b35c0325-7bb9a69c8484-1",
        PI: "cell-7b02b69cc6064731d0e65ad6bfa143d1b35c0325-7fb202a2d157-1",
    }


def test_the_stored_text_of_a_gateway_is_unchanged() -> None:
    """New rows have the same text as existing ones."""
    assert DIALECTS["openai-hk"].stored() == (
        '{"base_url": "https://api.openai-hk.com", "fetch_path": "/udio/fetch/{id}", '
        '"key_variable": "OPENAI_HK_KEY", "name": "openai-hk", "shape": "B", '
        '"submit_path": "/udio/submit/music"}'
    )
