"""The type that describes a gateway, and the addresses of gateways."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from songflow.gateways.callback import Called
from songflow.gateways.credit import CreditQuery
from songflow.gateways.service import Service

__all__ = ["Dialect", "bearer", "canonical_url", "check_base_url", "equivalent_urls"]


def bearer(key: str) -> dict[str, str]:
    """The header `Authorization: Bearer <key>`."""
    return {"Authorization": f"Bearer {key}"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One gateway: its addresses, its headers, and a service for each model family that it sells.

    Attributes:
        name: Its name in the ledger and on the command line.
        base_url: Its published address; None where there is none.
        key_variable: The environment variable that holds the key.
        services: The families that it sells, by name.
        hosts: Further host names of the same gateway: a song made through one can be extended through the other.
        authorization: The headers that carry the key.
        key_required: False for a gateway that needs no key; one that is set is sent.
        address_variable: The environment variable that holds the address of a gateway that people host themselves.
        read_callback: Finds the generation that has ended in a callback, from its headers (in lower case), its parsed
            body and the secret; None for one that tells of no end. Raises NotGenuine.
        credit: How it tells what an account has left; None where it does not.
    """

    name: str
    base_url: str | None
    key_variable: str
    services: Mapping[str, Service]
    hosts: tuple[str, ...] = ()
    authorization: Callable[[str], Mapping[str, str]] = bearer
    key_required: bool = True
    address_variable: str | None = None
    credit: CreditQuery | None = None
    read_callback: Callable[[Mapping[str, str], object, str], Called | None] | None = None

    def stored(self) -> str:
        """The configuration as JSON for the ledger, so that a custom gateway can be asked again later."""
        settings = {name: value for one in self.services.values() for name, value in one.settings.items()}
        own = {"base_url": self.base_url, "key_variable": self.key_variable, "name": self.name}
        return json.dumps({**settings, **own}, sort_keys=True)

    def canonical_url(self, base_url: str) -> str:
        """The base URL with the gateway's canonical host name."""
        return canonical_url(base_url, self.base_url, self.hosts)


def check_base_url(url: str) -> str:
    """The base URL without trailing slash; its ValueError never repeats a password."""
    url = url.strip()
    if not url.isprintable() or " " in url:
        raise ValueError("the gateway's base URL holds white space or control characters")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("the gateway's base URL has a host or a port that is not valid") from None
    if "@" in parts.netloc:
        raise ValueError("the gateway's base URL must not hold a user or password; the key has its own place")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        # The message leaves the text out: it may be the key, given in the wrong place.
        raise ValueError("the gateway's base URL must look like https://api.example.com")
    if "?" in url or "#" in url:
        raise ValueError("the gateway's base URL must end before any ? or #")
    return parts.scheme + url[len(parts.scheme) :].rstrip("/")


_LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = ("localhost", "::1")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def canonical_url(base_url: str, own_url: str | None, hosts: Sequence[str]) -> str:
    """A base URL with its host name replaced by the gateway's own, where it is one of its further `hosts`.

    All names of this machine become 127.0.0.1, and a scheme's default port is dropped.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if own_url and host in hosts:
        host = urlsplit(own_url).hostname or host
    elif host in _LOOPBACK_NAMES:
        host = _LOOPBACK
    port = None if parts.port == _DEFAULT_PORTS.get(parts.scheme) else parts.port
    return _url(parts.scheme, host, port, parts.path)


def equivalent_urls(canonical: str, own_url: str | None, hosts: Sequence[str]) -> tuple[str, ...]:
    """Every base URL that `canonical_url` turns into this one (host names in lower case)."""
    parts = urlsplit(canonical)
    names = [parts.hostname or ""]
    if own_url and names[0] == urlsplit(own_url).hostname:
        names += hosts
    elif names[0] == _LOOPBACK:
        names += _LOOPBACK_NAMES
    ports = [parts.port] if parts.port is not None else [None, _DEFAULT_PORTS.get(parts.scheme)]
    return tuple(_url(parts.scheme, name, port, parts.path) for name in names for port in ports)


def _url(scheme: str, host: str, port: int | None, path: str) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}{'' if port is None else f':{port}'}{path}"
