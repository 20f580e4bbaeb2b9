"""Address policy of downloads."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import Any

import httpx
import pytest

from songflow.downloads.address_policy import (
    AddressRefused,
    check_peer,
    check_url,
    policy_for,
    uses_proxy,
)

PRIVATE = [
    "127.0.0.1", "localhost", "10.1.2.3", "172.16.0.1", "192.168.1.1", "198.18.0.1", "100.64.0.1",
    "0.0.0.0", "::1", "fc00::1", "64:ff9b::10.0.0.1", "2002:0a00:0001::1", "::ffff:127.0.0.1", "::", "2130706433",
    "0x7f.1",
]  # fmt: skip
NEVER = [
    "169.254.169.254", "169.254.1.1", "fe80::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2852039166",
    "100.100.100.200", "fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "192.0.0.192", "224.0.0.1", "ff02::1",
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
    with pytest.raises(AddressRefused, match="is a private address, and the gateway is not"):
        await check_url(url_of(host), allow_private=False)
    await check_url(url_of(host), allow_private=True)


@pytest.mark.parametrize("host", NEVER)
async def test_a_link_local_address_or_metadata_service_is_never_allowed(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the gateway's own address, the settings and the proxy."""
    everything = tuple(map(ipaddress.ip_network, ("0.0.0.0/0", "::/0")))
    for allow_private in (True, False):
        for _ in range(2):
            with pytest.raises(AddressRefused, match="is a link-local address or a metadata service"):
                await check_url(url_of(host), allow_private=allow_private, resolved=everything)
            monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
        monkeypatch.delenv("http_proxy")


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What names resolve to; any other name to 198.18.0.7, as with a VPN's own resolver."""
    known: dict[str, list[str]] = {}

    async def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        try:
            found = [socket.inet_ntoa(socket.inet_aton(host))]  # other notations of an address
        except OSError:
            found = known.get(host, ["198.18.0.7"])
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    return known


NETWORKS = tuple(map(ipaddress.ip_network, ("198.18.0.0/15", "fd07::/16")))


async def test_a_name_may_resolve_where_the_settings_say(resolver: dict[str, list[str]]) -> None:
    """The advice names the setting; an address in any notation is no name."""
    resolver |= {
        "six.test": ["fd07::1"],
        "both.test": ["198.18.0.1", "10.0.0.1"],
        "meta.test": ["169.254.169.254"],
    }
    with pytest.raises(AddressRefused, match=r"198\.18\.0\.7, set SONGFLOW_RESOLVER_NETWORKS to its network"):
        await check_url("http://songs.test/x.mp3", allow_private=False)
    for name in ("songs.test", "six.test"):
        await check_url(f"https://{name}/x.mp3", allow_private=False, resolved=NETWORKS)
    for host in ("198.18.0.7", "3323068423", "198.18.7", "[fd07::1]", "both.test", "meta.test"):
        with pytest.raises(AddressRefused):
            await check_url(f"http://{host}/x.mp3", allow_private=False, resolved=NETWORKS)


@pytest.mark.parametrize(
    ("addresses", "private", "songs"),
    [
        (["198.18.0.9"], False, True),
        (["100.64.0.9"], False, False),
        (["198.18.0.9", "10.0.0.1"], True, True),
        (["10.0.0.1"], True, True),
        (["93.184.216.34"], False, False),
    ],
)
async def test_a_gateway_whose_name_resolves_to_the_resolvers_own_address_is_not_private(
    resolver: dict[str, list[str]], addresses: list[str], private: bool, songs: bool
) -> None:
    """Its songs' names may resolve in the same network; addresses of the user's network stay out of reach."""
    resolver["gateway.test"] = addresses
    policy = await policy_for("gateway.test")
    assert policy.allow_private is private
    given = {"allow_private": policy.allow_private, "resolved": policy.resolved}
    if songs:
        await check_url("http://songs.test/x.mp3", **given)
    for url in (
        "http://10.0.0.7/x.mp3",
        "http://198.18.0.7/x.mp3",
        "http://songs.test/x.mp3",
        "http://127.0.0.1/x",
    ):
        if not private and not (songs and "songs" in url):
            with pytest.raises(AddressRefused):
                await check_url(url, **given)
    with pytest.raises(AddressRefused, match="metadata"):
        await check_url("http://169.254.169.254/latest", **given)


async def test_a_gateway_at_a_private_address_is_private(resolver: dict[str, list[str]]) -> None:
    """In any notation, also one of a resolver's: nobody resolved it."""
    for host in ("127.0.0.1", "198.18.0.1", "10.1", "::1"):
        assert (await policy_for(host)).allow_private, host
    assert (await policy_for("93.184.216.34", NETWORKS)).resolved == NETWORKS


@pytest.mark.parametrize("host", PUBLIC)
async def test_a_public_address_is_allowed(host: str) -> None:
    """Also an IPv4 address inside an IPv6 one."""
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
