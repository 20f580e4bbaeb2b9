"""One rule for all HTTP clients: which of their requests go through a proxy.

The proxies are those of the environment (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY), read as httpx reads them, with
these differences: requests to this machine never go through a proxy, and in NO_PROXY a range of IPv4 addresses counts
as a range, and a scheme's own port as that port. What httpx cannot read is refused, since Prefect's own client could
not be opened either.
"""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from songflow.gateways.tls import NetworkProblem, tls_context

if TYPE_CHECKING:
    import ssl

    # Only the type: importing httpx takes 200 ms, which commands that send nothing save.
    import httpx

__all__ = [
    "KEPT_CONNECTIONS",
    "Network",
    "Proxies",
    "check_network",
    "is_loopback",
    "open_client",
    "open_transport",
]

_SCHEMES = ("http", "https", "all")
_PORTS = {"http": 80, "https": 443}
_NAMES = tuple(f"{name}_proxy" for name in (*_SCHEMES, "no"))
# A web server's CGI sets the last one, and HTTP_PROXY does not count then.
_VARIABLES = (*_NAMES, *map(str.upper, _NAMES), "REQUEST_METHOD")
_SHOWN = 60

KEPT_CONNECTIONS = 16
"""Idle connections to a host."""
_KEEPALIVE_SECONDS = 30.0

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class _Exempt:
    """An entry of NO_PROXY. A part that is None fits every request."""

    network: Network | None = None
    scheme: str | None = None
    host: re.Pattern[str] | None = None
    port: int | None = None

    def fits(self, scheme: str, host: str, port: int | None) -> bool:
        if self.network is not None:
            address = _address(host)
            return address is not None and address in self.network
        return (
            self.scheme in (None, scheme)
            and self.port in (None, port)
            and (self.host is None or self.host.fullmatch(host) is not None)
        )


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies of an environment.

    Attributes:
        by_scheme: A proxy's URL, which may hold a password, for "http", "https" and "all".
        exempt: What goes directly to its host.
    """

    by_scheme: dict[str, str]
    exempt: tuple[_Exempt, ...] = ()

    @classmethod
    def of_environment(cls) -> Proxies:
        """Read the environment (on macOS and Windows the system's settings, too).

        Raises:
            NetworkProblem: a variable that cannot be read, or a proxy that cannot be used.
        """
        return _proxies_of(tuple(map(os.environ.get, _VARIABLES)))

    def proxy_for(self, url: str) -> str | None:
        """The proxy for a URL; None if the request goes to its host directly."""
        if not self.by_scheme:
            return None
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), _PORTS.get(parts.scheme)
        with suppress(ValueError):  # an invalid port, which the client reports
            port = parts.port or port
        if is_loopback(host) or any(one.fits(parts.scheme, host, port) for one in self.exempt):
            return None
        return self.by_scheme.get(parts.scheme) or self.by_scheme.get("all")


@lru_cache(maxsize=8)
def _proxies_of(_variables: tuple[str | None, ...]) -> Proxies:
    """The proxies of the environment, read again only when it has changed: every request asks for them."""
    found = getproxies()
    entries = [entry.strip() for entry in found.get("no", "").split(",")]
    if "*" in entries:
        return Proxies({})
    proxies = {scheme: _proxy(scheme, found[scheme]) for scheme in _SCHEMES if found.get(scheme)}
    return Proxies(proxies, tuple(_exempt(entry) for entry in entries if entry))


def check_network() -> Proxies:
    """Check that this environment lets HTTP clients be opened, and return its proxies.

    Raises:
        NetworkProblem: it does not; names the variable.
    """
    tls_context()
    return Proxies.of_environment()


def open_transport(
    *, verify: ssl.SSLContext | None = None, kept: int = KEPT_CONNECTIONS
) -> httpx.AsyncBaseTransport:
    """A transport that goes by the proxies of the environment.

    Args:
        verify: The TLS context; `tls_context()` by default.
        kept: Idle connections that are kept for each host; 0: each request has a connection of its own.

    Raises:
        NetworkProblem: the environment does not let a client be opened.
    """
    from songflow.gateways.routed import RoutedTransport

    return RoutedTransport(
        Proxies.of_environment().proxy_for,
        verify=tls_context() if verify is None else verify,
        kept=kept,
        keepalive_expiry=_KEEPALIVE_SECONDS,
    )


def open_client(*, verify: ssl.SSLContext | None = None, **options: Any) -> httpx.AsyncClient:
    """An HTTP client that goes by the proxies of the environment and does not follow redirects.

    Args:
        verify: The TLS context; `tls_context()` by default.
        options: Further arguments of `httpx.AsyncClient`.

    Raises:
        NetworkProblem: the environment does not let a client be opened.
    """
    import httpx

    transport = open_transport(verify=verify)
    return httpx.AsyncClient(transport=transport, trust_env=False, follow_redirects=False, **options)


def is_loopback(host: str) -> bool:
    """True for a name or an address of this machine itself."""
    address = _address(host)
    if address is None:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _proxy(scheme: str, value: str) -> str:
    """The URL of a proxy that can be used; its value, which may hold a password, is in no message."""
    import httpx

    variable = _variable(scheme)
    address = value if "://" in value else f"http://{value}"
    try:
        url = httpx.Proxy(address).url
    except (ValueError, httpx.InvalidURL):
        url = None
    if url is None or not url.host or not 0 < (url.port or 1) < 65536:
        kind = value.partition("://")[0] if "://" in value else ""
        named = f" ({kind[:_SHOWN]}://...)" if re.fullmatch(r"[a-z][a-z0-9+.-]*", kind, re.IGNORECASE) else ""
        raise NetworkProblem(
            f"{variable} names no proxy that can be used{named}",
            f"write {variable} as http://HOST:PORT or socks5://HOST:PORT, or unset it",
        )
    if url.scheme.startswith("socks") and find_spec("socksio") is None:
        raise NetworkProblem(
            f"{variable} names a {url.scheme} proxy, for which the package socksio is missing",
            f"`pip install 'httpx[socks]'`, or unset {variable}",
        )
    return address


def _exempt(entry: str) -> _Exempt:
    import httpx

    pattern = entry if "://" in entry else f"all://*{entry}"
    try:
        if "://" not in entry and (address := _address(entry.partition("/")[0])) is not None:
            if address.version == 4 or "/" not in entry:
                return _Exempt(network=ipaddress.ip_network(entry, strict=False))
            pattern = f"all://[{entry}]"
        url = httpx.URL(pattern)
    except (ValueError, httpx.InvalidURL):
        raise NetworkProblem(
            f"{_variable('no')} has {entry[:_SHOWN]!r}, which HTTP clients cannot read",
            f"write hosts and single addresses in {_variable('no')}, such as ::1 or .example.com",
        ) from None
    return _Exempt(
        scheme=None if url.scheme == "all" else url.scheme, host=_host_pattern(url.host), port=url.port
    )


def _host_pattern(host: str) -> re.Pattern[str] | None:
    """`*.x` are the subdomains of x, `*x` is x with its subdomains, as httpx has it."""
    if host in ("", "*"):
        return None
    name = re.escape(host.lstrip("*").removeprefix("."))
    if host.startswith("*."):
        return re.compile(rf".+\.{name}")
    return re.compile(rf"(.+\.)?{name}" if host.startswith("*") else name)


def _variable(scheme: str) -> str:
    """The variable that sets a proxy; of two spellings the one that counts."""
    wanted = f"{scheme}_proxy"
    names = sorted((name for name in os.environ if name.lower() == wanted), key=lambda name: name != wanted)
    return names[0] if names else f"the system's {wanted}"
