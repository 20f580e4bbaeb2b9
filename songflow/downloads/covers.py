"""Download cover art in parallel with its song.

The address policy of songs applies, no key is sent, and there is one attempt. A failure is logged and never fails the
song.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from songflow.audio.id3 import Picture
from songflow.downloads.address_policy import AddressRefused
from songflow.downloads.downloader import DownloadProblem, Downloads
from songflow.gateways.encoding import Ending, decode_body
from songflow.gateways.redaction import without_keys

__all__ = ["ENDINGS", "fetching_cover", "sniff"]

log = logging.getLogger(__name__)

MAX_COVER_BYTES = 4 * 1024 * 1024
COVER_SECONDS = 15.0
"""A complete song waits no longer for its cover."""

ENDINGS = {"image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif"}
"""File endings of supported pictures, by MIME type."""

_BEGINNINGS = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}


@asynccontextmanager
async def fetching_cover(
    downloads: Downloads, url: str | None
) -> AsyncIterator[asyncio.Task[Picture | None]]:
    """Download a cover while the block runs; the task never raises, and is cancelled at the end of the block."""
    task = asyncio.create_task(_fetch(downloads, url))
    try:
        yield task
    finally:
        task.cancel()


async def _fetch(downloads: Downloads, url: str | None) -> Picture | None:
    if url is None:
        return None
    try:
        async with asyncio.timeout(COVER_SECONDS), downloads.get(url) as response:
            if not response.is_success or response.status_code == 206:
                raise DownloadProblem(f"its host answered {response.status_code}")
            data = await _body(response)
    except TimeoutError:
        problem = f"it took longer than {COVER_SECONDS:.0f} s"
    except (AddressRefused, DownloadProblem, httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        # Error messages quote the response, in which a gateway that is also the host could put its key.
        problem = without_keys(str(error)) or type(error).__name__
    else:
        mime = sniff(data)
        if mime is not None:
            return Picture(mime, data)
        problem = "it is not a supported picture"
    log.info("A cover was skipped: %s.", problem)
    return None


async def _body(response: httpx.Response) -> bytes:
    data = bytearray()
    async for chunk in response.aiter_raw():
        data += chunk
        if len(data) > MAX_COVER_BYTES:
            raise DownloadProblem(f"it is larger than {MAX_COVER_BYTES >> 20} MiB")
    decoded = decode_body(bytes(data), response.headers.get("content-encoding", ""), MAX_COVER_BYTES)
    return decoded.content if decoded.ending is Ending.WHOLE else bytes(data)


def sniff(data: bytes) -> str | None:
    """The MIME type of a picture from its first bytes; the host's Content-Type is ignored."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for beginning, mime in _BEGINNINGS.items() if data.startswith(beginning)), None)
