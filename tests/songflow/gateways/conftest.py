"""Canned gateways for the tests of the HTTP client and its readers."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from support.canned_gateway import KEY, Play, RawServer, Wire, answers, http

from songflow.gateways import DIALECTS, Account, Gateway


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def tls_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's TLS context that trust each other."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gateway.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("gateway.test")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


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
