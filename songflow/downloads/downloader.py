"""Download a song into a `.part` file: resume after interruptions, and verify that it is complete.

The part file survives a killed process. A JSON file beside it has what a safe resume needs: the URL and the validator
(ETag or Last-Modified) of the response. Without a validator the download starts again.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from songflow.audio.decoding import AudioFacts, AudioProblem, check_whole, measure
from songflow.downloads.address_policy import AddressRefused, check_peer, check_url
from songflow.gateways.client import KEPT_CONNECTIONS
from songflow.gateways.redaction import without_keys
from songflow.gateways.tls import tls_context
from songflow.runtime.failpoints import reached
from songflow.runtime.retry import Backoff, retry

__all__ = ["DownloadProblem", "Downloaded", "Downloads", "discard_part", "download_client", "locked"]

MAX_SONG_BYTES = 256 * 1024 * 1024
MAX_REDIRECTS = 5
# A host may trickle bytes without end; at 0.5 MB/s a song of 256 MiB takes less than this.
TRANSFER_SECONDS = 600.0
DOWNLOAD_BACKOFF = Backoff(first=0.5, attempts=5)
"""Long enough for a storage host to recover, short enough not to delay a flow."""

_READ_TIMEOUT_SECONDS = 30.0
# The URL no longer works: the gateway may have a new one.
_DEAD_STATUSES = frozenset({401, 403, 404, 410})

RefreshUrl = Callable[[], Awaitable[str | None]]


class DownloadProblem(Exception):
    """The song cannot be downloaded now. `dead`: the URL will not work again."""

    def __init__(self, message: str, *, dead: bool = False) -> None:
        super().__init__(message)
        self.dead = dead


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A complete song in its part file; `facts` is None if decoding is switched off."""

    part: Path
    bytes: int
    facts: AudioFacts | None


def download_client() -> httpx.AsyncClient:
    """An HTTP client for song hosts: it sends no gateway key, and leaves redirects to `Downloads`."""
    return httpx.AsyncClient(
        verify=tls_context(),
        follow_redirects=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "songflow"},
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_CONNECTIONS),
        timeout=httpx.Timeout(_READ_TIMEOUT_SECONDS, connect=10.0),
    )


