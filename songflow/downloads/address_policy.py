"""Which addresses a song may come from: the open web, or a private network only where the gateway is private.

A gateway's answer names the song's URL. Nothing says that the answer is honest, so a URL into the user's own
network (a router, a cloud's metadata service) is not followed unless the gateway itself lives there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

__all__ = ["AddressRefused", "check_peer", "check_url", "is_private_host", "uses_proxy"]


class AddressRefused(Exception):
    """The URL is not one that a song may be fetched from."""


async def check_url(url: str, *, allow_private: bool) -> None:
    """Allow only http(s) to a host whose addresses are all allowed.

    Raises:
        AddressRefused: it may not be fetched from.
        OSError: the host's name cannot be resolved.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for one that no machine has
    except ValueError as error:
        raise AddressRefused(f"it is no address ({error})") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        said = parts.scheme or "a URL without a scheme"
        raise AddressRefused(f"only http and https are followed, not {said}")
    if parts.username or parts.password:
        raise AddressRefused("a URL that carries a user name is not followed")
    if not allow_private and not uses_proxy(url) and await is_private_host(parts.hostname):
        raise AddressRefused(f"{parts.hostname} is a private address, and the gateway is not")


def check_peer(response: httpx.Response, *, allow_private: bool) -> None:
    """The same for the machine that really answered, before its answer is read: names can change."""
    if allow_private or uses_proxy(str(response.url)):
        return
    stream = response.extensions.get("network_stream")
    address = stream.get_extra_info("server_addr") if stream is not None else None
    if address and _is_private(str(address[0])):
        raise AddressRefused(f"{response.url.host} turned out to be a private address")


async def is_private_host(host: str) -> bool:
    """True where any address of a host name is not on the open web.

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
    """True where the environment sends this URL through a proxy, which then does the resolving."""
    parts = urlsplit(url)
    proxies = getproxies()
    return (parts.scheme in proxies or "all" in proxies) and not proxy_bypass(parts.hostname or "")


def _is_private(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return True
    mapped = getattr(ip, "ipv4_mapped", None)
    return not (mapped or ip).is_global
