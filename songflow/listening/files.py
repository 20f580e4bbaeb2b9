"""The room's files: a song's audio with Range, its cover, its download. They are addressed by row, never by path."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import PurePosixPath
from typing import IO

from fastapi import HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from sqlalchemy import ColumnElement, func, select

from songflow.ledger import schema
from songflow.ledger.ledger import Ledger
from songflow.runtime.remote_files import as_os_error, is_remote, local_path, open_file

__all__ = ["file_answer", "stored_audio", "stored_cover"]

_songs = schema.songs
_PIECE = 1 << 18
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


async def stored_audio(ledger: Ledger, song: int) -> str | None:
    """Path or URL of a stored song, or of the whole song that it was joined into; None if there is none."""
    return await _path(ledger, func.coalesce(_songs.c.whole_path, _songs.c.path), song)


async def stored_cover(ledger: Ledger, song: int) -> str | None:
    """Path or URL of a song's cover; None if there is none."""
    return await _path(ledger, _songs.c.cover_path, song)


async def _path(ledger: Ledger, column: ColumnElement[str | None], song: int) -> str | None:
    async with ledger.database.read() as connection:
        found: str | None = (
            await connection.execute(select(column).where(_songs.c.id == song))
        ).scalar_one_or_none()
        return found


async def file_answer(
    request: Request, path: str | None, media_type: str, *, as_download: bool = False
) -> Response:
    """A stored file, or the part of it that the request's Range asks for.

    Raises:
        HTTPException: there is none.
    """
    if path is None:
        raise HTTPException(404, "There is no such file.")
    name = PurePosixPath(path).name if as_download else None
    if is_remote(path):
        return await _remote(request, path, media_type, name)
    local = local_path(path)
    if not local.is_file():
        raise HTTPException(404, "The file is missing.")
    return FileResponse(local, media_type=media_type, filename=name)


async def _remote(request: Request, url: str, media_type: str, name: str | None) -> Response:
    """A file of a remote store, piece by piece: only the bytes that are asked for are read."""
    try:
        file, size = await asyncio.to_thread(_open, url)
    except OSError as error:
        raise HTTPException(404, f"The store cannot return it ({type(error).__name__}).") from None
    part = _asked(request.headers.get("range"), size)
    start, end = part or (0, size)
    headers = {"Accept-Ranges": "bytes", "Content-Length": str(end - start)}
    if name is not None:
        # The names of stored files have no quotes.
        headers["Content-Disposition"] = f"attachment; filename*=utf-8''{_percent(name)}"
    if part is not None and start >= size:
        file.close()
        return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
    if part is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    status = 200 if part is None else 206
    return StreamingResponse(_pieces(file, url, start, end), status, headers, media_type)


def _open(url: str) -> tuple[IO[bytes], int]:
    with as_os_error("the download failed", url):
        file = open_file(url)
        return file, file.seek(0, 2)


async def _pieces(file: IO[bytes], url: str, start: int, end: int) -> AsyncIterator[bytes]:
    def piece(at: int) -> bytes:
        with as_os_error("the download failed", url):
            file.seek(at)
            return file.read(min(_PIECE, end - at))

    with closing(file):
        while start < end and (data := await asyncio.to_thread(piece, start)):
            yield data
            start += len(data)


def _asked(given: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last that a Range header asks for; None without one that is right."""
    found = _RANGE.fullmatch(given or "")
    first, last = found.groups() if found is not None else ("", "")
    if not first:
        return (max(0, size - int(last)), size) if last else None
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


def _percent(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
