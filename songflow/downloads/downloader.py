"""Download a song into a `.part` file: resume after interruptions, and verify that it is complete.

A transfer that failed is repeated. A file that came whole and cannot be verified is fetched once more, from a fresh
address if the gateway has one: the same bytes again are what there is, so they are kept, with a note. A download that
fails to its end asks once for a fresh address.

The part file survives a killed process. A JSON file beside it has what a safe resume needs: the URL and the validator
(ETag or Last-Modified) of the response. Without a validator the download starts again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

from songflow.audio.decoding import AudioFacts
from songflow.downloads.address_policy import AddressRefused, check_peer, check_url
from songflow.downloads.checking import Checked, PageFound, check_file
from songflow.errors import SongflowError
from songflow.gateways.encoding import Ending, decode_body, names_encoding
from songflow.gateways.network import Network
from songflow.gateways.redaction import without_keys
from songflow.runtime.failpoints import reached
from songflow.runtime.file_locks import try_lock
from songflow.runtime.retry import Backoff, retry

__all__ = ["DownloadProblem", "Downloaded", "Downloads", "discard_part", "locked"]

log = logging.getLogger(__name__)

MAX_SONG_BYTES = 256 * 1024 * 1024
MAX_REDIRECTS = 5
# A host may trickle bytes without end; at 0.5 MB/s a song of 256 MiB takes less than this.
TRANSFER_SECONDS = 600.0
DOWNLOAD_BACKOFF = Backoff(first=0.5, attempts=5)
"""Long enough for a storage host to recover, short enough not to delay a flow."""

_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "songflow"}
_TIMEOUTS = {"connect": 10.0, "read": 30.0, "write": 30.0}  # seconds
# The URL no longer works: the gateway may have a new one.
_DEAD_STATUSES = frozenset({401, 403, 404, 410})
# These pass by themselves; any other 4xx or 3xx is an address that has run out in a host's own words.
_PASSING_STATUSES = frozenset({408, 425, 429})

RefreshUrl = Callable[[], Awaitable[str | None]]
OwnHeaders = Callable[[str], Mapping[str, str]]


class DownloadProblem(Exception):
    """The song cannot be downloaded now.

    Attributes:
        dead: The URL will not work again.
        stale: A fresh URL may bring more than another attempt at this one.
        is_local: It is this machine's, and no URL helps.
    """

    def __init__(
        self, message: str, *, dead: bool = False, stale: bool = False, is_local: bool = False
    ) -> None:
        super().__init__(message)
        self.dead = dead
        self.stale = stale or dead
        self.is_local = is_local


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A complete song in its part file.

    Attributes:
        facts: None if it cannot be decoded, or decoding is switched off.
        note: What could not be verified, and what else is worth a note on the song.
    """

    part: Path
    bytes: int
    facts: AudioFacts | None
    note: str | None = None


