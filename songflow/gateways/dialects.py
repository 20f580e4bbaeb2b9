"""The gateways' differences as data: where to submit, how to ask, which shape of answer to expect."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args
from urllib.parse import quote, urlsplit

Shape = Literal["A", "B", "C", "D"]
SHAPES: tuple[Shape, ...] = get_args(Shape)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one gateway is spoken to; what its answers look like is found by looking at them.

    `fetch_path` holds `{id}` (one id, as path segment or query value) or `{ids}` (several, commas between).
    `shape` is where songs are expected: A `songs`, B `data.data.songs`, C `data.songs`, D
    `data.data[].songs`. The key goes as `Authorization: Bearer` to all of them.
    """

    name: str
    base_url: str | None
    submit_path: str
    fetch_path: str
    shape: Shape
    key_variable: str

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


def custom_dialect(base_url: str, submit_path: str, fetch_path: str, shape: str) -> Dialect:
    """A gateway that is configured, not known: a base URL, two paths and a shape name; else ValueError."""
    for name, path in (("submit_path", submit_path), ("fetch_path", fetch_path)):
        if not re.fullmatch(r"/[!-~]*", path) or "#" in path:
            raise ValueError(f"{name} must be a path such as /udio/submit, not {path!r}")
    if fetch_path.count("{id}") + fetch_path.count("{ids}") != 1:
        raise ValueError(
            "fetch_path must hold {id} or {ids} once, as in /udio/fetch/{id} or /udio/query?ids={ids}"
        )
    for known in SHAPES:
        if known == shape.strip().upper():
            url = check_base_url(base_url)
            return Dialect("custom", url, submit_path, fetch_path, known, key_variable="SONGFLOW_API_KEY")
    raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")


_COMETAPI = Dialect(
    name="cometapi",
    base_url="https://api.cometapi.com",
    submit_path="/udio/generate-proxy",
    fetch_path="/udio/query?ids={ids}",
    shape="A",
    key_variable="COMETAPI_KEY",
)
_OPENAI_HK = Dialect(
    name="openai-hk",
    base_url="https://api.openai-hk.com",
    submit_path="/udio/submit/music",
    fetch_path="/udio/fetch/{id}",
    shape="B",
    key_variable="OPENAI_HK_KEY",
)
_SIMULATOR = Dialect(
    name="simulator",
    base_url=None,
    submit_path=_OPENAI_HK.submit_path,
    fetch_path=_OPENAI_HK.fetch_path,
    shape="B",
    key_variable="SONGFLOW_API_KEY",
)

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (_COMETAPI, _OPENAI_HK, _SIMULATOR)}
)
