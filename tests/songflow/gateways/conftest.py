"""A gateway that sends canned bytes over a real socket and records the requests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from songflow.gateways import DIALECTS, Account, Gateway

KEY = "sk-4fJ/w+Zk=9:aQ.7<x>&Y_z~0123456789"


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Play = Callable[["Wire"], Awaitable[None]]


@dataclass
class Wire:
    """One connection as the canned gateway sees it."""

    server: RawServer
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def request(self) -> Request:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        method, target, _ = first.split(" ")
        self.server.requests.append(Request(method, target, headers, body))
        return self.server.requests[-1]

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Drop the connection and all unsent bytes, as a crash does."""
        self.writer.transport.abort()


@dataclass
class RawServer:
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def posts(self) -> list[Request]:
        return [request for request in self.requests if request.method == "POST"]


def http(status: int, body: bytes | str | dict[str, Any] = b"", **headers: str) -> bytes:
    """A complete answer; underscores in header names become dashes."""
    if isinstance(body, dict):
        body = json.dumps(body)
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(raw)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + raw


def answers(*canned: bytes) -> Play:
    """Answer the requests of all connections in order; the last answer is repeated."""
    left = list(canned)

    async def play(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.say(left.pop(0) if len(left) > 1 else left[0])

    return play


@dataclass
class Tools:
    """Helpers for tests, as a fixture because tests are not a package."""

    key: str = KEY
    http: Callable[..., bytes] = http
    answers: Callable[..., Play] = answers

    def account(self, url: str, dialect: str = "openai-hk", key: str | None = KEY) -> Account:
        return Account(DIALECTS[dialect], url, "test", None if key is None else SecretStr(key))

    def gateway(self, url: str, dialect: str = "openai-hk", **limits: Any) -> Gateway:
        return Gateway(self.account(url, dialect), **limits)

    def example(self, name: str) -> str:
        return (Path(__file__).parents[1] / "examples" / name).read_text(encoding="utf-8")


@pytest.fixture
def tools() -> Tools:
    return Tools()


Serve = Callable[..., Awaitable[RawServer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts canned gateways, and stops them and their connections after the test."""
    servers: list[tuple[asyncio.Server, RawServer]] = []
    under_way: set[asyncio.Task[None]] = set()

    async def start(play: Play, tls: ssl.SSLContext | None = None) -> RawServer:
        raw = RawServer()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raw.connections += 1
            try:
                await play(Wire(raw, reader, writer))
            except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass  # the client closed the connection, or the test has ended
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

        async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(connected(reader, writer))
            under_way.add(task)
            await asyncio.wait([task])

        server = await asyncio.start_server(follow, "127.0.0.1", 0, ssl=tls, limit=2**20)
        raw.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        servers.append((server, raw))
        return raw

    yield start
    for server, raw in servers:
        server.close()
        raw.over.set()
    for task in under_way:
        task.cancel()
    await asyncio.gather(*under_way, return_exceptions=True)
