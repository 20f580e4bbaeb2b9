"""Cover art: a small picture or none, without keys and errors."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import songflow.downloads.covers
from songflow.audio.id3 import Picture
from songflow.downloads.covers import MAX_COVER_BYTES, fetching_cover, sniff
from songflow.downloads.downloader import Downloads
from songflow.gateways.network import open_transport

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)


@pytest.fixture
async def host() -> AsyncIterator[Callable[..., Any]]:
    """Starts a host that answers each request with these bytes; gives its URL and what it was asked."""
    servers = []

    async def start(answer: bytes, *, then: bytes = b"", wait: float = 0.0) -> tuple[str, list[bytes]]:
        asked: list[bytes] = []

        async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                asked.append(await reader.readuntil(b"\r\n\r\n"))
                await asyncio.sleep(wait)
                writer.write(answer if len(asked) == 1 or not then else then)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(speak, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/cover", asked

    yield start
    for server in servers:
        server.close()


def http(body: bytes, status: int = 200, **headers: str) -> bytes:
    """An answer."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", "Connection: close"]
    return (
        "\r\n".join((*lines, *(f"{name}: {value}" for name, value in headers.items()), "", "")).encode()
        + body
    )


@pytest.fixture
async def cover_from() -> AsyncIterator[Callable[..., Any]]:
    """Fetches a cover."""
    async with open_transport() as transport:

        async def fetch(url: str | None, *, allow_private: bool = True) -> Picture | None:
            downloads = Downloads(transport, allow_private=allow_private)
            async with fetching_cover(downloads, url) as cover:
                return await cover

        yield fetch


@pytest.mark.parametrize(
    ("data", "mime"),
    [
        (JPEG, "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8", "image/webp"),
        (b"RIFF\0\0\0\0WAVE", None),
        (b"<svg onload='alert(1)'/>", None),
        (b"", None),
    ],
)
async def test_a_pictures_type_is_read_from_its_bytes(
    data: bytes, mime: str, host: Any, cover_from: Any
) -> None:
    """The Content-Type is ignored; other files are not covers."""
    url, _ = await host(http(data, **{"Content-Type": "image/png"}))
    assert sniff(data) == mime
    assert await cover_from(url) == (Picture(mime, data) if mime else None)


@pytest.mark.parametrize("body", [JPEG, gzip.compress(JPEG)], ids=["plain", "compressed"])
async def test_a_covers_encoding_may_be_wrong(body: bytes, host: Any, cover_from: Any) -> None:
    """As a song's."""
    url, _ = await host(http(body, 203, **{"Content-Encoding": "gzip"}))
    assert await cover_from(url) == Picture("image/jpeg", JPEG)


async def test_a_cover_is_requested_without_a_key_and_follows_redirects(host: Any, cover_from: Any) -> None:
    """As songs are."""
    url, asked = await host(http(b"", 302, Location="/moved"), then=http(JPEG))
    assert await cover_from(url) == Picture("image/jpeg", JPEG)
    assert [head.split(b" ")[1] for head in asked] == [b"/cover", b"/moved"]
    assert not any(b"authorization" in head.lower() for head in asked)


@pytest.mark.parametrize(
    "answer",
    [
        http(b"gone", 404),
        http(JPEG, 206),
        http(b"", 302, Location="file:///etc/passwd"),
        http(b"", 302, Location="/cover"),
        http(JPEG + bytes(MAX_COVER_BYTES)),
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + JPEG,
        b"not http",
        b"",
    ],
    ids=["404", "206", "file", "endless", "large", "cut", "noise", "silence"],
)
async def test_a_failed_cover_is_logged(
    answer: bytes, host: Any, cover_from: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """No cover, and nothing is raised."""
    caplog.set_level(logging.INFO, "songflow")
    url, _ = await host(answer)
    assert await cover_from(url) is None
    assert "A cover was skipped: " in caplog.text


@pytest.mark.parametrize(
    "url", ["ftp://x/y", "http://", "http://127.0.0.1:1/x", "http://[bad", "\x00", "x" * 9999]
)
async def test_addresses_that_cannot_be_used_are_no_cover(url: str, cover_from: Any) -> None:
    """Nothing is raised."""
    assert await cover_from(url) is None


async def test_a_public_gateways_cover_at_a_private_address_is_refused(host: Any, cover_from: Any) -> None:
    """A gateway's answer cannot make us read the user's own network."""
    url, asked = await host(http(JPEG))
    assert await cover_from(url, allow_private=False) is None
    assert asked == []


async def test_a_song_waits_for_its_cover_for_a_limited_time(
    host: Any, cover_from: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that never responds costs only the cover."""
    monkeypatch.setattr(songflow.downloads.covers, "COVER_SECONDS", 0.05)
    url, _ = await host(http(JPEG), wait=30.0)
    assert await cover_from(url) is None


async def test_without_a_url_no_cover_is_requested(cover_from: Any) -> None:
    """No address, no cover."""
    assert await cover_from(None) is None


async def test_the_cover_is_cancelled_if_its_song_fails(host: Any) -> None:
    """The task ends with the block."""
    url, _ = await host(http(JPEG), wait=30.0)
    async with open_transport() as transport:
        fetching = functools.partial(fetching_cover, Downloads(transport, allow_private=True), url)
        with pytest.raises(RuntimeError):
            async with fetching() as cover:
                raise RuntimeError
        with pytest.raises(asyncio.CancelledError):
            await cover
