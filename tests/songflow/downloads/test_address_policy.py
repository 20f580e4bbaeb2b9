"""Which addresses a song may come from."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from songflow.downloads.address_policy import (
    AddressRefused,
    check_peer,
    check_url,
    is_private_host,
    uses_proxy,
)

PRIVATE = [
    "127.0.0.1", "localhost", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "::1", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "::", "2130706433", "0x7f.1",
]  # fmt: skip
PUBLIC = ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine that runs the tests would do the resolving."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def url_of(host: str) -> str:
    return f"http://[{host}]/x.mp3" if ":" in host else f"http://{host}/x.mp3"


@pytest.mark.parametrize("host", PRIVATE)
async def test_an_address_in_a_private_network_is_refused(host: str) -> None:
    """However it is written; and allowed where the gateway itself is private."""
    assert await is_private_host(host)
    with pytest.raises(AddressRefused, match="is a private address, and the gateway is not"):
        await check_url(url_of(host), allow_private=False)
    await check_url(url_of(host), allow_private=True)


@pytest.mark.parametrize("host", PUBLIC)
async def test_an_address_on_the_open_web_is_allowed(host: str) -> None:
    """Also an IPv4 address inside an IPv6 one."""
    assert not await is_private_host(host)
    await check_url(url_of(host), allow_private=False)


async def test_a_proxy_does_the_resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy our own view of a name says nothing; `no_proxy` brings it back."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert uses_proxy("http://songs.invalid/x.mp3")
    assert not uses_proxy("https://songs.invalid/x.mp3")
    await check_url("http://songs.invalid/x.mp3", allow_private=False)
    monkeypatch.setenv("no_proxy", "songs.invalid")
    assert not uses_proxy("http://songs.invalid/x.mp3")
    monkeypatch.delenv("http_proxy")
    monkeypatch.setenv("all_proxy", "http://proxy.example:3128")
    assert uses_proxy("https://other.invalid/x.mp3")


async def test_a_name_that_leads_inside_after_all_is_refused_by_its_peer(
    song_host: Any, canned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names can change between the look-up and the connection: what answered is looked at, too."""
    host = await song_host(canned.http(200, b"secret"))
    async with httpx.AsyncClient() as client, client.stream("GET", host.url) as response:
        with pytest.raises(AddressRefused, match="turned out to be a private address"):
            check_peer(response, allow_private=False)
        check_peer(response, allow_private=True)
        monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
        check_peer(response, allow_private=False)


def test_an_answer_without_a_socket_has_no_peer() -> None:
    """Another transport gives none: nothing is there to refuse."""
    check_peer(
        httpx.Response(200, request=httpx.Request("GET", "http://songs.invalid/")), allow_private=False
    )


async def test_a_peer_that_is_no_address_is_not_trusted(canned: Any) -> None:
    """A socket that cannot say where it leads is not taken for the open web."""

    class Stream:
        def get_extra_info(self, _name: str) -> tuple[str, int]:
            return ("not-an-address", 80)

    response = httpx.Response(
        200, request=httpx.Request("GET", "http://songs.invalid/"), extensions={"network_stream": Stream()}
    )
    with pytest.raises(AddressRefused):
        check_peer(response, allow_private=False)
