"""Address policy for downloads: public addresses, and private ones only if the gateway itself is private.

A gateway's response contains the song's URL and cannot be trusted: a URL into the user's own network (a router, a
cloud's metadata service) is not followed unless the gateway is in that network, too. Link-local addresses and those of
metadata services never are.

Some resolvers (of VPNs, of proxies for a whole machine) answer every name with an address of their own. A name that
resolves there is followed if the user's settings allow it, or if the gateway's own name does; an address never is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from songflow.gateways.network import Network, Proxies

__all__ = ["AddressPolicy", "AddressRefused", "check_peer", "check_url", "policy_for", "uses_proxy"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What such resolvers answer with: benchmark addresses, those of carriers, and IPv6's unique local ones.
_OF_RESOLVERS = tuple(map(ipaddress.ip_network, ("198.18.0.0/15", "100.64.0.0/10", "fc00::/7")))
# IPv4 addresses inside of IPv6 ones.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Metadata services whose addresses are not link-local.
_METADATA = frozenset(
    map(
        ipaddress.ip_address,
        ("100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254"),
    )
)


class AddressRefused(Exception):
    """The policy forbids this URL."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """From where the songs of a gateway may be fetched, besides public addresses.

    Attributes:
        allow_private: Any private address.
        resolved: Networks where a name may resolve though they are not public.
    """

    allow_private: bool = False
    resolved: tuple[Network, ...] = ()


async def policy_for(host: str, resolved: Sequence[Network] = ()) -> AddressPolicy:
    """The policy for the songs of a gateway.

    Args:
        host: The gateway's own host.
        resolved: The networks of the user's resolver, from the settings.
    """
    own = tuple(resolved)
    try:
        found = [address for address in await _addresses(host) if _is_private(address)]
    except OSError:
        return AddressPolicy(resolved=own)
    if not found or _is_address(host):
        return AddressPolicy(bool(found), own)
    inside = [[network for network in (*own, *_OF_RESOLVERS) if _in(address, network)] for address in found]
    if all(inside):  # its name says nothing about where it is
        return AddressPolicy(resolved=(*own, *(networks[0] for networks in inside)))
    return AddressPolicy(True, own)


async def check_url(url: str, *, allow_private: bool, resolved: Sequence[Network] = ()) -> None:
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
    if uses_proxy(url) and not _is_address(parts.hostname):
        return  # the proxy resolves the name
    for address in await _addresses(parts.hostname):
        _check(parts.hostname, address, "is", allow_private, resolved)


def check_peer(response: httpx.Response, *, allow_private: bool, resolved: Sequence[Network] = ()) -> None:
    """Check the address of the connection, before the response is read: DNS may have changed since `check_url`."""
    if uses_proxy(str(response.url)):
        return
    stream = response.extensions.get("network_stream")
    address = stream.get_extra_info("server_addr") if stream is not None else None
    if address:
        _check(response.url.host, str(address[0]), "turned out to be", allow_private, resolved)


def uses_proxy(url: str) -> bool:
    """True if a request for this URL goes through a proxy, which then resolves the name."""
    return Proxies.of_environment().proxy_for(url) is not None


def _check(host: str, address: str, is_: str, allow_private: bool, resolved: Sequence[Network]) -> None:
    if _is_forbidden(address):
        raise AddressRefused(f"{host} {is_} a link-local address or a metadata service")
    if allow_private or not _is_private(address):
        return
    if _is_address(host) or not any(_in(address, network) for network in _OF_RESOLVERS):
        advice = ""
    else:
        advice = (
            f"; if your own resolver answers with {address}, set SONGFLOW_RESOLVER_NETWORKS to its network"
        )
    if _is_address(host) or not any(_in(address, network) for network in resolved):
        raise AddressRefused(f"{host} {is_} a private address, and the gateway is not{advice}")


async def _addresses(host: str) -> list[str]:
    """All addresses of a host.

    Raises:
        OSError: the name cannot be resolved.
    """
    if _ip(host) is not None:
        return [host]  # an address needs no resolver
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:  # an empty label, or one of over 63 letters
        raise socket.gaierror(socket.EAI_NONAME, f"{host[:80]!r} is no host name") from None
    return [str(address[0]) for *_, address in found]


def _is_address(host: str) -> bool:
    """True for an address, also in the notations that only resolvers read (2130706433, 0x7f.1)."""
    if _ip(host) is not None:
        return True
    try:
        socket.inet_aton(host)
    except (OSError, UnicodeError):
        return False
    return True


def _is_private(address: str) -> bool:
    ip = _ip(address)
    return ip is None or not ip.is_global


def _is_forbidden(address: str) -> bool:
    ip = _ip(address)
    return ip is not None and (ip.is_link_local or ip.is_multicast or ip in _METADATA)


def _in(address: str, network: Network) -> bool:
    ip = _ip(address)
    return ip is not None and ip.version == network.version and ip in network


def _ip(host: str) -> _Address | None:
    """The address in a text, an IPv4 address in place of the IPv6 one that stands for it; None for a name."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
