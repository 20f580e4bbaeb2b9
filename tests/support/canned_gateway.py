"""A gateway that sends canned bytes over a real socket and records the requests."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

TAKEN = '{"code":"success","message":"","data":"id-1"}'
BODY = {"gen_params": {"prompt": "mother"}}
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


# How a connection is played.


async def reset_at_once(wire: Wire) -> None:
    wire.reset()


async def reset_after_request(wire: Wire) -> None:
    await wire.request()
    wire.reset()


async def close_after_request(wire: Wire) -> None:
    await wire.request()


async def reset_inside_head(wire: Wire) -> None:
    await wire.request()
    await wire.say(b"HTTP/1.1 200 OK\r\nContent-Le")
    wire.writer.close()


async def speak_nonsense(wire: Wire) -> None:
    await wire.request()
    await wire.say(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def hang(wire: Wire) -> None:
    await wire.request()
    await wire.server.over.wait()