@asynccontextmanager
async def locked(part: Path, poll_seconds: float = 0.1) -> AsyncIterator[None]:
    """Lock a part file against other processes; the lock ends with the process in any case."""
    descriptor = os.open(part.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not try_lock(descriptor):  # noqa: ASYNC110 - other processes give no events
            await asyncio.sleep(poll_seconds)
        yield
    finally:
        os.close(descriptor)


class Downloads:
    """Downloads songs with one shared transport, and follows redirects itself.

    Args:
        transport: From `open_transport`; it knows no gateway's key.
        allow_private: Whether private addresses are allowed (only if the gateway's is private).
        resolved: Networks where a name may resolve though they are not public.
        verify_audio: Decode each song to its end.
        backoff: The retries of a transfer.
        own_headers: The headers that a URL gets beyond those of every request: the key, at a gateway that serves its
            songs itself and wants it for them.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport,
        *,
        allow_private: bool,
        resolved: Sequence[Network] = (),
        verify_audio: bool = True,
        backoff: Backoff = DOWNLOAD_BACKOFF,
        own_headers: OwnHeaders | None = None,
    ) -> None:
        self._transport = transport
        self._allow_private = allow_private
        self._resolved = tuple(resolved)
        self._verify_audio = verify_audio
        self._backoff = backoff
        self._own_headers = own_headers

    async def fetch(
        self, url: str, part: Path, announced_seconds: float | None, refresh_url: RefreshUrl | None = None
    ) -> Downloaded:
        """Download a complete song into its part file, resuming what an earlier process left there.

        Args:
            url: The song's address, byte for byte as announced.
            part: The local file to fill.
            announced_seconds: The announced length, if any.
            refresh_url: Asks the gateway for a new URL; called at most once, before a URL is given up.

        Raises:
            DownloadProblem: after the last attempt; the part file stays if it can be resumed.
        """
        fresh = _FreshUrl(refresh_url)
        tried: set[str] = set()
        marks: dict[str, str] = {}

        async def attempt() -> Downloaded:
            nonlocal url
            tried.add(url)
            try:
                return await self._attempt(url, part, announced_seconds, marks)
            except DownloadProblem as problem:
                if problem.stale and (found := await fresh.instead_of(url, problem)) is not None:
                    url, problem.dead = found, False
                raise

        while True:
            try:
                return await retry(
                    attempt, on=DownloadProblem, when=lambda problem: not problem.dead, backoff=self._backoff
                )
            except DownloadProblem as problem:
                if problem.is_local:
                    raise
                if url not in tried:
                    continue
                found = await fresh.instead_of(url, problem)
                if found is None:
                    # A file in doubt is more than none.
                    found = next((one for one in marks.values() if one != url), None)
                    marks = dict.fromkeys(marks, url if found is None else found)
                if found is None:
                    raise
                url = found

    async def _attempt(
        self, url: str, part: Path, announced_seconds: float | None, marks: dict[str, str]
    ) -> Downloaded:
        """Transfer and check once; `marks` are those of files that came whole and in doubt, with their URLs."""
        try:
            await self._transfer(url, part)
            if not self._verify_audio:
                return Downloaded(part, part.stat().st_size, None)
            checked = await asyncio.to_thread(check_file, part, announced_seconds)
            return _kept(checked, url, part, marks)
        except AddressRefused as error:
            raise DownloadProblem(f"its URL is refused: {error}", dead=True) from None
        except PageFound as error:
            discard_part(part)
            raise DownloadProblem(f"it is not a whole song: {error}", stale=True) from None
        except (httpx.HTTPError, httpx.InvalidURL, socket.gaierror, TimeoutError) as error:
            if _resume_point(url, part) is None:
                discard_part(part)
            # Error messages quote the response, in which a gateway that is also the host could put its key.
            reason = without_keys(str(error)) or type(error).__name__
            raise DownloadProblem(
                f"its host could not be read ({reason})",
                dead=_is_invalid(error),
                stale=isinstance(error, httpx.ConnectError | socket.gaierror),
            ) from None
        except OSError as error:
            reason = error.strerror or str(error)
            raise DownloadProblem(
                f"it could not be written to {part.parent} ({reason})", is_local=True
            ) from None

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
        """Send one GET and follow its redirects, with their cookies, to allowed addresses; the caller reads the body.

        Raises:
            AddressRefused: the URL or a redirect has a forbidden address.
            DownloadProblem: too many redirects.
            httpx.HTTPError, httpx.InvalidURL, OSError: its host cannot be read.
        """
        target = url
        cookies: httpx.Cookies | None = None
        for _hop in range(MAX_REDIRECTS + 1):
            await check_url(target, allow_private=self._allow_private, resolved=self._resolved)
            own = self._own_headers(target) if self._own_headers else {}
            request = httpx.Request(
                "GET",
                target,
                headers={**_HEADERS, **(headers or {}), **own},
                extensions={"timeout": _TIMEOUTS},
            )
            if cookies is not None:
                cookies.set_cookie_header(request)
            response = await self._transport.handle_async_request(request)
            response.request = request
            try:
                check_peer(response, allow_private=self._allow_private, resolved=self._resolved)
                if not response.has_redirect_location:
                    yield response
                    return
                cookies = httpx.Cookies(cookies)
                cookies.extract_cookies(response)
                # A gateway that is also the host could pass its key to another host.
                target = str(response.url.join(without_keys(response.headers["location"])))
            finally:
                await response.aclose()
        raise DownloadProblem(f"it was redirected more than {MAX_REDIRECTS} times", dead=True)

    async def _receive(
        self, response: httpx.Response, url: str, part: Path, resume: _ResumePoint | None
    ) -> None:
        status = response.status_code
        if status == 416:
            if resume is not None and _content_range_total(response) == resume.size:
                return  # already complete: a process died, or the store failed, after the transfer
            discard_part(part)
            raise DownloadProblem("the song at its host has changed since the download began")
        if not response.is_success:
            stale = status < 500 and status not in _PASSING_STATUSES
            raise DownloadProblem(f"its host answered {status}", dead=status in _DEAD_STATUSES, stale=stale)
        sent = _ContentRange.of(response) if status == 206 else None
        start = resume.size if status == 206 and resume is not None else 0
        if (sent is None and start) or (sent is not None and sent.start != start):
            discard_part(part)
            raise DownloadProblem("its host sent a range that was not requested")
        with part.open("r+b" if start else "wb") as file:
            if start:
                file.seek(start)
                file.truncate()
            else:  # the part is empty now: no note can stand beside another file's bytes
                _remember(part, url, response)
            size = await _copy(response, file, start)
            await asyncio.to_thread(_sync, file)
        if size is None:
            discard_part(part)
            raise DownloadProblem(f"it is larger than {MAX_SONG_BYTES >> 20} MiB", dead=True)
        if sent is not None and sent.total is not None and size < sent.total:
            if _resume_point(url, part) is None:
                discard_part(part)
            raise DownloadProblem(f"its host sent {size} of {sent.total} bytes")
        if names_encoding(encoding := response.headers.get("content-encoding", "")):
            await asyncio.to_thread(_decode, part, encoding)


class _FreshUrl:
    """Asks the gateway for a fresh URL, at most once."""

    def __init__(self, refresh_url: RefreshUrl | None) -> None:
        self._refresh_url = refresh_url

    async def instead_of(self, url: str, problem: DownloadProblem) -> str | None:
        """A URL other than this one; whatever prevents it is only an error of its own where nothing else can help."""
        refresh_url, self._refresh_url = self._refresh_url, None
        if refresh_url is None:
            return None
        try:
            found = await refresh_url()
        except SongflowError as error:
            if problem.dead:
                raise
            log.warning("There is no fresh address: %s", error.message)
            return None
        return found if found != url else None


def _kept(checked: Checked, url: str, part: Path, marks: dict[str, str]) -> Downloaded:
    """A file that came whole, if nothing speaks against it or it came before.

    Raises:
        DownloadProblem: it is in doubt for the first time.
    """
    if checked.doubt is not None and checked.mark not in marks:
        marks[checked.mark] = url
        discard_part(part)  # resuming it would not help
        raise DownloadProblem(f"it is not a whole song: {checked.doubt}", stale=True)
    return Downloaded(part, part.stat().st_size, checked.facts, checked.note)


def _decode(part: Path, encoding: str) -> None:
    """Undo a transfer's encoding. Bytes that are not encoded, or cannot be decoded, stay as they came."""
    decoded = decode_body(part.read_bytes(), encoding, MAX_SONG_BYTES)
    if decoded.ending is Ending.WHOLE:
        with part.open("wb") as file:
            file.write(decoded.content)
            _sync(file)


@dataclass(frozen=True, slots=True)
class _ResumePoint:
    size: int
    validator: str


def _resume_point(url: str, part: Path) -> _ResumePoint | None:
    """The point to resume from, if the part and its JSON file belong to this URL."""
    try:
        size = part.stat().st_size
        note = json.loads(_note(part).read_bytes()) if size else None
    except (OSError, ValueError):
        return None
    if not isinstance(note, dict) or note.get("url") != url or not note.get("validator"):
        return None
    validator = str(note["validator"])
    return _ResumePoint(size, validator) if validator.isascii() else None


def _remember(part: Path, url: str, response: httpx.Response) -> None:
    """Store the response's validator.

    There is none if the response is encoded or weakly tagged, or if the validator contains a key or is not ASCII.
    """
    tag = response.headers.get("etag", "")
    validator = tag if tag and not tag.startswith("W/") else response.headers.get("last-modified")
    encoded = names_encoding(response.headers.get("content-encoding", ""))
    if encoded or (validator and (not validator.isascii() or without_keys(validator) != validator)):
        validator = None
    _note(part).write_bytes(json.dumps({"url": url, "validator": validator}).encode())


async def _copy(response: httpx.Response, file: IO[bytes], start: int) -> int | None:
    """Copy the body as it comes; return the file's size, or None if it is larger than `MAX_SONG_BYTES`."""
    size = start
    # Without buffering: buffered bytes would be lost if the connection breaks.
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        size += len(chunk)
        if size > MAX_SONG_BYTES:
            return None
        file.write(chunk)
    return size


def _sync(file: IO[bytes]) -> None:
    file.flush()
    reached("part: before fsync")
    os.fsync(file.fileno())
    reached("part: after fsync")


@dataclass(frozen=True, slots=True)
class _ContentRange:
    """The first byte of a partial answer, and the size of the whole file (None if it is not stated)."""

    start: int
    total: int | None

    @classmethod
    def of(cls, response: httpx.Response) -> _ContentRange | None:
        header = response.headers.get("content-range", "").strip()
        found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", header)
        return cls(int(found[1]), None if found[2] == "*" else int(found[2])) if found else None


def _content_range_total(response: httpx.Response) -> int | None:
    found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("content-range", "").strip())
    return int(found[1]) if found else None


def _note(part: Path) -> Path:
    return part.with_suffix(".json")


def discard_part(part: Path) -> None:
    """Delete a part file and its resume data, not its lock file: other processes may wait for that."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _is_invalid(error: Exception) -> bool:
    """True if the address never works; a host that is not reached may be back, and so may our own network."""
    if isinstance(error, socket.gaierror):
        return error.errno != socket.EAI_AGAIN
    return isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol)
