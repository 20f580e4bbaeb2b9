"""The type that describes a gateway, and the addresses of gateways."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args
from urllib.parse import quote, urlsplit

Shape = Literal["A", "B", "C", "D"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


_STORED = ("base_url", "fetch_path", "key_variable", "name", "shape", "submit_path")


def bearer(key: str) -> dict[str, str]:
    """The header `Authorization: Bearer <key>`."""
    return {"Authorization": f"Bearer {key}"}


@dataclass(frozen=True, slots=True)
class Dialect:
    """One gateway's differences as data: paths, headers, hosts and the shape of its answers.

    `fetch_path` holds `{id}` (one id, as path segment or query value) or `{ids}` (several, commas between).
    `shape` is where songs are expected: A `songs`, B `data.data.songs`, C `data.songs`, D
    `data.data[].songs`. `hosts` are further host names of the same gateway: a song made through one is there through
    the other. `families` are the model families it sells, by name.
    """

    name: str
    base_url: str | None
    submit_path: str
    fetch_path: str
    shape: Shape
    key_variable: str
    hosts: tuple[str, ...] = ()
    families: tuple[str, ...] = ("udio",)
    authorization: Callable[[str], Mapping[str, str]] = bearer

    def stored(self) -> str:
        """The configuration as JSON for the ledger, so that a custom gateway can be asked again later."""
        return json.dumps({name: getattr(self, name) for name in _STORED}, sort_keys=True)

    def canonical_url(self, base_url: str) -> str:
        """The base URL under the one host name that stands for all of this gateway's host names."""
        return canonical_url(base_url, self.base_url, self.hosts)

    @property
    def by_tracks(self) -> bool:
        """Whether a generation is asked for by its track ids first, and only then by its own id."""
        return "{ids}" in self.fetch_path

    def fetch_targets(self, generation_id: str | None, track_ids: Sequence[str] = ()) -> tuple[str, ...]:
        """Paths with query to ask one after the other until one lists the generation's songs."""
        own = [self._target([generation_id])] if generation_id else []
        if self.by_tracks:
            return tuple([self._target(track_ids), *own] if track_ids else own)
        return tuple(own or [self._target([track_id]) for track_id in track_ids])

    def _target(self, ids: Sequence[str]) -> str:
        placeholder = "{ids}" if self.by_tracks else "{id}"
        return self.fetch_path.replace(placeholder, ",".join(_quoted(one) for one in ids))


def _quoted(opaque_id: str) -> str:
    """An id as ONE path segment or query value: ids are opaque and may hold "/", "?", "," or be ".."."""
    quoted = quote(opaque_id, safe="", errors="replace")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")


def check_base_url(url: str) -> str:
    """The base URL without trailing slash; ValueError says what is wrong and never repeats a password."""
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
        # Not repeated: somebody may have put the key in its place.
        raise ValueError("the gateway's base URL must look like https://api.example.com")
    if "?" in url or "#" in url:
        raise ValueError("the gateway's base URL must end before any ? or #")
    return parts.scheme + url[len(parts.scheme) :].rstrip("/")


_LOOPBACK = "127.0.0.1"
_DEFAULT_PORTS = {"http": 80, "https": 443}


def canonical_url(base_url: str, own_url: str | None, hosts: Sequence[str]) -> str:
    """A base URL with its host name replaced by the gateway's own, where it is one of its further `hosts`.

    All names of this machine become 127.0.0.1, and a scheme's default port is dropped.
    """
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if own_url and host in hosts:
        host = urlsplit(own_url).hostname or host
    elif host in ("localhost", "::1"):
        host = _LOOPBACK
    elif ":" in host:
        host = f"[{host}]"
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}{parts.path}"
