"""Song hosts on real sockets: canned bytes, whole mp3 files, and what was asked of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from support.recordings import mp3

from songflow.downloads.downloader import DOWNLOAD_BACKOFF, Downloads
from songflow.gateways.network import open_transport

__all__ = ["asking", "canned", "downloads", "mp3", "part", "song_host"]


@dataclass
class Asked:
    """One request as the host saw it."""

    path: str
    headers: dict[str, str]


Answer = Callable[[Asked], bytes]
"""From a request to the bytes that go back before the connection is closed."""


@dataclass
class SongHost:
    """A host of songs that sends scripted answers, one per connection."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    @property
    def ranges(self) -> list[str | None]:
        """The Range headers that came, in order."""
        return [one.headers.get("range") for one in self.asked]


def http(status: int, body: bytes = b"", *, length: int | None = None, **headers: str) -> bytes:
    """An answer; `length` is what it claims to hold, underscores in names become dashes."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join((*lines, "Connection: close", "", "")).encode() + body


def ranged(data: bytes, asked: Asked, etag: str, *, only: int | None = None) -> bytes:
    """What an honest host answers, of which `only` so many bytes arrive."""
    given = asked.headers.get("range")
    if given is None or asked.headers.get("if-range") != etag:
        return http(200, data[:only], length=len(data), ETag=etag)
    start = int(given.removeprefix("bytes=").removesuffix("-"))
    rest, span = data[start:], f"bytes {start}-{len(data) - 1}/{len(data)}"
    return http(206, rest[:only], length=len(rest), ETag=etag, Content_Range=span)


class Serve(Protocol):
    """Starts a host that gives these answers in turn, repeating the last one."""

    async def __call__(self, *answers: Answer | bytes) -> SongHost: ...


@dataclass(frozen=True)
class Canned:
    """What tests build answers from, as they have no package to import it from."""

    http: Callable[..., bytes] = http
    ranged: Callable[..., bytes] = ranged


@pytest.fixture
def canned() -> Canned:
    """The builders of answers."""
    return Canned()


@pytest.fixture
async def song_host() -> AsyncIterator[Serve]:
    """Starts hosts, and ends them with the test."""
    servers: list[asyncio.Server] = []

    async def start(*answers: Answer | bytes) -> SongHost:
        host, left = SongHost(), list(answers)

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
                }
                host.asked.append(Asked(first.split(" ")[1], headers))
                now = left.pop(0) if len(left) > 1 else left[0]
                writer.write(now if isinstance(now, bytes) else now(host.asked[-1]))
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        servers.append(server)
        host.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return host

    yield start
    for server in servers:
        server.close()


class GiveDownloads(Protocol):
    """Downloads whose pauses between attempts are none; private addresses are allowed by default."""

    def __call__(self, **settings: Any) -> Downloads: ...


@pytest.fixture
async def downloads() -> AsyncIterator[GiveDownloads]:
    """Downloads with a transport of their own."""
    async with open_transport() as transport:

        def give(**settings: Any) -> Downloads:
            return Downloads(
                transport,
                **{"allow_private": True, "backoff": replace(DOWNLOAD_BACKOFF, first=0.0), **settings},
            )

        yield give


@pytest.fixture
def part(tmp_path: Path) -> Path:
    """Where a download goes."""
    return tmp_path / "take.part"


@pytest.fixture
def asking() -> Callable[..., tuple[Callable[[], Awaitable[str | None]], list[str | None]]]:
    """A gateway that is asked again for an address: what it answers, and a list of what it has answered."""

    def make(*answers: str | None) -> tuple[Callable[[], Awaitable[str | None]], list[str | None]]:
        left, given = list(answers), []

        async def ask() -> str | None:
            given.append(left.pop(0))
            return given[-1]

        return ask, given

    return make
