"""Address policy of downloads."""

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
    """In any notation; allowed if the gateway itself is private."""
    assert await is_private_host(host)
    with pytest.raises(AddressRefused, match="is a private address, and the gateway is not"):
        await check_url(url_of(host), allow_private=False)
    await check_url(url_of(host), allow_private=True)


@pytest.mark.parametrize("host", PUBLIC)
async def test_a_public_address_is_allowed(host: str) -> None:
    """Also an IPv4 address inside an IPv6 one."""
    assert not await is_private_host(host)
    await check_url(url_of(host), allow_private=False)


async def test_a_proxy_does_the_resolving(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a proxy our own DNS is not used, except for hosts in `no_proxy`."""
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert uses_proxy("http://songs.invalid/x.mp3")
    assert not uses_proxy("https://songs.invalid/x.mp3")
    await check_url("http://songs.invalid/x.mp3", allow_private=False)
    monkeypatch.setenv("no_proxy", "songs.invalid")
    assert not uses_proxy("http://songs.invalid/x.mp3")
    monkeypatch.delenv("http_proxy")
    monkeypatch.setenv("all_proxy", "http://proxy.example:3128")
    assert uses_proxy("https://other.invalid/x.mp3")


async def test_a_private_peer_is_refused_after_the_connection(
    song_host: Any, canned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS can change between the check and the connection, so the peer is checked, too."""
    host = await song_host(canned.http(200, b"secret"))
    async with httpx.AsyncClient() as client, client.stream("GET", host.url) as response:
        with pytest.raises(AddressRefused, match="turned out to be a private address"):
            check_peer(response, allow_private=False)
        check_peer(response, allow_private=True)
        response.request.url = httpx.URL("http://songs.invalid/x.mp3")
        with pytest.raises(AddressRefused, match="turned out to be a private address"):
            check_peer(response, allow_private=False)
        monkeypatch.setenv("http_proxy", "http://proxy.example:3128")  # then the peer is the proxy
        check_peer(response, allow_private=False)


def test_a_response_without_a_socket_has_no_peer() -> None:
    """Other transports have none: nothing is refused."""
    check_peer(
        httpx.Response(200, request=httpx.Request("GET", "http://songs.invalid/")), allow_private=False
    )


async def test_a_peer_without_an_ip_address_is_refused(canned: Any) -> None:
    """It does not count as public."""

    class Stream:
        def get_extra_info(self, _name: str) -> tuple[str, int]:
            return ("not-an-address", 80)

    response = httpx.Response(
        200, request=httpx.Request("GET", "http://songs.invalid/"), extensions={"network_stream": Stream()}
    )
    with pytest.raises(AddressRefused):
        check_peer(response, allow_private=False)