@asynccontextmanager
async def locked(part: Path, poll_seconds: float = 0.1) -> AsyncIterator[None]:
    """Lock a part file against other processes; the lock ends with the process in any case."""
    descriptor = os.open(part.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not _try_lock(descriptor):  # noqa: ASYNC110 - other processes give no events
            await asyncio.sleep(poll_seconds)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows: two processes may download the same song, which is only wasteful
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


class Downloads:
    """Downloads songs with one shared client.

    Args:
        client: From `download_client`.
        allow_private: Whether private addresses are allowed (only if the gateway's is private).
        verify_audio: Decode each song to its end.
        backoff: The retries of a transfer.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        allow_private: bool,
        verify_audio: bool = True,
        backoff: Backoff = DOWNLOAD_BACKOFF,
    ) -> None:
        self._client = client
        self._allow_private = allow_private
        self._verify_audio = verify_audio
        self._backoff = backoff

    async def fetch(
        self, url: str, part: Path, announced_seconds: float | None, refresh_url: RefreshUrl | None = None
    ) -> Downloaded:
        """Download a complete song into its part file, resuming what an earlier process left there.

        Args:
            url: The song's address, byte for byte as announced.
            part: The local file to fill.
            announced_seconds: The announced length, if any.
            refresh_url: Asks the gateway for a new URL; called at most once, if the first is dead.

        Raises:
            DownloadProblem: after the last attempt; the part file stays if it can be resumed.
        """

        async def attempt() -> Downloaded:
            nonlocal url, refresh_url
            try:
                return await self._attempt(url, part, announced_seconds)
            except DownloadProblem as problem:
                if problem.dead:
                    fresh, refresh_url = (await refresh_url() if refresh_url else None), None
                    if fresh is not None and fresh != url:
                        url, problem.dead = fresh, False
                raise

        return await retry(
            attempt, on=DownloadProblem, when=lambda problem: not problem.dead, backoff=self._backoff
        )

    async def _attempt(self, url: str, part: Path, announced_seconds: float | None) -> Downloaded:
        try:
            await self._transfer(url, part)
            facts = await asyncio.to_thread(_decoded, part, announced_seconds) if self._verify_audio else None
            return Downloaded(part, part.stat().st_size, facts)
        except AddressRefused as error:
            raise DownloadProblem(f"its URL is refused: {error}", dead=True) from None
        except AudioProblem as error:
            # Complete by size but not playable: resuming it would not help.
            discard_part(part)
            raise DownloadProblem(f"it is not a whole song: {error}") from None
        except (httpx.HTTPError, httpx.InvalidURL, socket.gaierror, TimeoutError) as error:
            if _resume_point(url, part) is None:
                discard_part(part)
            # Error messages quote the response, in which a gateway that is also the host could put its key.
            reason = without_keys(str(error)) or type(error).__name__
            raise DownloadProblem(f"its host could not be read ({reason})", dead=_is_gone(error)) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise DownloadProblem(f"it could not be written to {part.parent} ({reason})") from None

    async def _transfer(self, url: str, part: Path) -> None:
        """Send one GET (and its redirects) and complete the part file.

        Raises:
            TimeoutError: the host is too slow; the next attempt resumes.
        """
        async with asyncio.timeout(TRANSFER_SECONDS):
            await self._follow(url, part)

    async def _follow(self, url: str, part: Path) -> None:
        resume = _resume_point(url, part)
        headers = {"Range": f"bytes={resume.size}-", "If-Range": resume.validator} if resume else {}
        async with self.get(url, headers) as response:
            await self._receive(response, url, part, resume)

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> AsyncIterator[httpx.Response]:
        """Send one GET and follow its redirects to allowed addresses; the caller reads the body.

        Raises:
            AddressRefused: the URL or a redirect has a forbidden address.
            DownloadProblem: too many redirects.
            httpx.HTTPError, httpx.InvalidURL, OSError: its host cannot be read.
        """
        target = url
        for _hop in range(MAX_REDIRECTS + 1):
            await check_url(target, allow_private=self._allow_private)
            async with self._client.stream("GET", target, headers=headers) as response:
                check_peer(response, allow_private=self._allow_private)
                if not response.has_redirect_location:
                    yield response
                    return
                # A gateway that is also the host could pass its key to another host.
                target = str(response.url.join(without_keys(response.headers["location"])))
        raise DownloadProblem(f"it was redirected more than {MAX_REDIRECTS} times", dead=True)

    async def _receive(
        self, response: httpx.Response, url: str, part: Path, resume: _ResumePoint | None
    ) -> None:
        status = response.status_code
        if status in _DEAD_STATUSES:
            raise DownloadProblem(f"its host answered {status}", dead=True)
        if status == 416:
            if resume is not None and _content_range_total(response) == resume.size:
                return  # already complete: a process died, or the store failed, after the transfer
            discard_part(part)
            raise DownloadProblem("the song at its host has changed since the download began")
        if status not in {200, 206} or (status == 206 and resume is None):
            raise DownloadProblem(f"its host answered {status}")
        start = 0
        if status == 206 and resume is not None:
            if _content_range_start(response) != resume.size:
                discard_part(part)
                raise DownloadProblem("its host sent a range that was not requested")
            start = resume.size
        if start == 0:
            _remember(part, url, response)
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            whole = await _copy(response, file, start)
            await asyncio.to_thread(_sync, file)
        if not whole:
            discard_part(part)
            raise DownloadProblem(f"it is larger than {MAX_SONG_BYTES >> 20} MiB", dead=True)


def _decoded(part: Path, announced_seconds: float | None) -> AudioFacts:
    facts = measure(part)
    check_whole(facts, announced_seconds)
    return facts


@dataclass(frozen=True, slots=True)
class _ResumePoint:
    size: int
    validator: str


def _resume_point(url: str, part: Path) -> _ResumePoint | None:
    """The point to resume from, if the part and its JSON file belong to this URL."""
    try:
        note = json.loads(_note(part).read_bytes())
        size = part.stat().st_size
    except (OSError, ValueError):
        return None
    if size == 0 or not isinstance(note, dict) or note.get("url") != url or not note.get("validator"):
        return None
    return _ResumePoint(size, str(note["validator"]))


def _remember(part: Path, url: str, response: httpx.Response) -> None:
    """Store the response's validator; none if it is encoded, weakly tagged, or the validator contains a key."""
    tag = response.headers.get("etag", "")
    validator = tag if tag and not tag.startswith("W/") else response.headers.get("last-modified")
    encoded = response.headers.get("content-encoding", "identity") != "identity"
    if encoded or (validator and without_keys(validator) != validator):
        validator = None
    _note(part).write_text(json.dumps({"url": url, "validator": validator}))


async def _copy(response: httpx.Response, file: IO[bytes], start: int) -> bool:
    """Copy the body; return False if it is larger than `MAX_SONG_BYTES`."""
    size = start
    # Without buffering: buffered bytes would be lost if the connection breaks.
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > MAX_SONG_BYTES:
            return False
        file.write(chunk)
    return True


def _sync(file: IO[bytes]) -> None:
    file.flush()
    reached("part: before fsync")
    os.fsync(file.fileno())
    reached("part: after fsync")


def _content_range_start(response: httpx.Response) -> int | None:
    found = re.fullmatch(r"bytes (\d+)-\d+/(?:\d+|\*)", response.headers.get("content-range", "").strip())
    return int(found[1]) if found else None


def _content_range_total(response: httpx.Response) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("content-range", "").strip())
    return int(found[1]) if found else None


def _note(part: Path) -> Path:
    return part.with_suffix(".json")


def discard_part(part: Path) -> None:
    """Delete a part file and its resume data, not its lock file: other processes may wait for that."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _is_gone(error: Exception) -> bool:
    """True if nothing listens at the address, or it is invalid."""
    return isinstance(
        error, httpx.ConnectError | httpx.InvalidURL | httpx.UnsupportedProtocol | socket.gaierror
    )
