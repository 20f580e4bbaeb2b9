"""Broken answers: written to the socket directly, cut short, slowed down, reset.

ASGI cannot lose an answer, so the protocol passes its transport to the application (`scope["extensions"]`), and a
`WireResponse` writes raw bytes to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from songflow.simulator.answers import Answer

TRANSPORT = "songflow.transport"
# Long enough for a reader on the same machine to read what was sent before the reset discards it.
_BEFORE_RESET = 0.05


class TransportProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, which gives the application access to the connection's transport."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inner: ASGIApp = self.app

        async def app(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("extensions", {})[TRANSPORT] = self.transport
            await inner(scope, receive, send)

        self.app = app


@dataclass(frozen=True)
class Plan:
    """How to break an answer.

    `send`: bytes of the body that leave (None: all). `claim`: the Content-Length announced (None: the truth).
    `piece` bytes at a time with `pause` real seconds in between. `end`: FIN or RST.
    """

    send: int | None = None
    claim: int | None = None
    piece: int | None = None
    pause: float = 0.0
    end: Literal["close", "reset"] = "close"


class WireResponse(Response):
    """Writes `answer` to the socket according to `plan`; without an answer it only closes the connection."""

    def __init__(self, answer: Answer | None, plan: Plan) -> None:
        super().__init__(status_code=answer.status if answer else 500)
        self.answer = answer
        self.plan = plan

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        transport: asyncio.Transport | None = scope.get("extensions", {}).get(TRANSPORT)
        if transport is None:
            raise RuntimeError(
                "wire faults need the simulator's own server (SimulatorServer), not a test transport"
            )
        if self.answer is not None:
            await self._write(transport, self.answer)
        if self.plan.end == "reset":
            await _drain(transport)
            await asyncio.sleep(_BEFORE_RESET if self.answer else 0)
            _reset(transport)
        else:
            transport.close()
        # If this returned before uvicorn notices the closed connection, it would answer 500.
        message: Message = {"type": ""}
        while message["type"] != "http.disconnect":
            message = await receive()

    async def _write(self, transport: asyncio.Transport, answer: Answer) -> None:
        body = answer.body if self.plan.send is None else answer.body[: self.plan.send]
        transport.write(_head(answer, len(answer.body) if self.plan.claim is None else self.plan.claim))
        piece = self.plan.piece or 65_536
        for start in range(0, len(body), piece):
            if transport.is_closing():
                return
            transport.write(body[start : start + piece])
            if self.plan.pause:
                await asyncio.sleep(self.plan.pause)
            await _drain(transport)


def _head(answer: Answer, length: int) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    headers = {"content-type": answer.content_type, **answer.headers}
    headers |= {"content-length": str(length), "connection": "close"}
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _drain(transport: asyncio.Transport) -> None:
    # The only "all sent" event of a transport is the protocol's own flow control.
    while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def _reset(transport: asyncio.Transport) -> None:
    raw = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):  # the client may have disconnected first
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def respond(answer: Answer) -> Response:
    """The answer, unchanged."""
    headers = {"content-type": answer.content_type, **answer.headers}
    return Response(answer.body, answer.status, headers=headers)


def drop() -> WireResponse:
    """No answer, then FIN."""
    return WireResponse(None, Plan())


def drip(answer: Answer, seconds: float, piece: int | None) -> WireResponse:
    """The whole answer over about `seconds`, `piece` bytes at a time (default: twenty pieces)."""
    size = max(1, piece or -(-len(answer.body) // 20))
    pieces = max(1, -(-len(answer.body) // size))
    return WireResponse(answer, Plan(piece=size, pause=seconds / pieces))
