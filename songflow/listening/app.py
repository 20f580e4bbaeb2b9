"""ASGI application of the listening room: a page, the songs as JSON, their audio, and ratings.

Only the user of this machine may use it; other web sites must neither read nor rate songs. So the Host header must name
this machine (which stops DNS rebinding), writes must be JSON from the same origin, and the page runs only its own
script. Audio is addressed by row id, never by path.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel

from songflow.catalog.ratings import rate_row
from songflow.errors import InputError, LibraryError
from songflow.library.library import Library
from songflow.listening.rows import room_songs, stored_path
from songflow.runtime.remote_files import as_os_error, is_remote, local_path, open_file
from songflow.settings import LibrarySettings

__all__ = ["listening_app"]

_THIS_MACHINE = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?")
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
_ASSETS = {"room.html": "text/html", "room.js": "text/javascript", "room.css": "text/css"}

Next = Callable[[Request], Awaitable[Response]]


def listening_app(settings: LibrarySettings) -> FastAPI:
    """Create the application for a library, which is opened at startup."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Library(settings, reads_only=True) as library:
            app.state.library = library
            yield

    app = FastAPI(
        title="Songflow listening room", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.middleware("http")(_guard)
    app.get("/")(_page)
    app.get("/assets/{name}")(_asset)
    app.get("/songs")(_songs)
    app.get("/songs/{number}/audio")(_audio)
    app.put("/songs/{number}/rating")(_rate)
    return app


async def _guard(request: Request, call_next: Next) -> Response:
    """Refuse requests that do not come from this machine's own page."""
    host = request.headers.get("host", "")
    origin = request.headers.get("origin")
    if not _THIS_MACHINE.fullmatch(host):
        return Response("The listening room can be used only on this machine.", 421, _HEADERS)
    if origin is not None and origin != f"http://{host}":
        return Response("Requests from other sites are not allowed.", 403, _HEADERS)
    if request.method not in {"GET", "HEAD"}:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind != "application/json":
            return Response("The content type must be application/json.", 415, _HEADERS)
    response = await call_next(request)
    response.headers.update(_HEADERS)
    return response


def _page() -> Response:
    return _asset("room.html")


def _asset(name: str) -> Response:
    if name not in _ASSETS:
        raise HTTPException(404)
    text = files("songflow.listening").joinpath("assets", name).read_text(encoding="utf-8")
    return Response(text, media_type=_ASSETS[name])


async def _songs(request: Request) -> dict[str, Any]:
    library: Library = request.app.state.library
    return {"library": str(library.settings.folder), "songs": await room_songs(library.ledger)}


async def _audio(request: Request, number: int) -> Response:
    """A song's file; range requests return a part."""
    path = await stored_path(request.app.state.library.ledger, number)
    if path is None:
        raise HTTPException(404, "There is no stored song with this id.")
    if is_remote(path):
        return await _remote_audio(path)
    local = local_path(path)
    if not local.is_file():
        raise HTTPException(404, "The song's file is missing.")
    return FileResponse(local, media_type="audio/mpeg")


async def _remote_audio(url: str) -> Response:
    """A complete song of a remote store: a few megabytes."""

    def read() -> bytes:
        with as_os_error("the download failed", url), open_file(url) as file:
            return file.read()

    try:
        return Response(await asyncio.to_thread(read), media_type="audio/mpeg")
    except OSError as error:
        raise HTTPException(404, f"The store cannot return it ({type(error).__name__}).") from None


class _Rating(BaseModel):
    rating: float | None


async def _rate(request: Request, number: int, given: _Rating) -> dict[str, float | None]:
    try:
        song = await rate_row(request.app.state.library.ledger, number, given.rating)
    except LibraryError as error:
        raise HTTPException(503, str(error)) from None
    except InputError as error:
        raise HTTPException(422, str(error)) from None
    return {"rating": song.rating}
