"""ASGI application of the listening room: a page, the songs as JSON, and their files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import PurePosixPath
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from songflow.accounts import Resolver, resolve_from_environment
from songflow.errors import LibraryError, SongflowError
from songflow.library.library import Library
from songflow.listening import comparing, making, sweep_runs
from songflow.listening.access import Access, Team
from songflow.listening.bundle import asset
from songflow.listening.details import details
from songflow.listening.files import file_answer, stored_audio, stored_cover
from songflow.listening.index import Index
from songflow.listening.judging import judging
from songflow.listening.making import Starter, Workshop
from songflow.listening.search import ORDERS, Search
from songflow.settings import LibrarySettings

__all__ = ["listening_app"]

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_SOUNDS = {
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".aiff": "audio/aiff",
    ".webm": "audio/webm",
}
_PICTURES = {".jpg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".gif": "image/gif"}


def listening_app(
    settings: LibrarySettings,
    team: Team | None = None,
    *,
    resolver: Resolver = resolve_from_environment,
    starter: Starter | None = None,
) -> FastAPI:
    """Create the application for a library, which is opened at startup.

    Args:
        settings: The library's.
        team: Who may use it with a token, see `songflow.listening.team`.
        resolver: Finds the account that made a song, when more is made from it.
        starter: Makes songs as flow runs; without one, they are made in this process.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            Library(settings, reads_only=True) as library,
            Index(library.ledger, settings.folder) as index,
        ):
            app.state.library, app.state.index = library, index
            app.state.workshop = Workshop(settings, resolver, starter)
            yield
            await app.state.workshop.aclose()

    app = FastAPI(
        title="Songflow listening room", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.state.access = Access(team)
    app.middleware("http")(app.state.access)
    app.exception_handler(LibraryError)(_unavailable)
    app.exception_handler(SongflowError)(_refused)
    app.get("/")(_page)
    app.get("/assets/{name}")(_asset)
    app.get("/library")(_library)
    app.get("/songs")(_songs)
    app.get("/songs/{number}/position")(_position)
    app.get("/songs/{number}/audio")(_audio)
    app.get("/songs/{number}/download")(_download)
    app.get("/songs/{number}/cover")(_cover)
    app.get("/songs/{number}")(_details)
    app.get("/facets")(_facets)
    for router in (judging, sweep_runs.router, comparing.router, making.router):
        app.include_router(router)
    return app


async def _unavailable(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 503)


async def _refused(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 422)


def _page(request: Request) -> Response:
    text = _asset_text("room.html")
    return Response(text.replace("{{ token }}", request.app.state.access.page_token), media_type="text/html")


def _asset(name: str) -> Response:
    kind = _TYPES.get(name[name.rfind(".") :])
    if kind is None or name == "room.html" or "/" in name or "\\" in name:
        raise HTTPException(404)
    return Response(_asset_text(name), media_type=kind)


def _asset_text(name: str) -> str:
    try:
        return asset(name)
    except FileNotFoundError:
        raise HTTPException(404) from None


async def _library(request: Request) -> dict[str, Any]:
    """Where the library is, how many songs the index has, and a number that grows with each change of them."""
    index: Index = request.app.state.index
    library: Library = request.app.state.library
    await index.follow()
    return {
        "library": str(library.settings.folder),
        "unit": library.settings.unit,
        "number": index.number,
        "songs": index.size(),
        "complete": index.is_complete,
    }


async def _songs(request: Request, start: int = 0, count: int = 100) -> dict[str, Any]:
    """A page of the songs that a search finds (see `songflow.listening.search`), as cards."""
    index: Index = request.app.state.index
    await index.follow()
    search = _search(request)
    page = search.page(index.database, max(0, start), count)
    return {"number": index.number, "start": start, "total": page.total, "songs": page.songs}


async def _details(request: Request, number: int) -> dict[str, Any]:
    """Everything of one song, see `songflow.listening.details`."""
    index: Index = request.app.state.index
    await index.follow()
    found = await details(request.app.state.library.ledger, index, number)
    if found is None:
        raise HTTPException(404, "There is no such song.")
    return found


async def _facets(request: Request) -> dict[str, Any]:
    """The choices of the filters, and the orders of the list."""
    index: Index = request.app.state.index
    await index.follow()
    return {"number": index.number, "facets": await index.facets(), "orders": list(ORDERS)}


async def _position(request: Request, number: int) -> dict[str, Any]:
    """The position of a song among those that a search finds; null if it is not among them."""
    index: Index = request.app.state.index
    await index.follow()
    return {"position": _search(request).position(index.database, number)}


def _search(request: Request) -> Search:
    given = request.query_params.multi_items()
    return Search.read((name, value) for name, value in given if name not in {"start", "count"})


async def _audio(request: Request, number: int) -> Response:
    """A song's file; range requests return a part."""
    path = await stored_audio(request.app.state.library.ledger, number)
    return await file_answer(request, path, _type_of(path, _SOUNDS))


async def _download(request: Request, number: int) -> Response:
    path = await stored_audio(request.app.state.library.ledger, number)
    return await file_answer(request, path, _type_of(path, _SOUNDS), as_download=True)


async def _cover(request: Request, number: int) -> Response:
    path = await stored_cover(request.app.state.library.ledger, number)
    return await file_answer(request, path, _type_of(path, _PICTURES))


def _type_of(path: str | None, types: Mapping[str, str]) -> str:
    return types.get(PurePosixPath(path or "").suffix.lower(), "application/octet-stream")
