"""The receiver as an ASGI application: `POST /<gateway>`.

A callback is checked by the gateway's own rule (a signature, a secret) and recorded as a hint. Nothing in it is
believed: it makes a wait ask the gateway, whose answer counts. So one that is forged, lost, repeated or too early
changes nothing. All are answered alike, since gateways repeat what is refused; a forged one is logged, once a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from songflow.gateways import DIALECTS
from songflow.gateways.callback import NotGenuine
from songflow.gateways.envelope import parse_json
from songflow.ledger.hints import Hint
from songflow.library.library import Library
from songflow.settings import LibrarySettings

__all__ = ["webhook_app"]

log = logging.getLogger(__name__)

_LONGEST_BODY = 1024 * 1024
_LONGEST_ID = 255
_WARN_EVERY_SECONDS = 60.0


def webhook_app(settings: LibrarySettings, secret: str) -> FastAPI:
    """The receiver for a library.

    Args:
        settings: The library's; its ledger may be shared by several machines.
        secret: What callbacks are checked by.
    """
    library = Library(settings)
    warned: dict[str, float] = {}

    def warn_of(gateway: str) -> None:
        now = time.monotonic()
        if now - warned.get(gateway, -_WARN_EVERY_SECONDS) >= _WARN_EVERY_SECONDS:
            warned[gateway] = now
            log.warning(
                "A callback of %s is not signed with SONGFLOW_WEBHOOK_SECRET, or more than five minutes old. If all "
                "are, compare that with the key in the gateway's settings, and this machine's clock.",
                gateway,
            )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with library:
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None, docs_url=None, redoc_url=None)

    @app.post("/{gateway}", response_model=None)
    async def called(gateway: str, request: Request) -> Response:
        dialect = DIALECTS.get(gateway)
        if dialect is None or dialect.read_callback is None:
            return _answer(404, "no such gateway")
        body = await _body(request)
        if body is None:
            return _answer(413, "too long")
        try:
            found = dialect.read_callback(dict(request.headers), parse_json(body), secret)
        except ValueError:
            return _answer(400, "no JSON")
        except NotGenuine:
            warn_of(gateway)
            return _answer(200, "received")
        if found is not None and len(found.generation_id) <= _LONGEST_ID:
            hint = Hint(found.mark, gateway, found.generation_id)
            if await library.ledger.hints.record(hint):
                log.info("%s says that %s has ended: it is asked.", gateway, found.generation_id)
        return _answer(200, "received")

    return app


def _answer(status: int, said: str) -> Response:
    return JSONResponse({"status": said}, status)


async def _body(request: Request) -> str | None:
    """The body of a callback; None if it is too long."""
    received = bytearray()
    try:
        async for chunk in request.stream():
            received += chunk
            if len(received) > _LONGEST_BODY:
                return None
    except ClientDisconnect:
        return ""
    return received.decode("utf-8", "replace")
