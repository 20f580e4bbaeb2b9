"""Address policy for downloads: public addresses, and private ones only if the gateway itself is private.

A gateway's response contains the song's URL and cannot be trusted: a URL into the user's own network (a router, a
cloud's metadata service) is not followed unless the gateway is in that network, too.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import httpx

from songflow.gateways.network import Proxies

__all__ = ["AddressRefused", "check_peer", "check_url", "is_private_host", "uses_proxy"]


class AddressRefused(Exception):
    """The policy forbids this URL."""


async def check_url(url: str, *, allow_private: bool) -> None:
    """Check that a URL is http(s) and that all addresses of its host are allowed.

    Raises:
        AddressRefused: it is not.
        OSError: the host's name cannot be resolved.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for an invalid one
    except ValueError as error:
        raise AddressRefused(f"it is not a valid URL ({error})") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        scheme = parts.scheme or "a URL without a scheme"
        raise AddressRefused(f"only http and https are followed, not {scheme}")
    if parts.username or parts.password:
        raise AddressRefused("a URL with a user name is not followed")
    if not allow_private and not uses_proxy(url) and await is_private_host(parts.hostname):
        raise AddressRefused(f"{parts.hostname} is a private address, and the gateway is not")


def check_peer(response: httpx.Response, *, allow_private: bool) -> None:
    """Check the address of the connection, before the response is read: DNS may have changed since `check_url`."""
    if allow_private or uses_proxy(str(response.url)):
        return
    stream = response.extensions.get("network_stream")
    address = stream.get_extra_info("server_addr") if stream is not None else None
    if address and _is_private(str(address[0])):
        raise AddressRefused(f"{response.url.host} turned out to be a private address")


async def is_private_host(host: str) -> bool:
    """True if any address of a host name is not public.

    Raises:
        OSError: the name cannot be resolved.
    """
    with suppress(ValueError):
        ipaddress.ip_address(host.partition("%")[0])
        return _is_private(host)  # an address needs no resolver
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:  # an empty label, or one of over 63 letters
        raise socket.gaierror(socket.EAI_NONAME, f"{host[:80]!r} is no host name") from None
    return any(_is_private(str(address[0])) for *_, address in found)


def uses_proxy(url: str) -> bool:
    """True if a request for this URL goes through a proxy, which then resolves the name."""
    return Proxies.of_environment().proxy_for(url) is not None


def _is_private(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    mapped = getattr(ip, "ipv4_mapped", None)
    return not (mapped or ip).is_global
