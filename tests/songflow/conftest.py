"""Fixtures of the domain: simulated gateways on sockets, ledgers on SQLite and PostgreSQL, sessions."""

from __future__ import annotations

import asyncio
import itertools
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
from pydantic import SecretStr
from support import databases

from songflow.accounts import Access
from songflow.families.udio import SongRequest
from songflow.gateways import DIALECTS, Account, custom_dialect, key_variables
from songflow.generation.lifecycle import generate_in
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger import Ledger
from songflow.ledger.engine import ledger_url as to_ledger_url
from songflow.sender import client
from songflow.settings import LibrarySettings
from songflow.simulator import FaultScript, SimulatorServer, SimulatorSettings

CONFIGURATION = (
    "SONGFLOW_LIBRARY",
    "SONGFLOW_LEDGER_URL",
    "SONGFLOW_AUDIO_URL",
    "SONGFLOW_NAME_TEMPLATE",
    "SONGFLOW_VERIFY_AUDIO",
    "SONGFLOW_COVERS",
    "SONGFLOW_BUDGET",
    "SONGFLOW_BUDGET_PER_DAY",
    "SONGFLOW_UNIT",
    *key_variables(),
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove keys and library settings of the person who runs the tests."""
    for name in CONFIGURATION:
        monkeypatch.delenv(name, raising=False)


# --- gateways ---------------------------------------------------------------------------------------------------


class StartSimulator(Protocol):
    """Starts a simulated gateway with these faults; `settings` are those of `SimulatorSettings`."""

    def __call__(self, *faults: dict[str, Any], port: int = 0, **settings: Any) -> SimulatorServer: ...


@pytest.fixture
def posts() -> Callable[[SimulatorServer], int]:
    """Number of POSTs that a simulated gateway has seen, billed or not."""

    def seen(server: SimulatorServer) -> int:
        return int(httpx.get(f"{server.url}/_simulator/requests").json()["posts"]["seen"])

    return seen


@pytest.fixture
def simulator() -> Iterator[StartSimulator]:
    """Starts simulated gateways on real sockets: songs of 0.25 s, finished within as long."""
    running: list[SimulatorServer] = []

    def start(*faults: dict[str, Any], port: int = 0, **settings: Any) -> SimulatorServer:
        chosen = {"clip_seconds": 0.25, "speed": 250.0, "sigma": 0.0, **settings}
        server = SimulatorServer(SimulatorSettings(faults=FaultScript.of(*faults), **chosen), port=port)
        server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


class AccessTo(Protocol):
    """An access to a gateway's URL in a dialect ("simulator", "cometapi", "openai-hk", "shape-a" .. "shape-d")."""

    def __call__(
        self, url: str, dialect: str = "simulator", *, key: str | None = None, alias: str = "test"
    ) -> Access: ...


@pytest.fixture
def access() -> AccessTo:
    """Accesses to simulated gateways, in any dialect that the simulator speaks."""

    def give(url: str, dialect: str = "simulator", *, key: str | None = None, alias: str = "test") -> Access:
        secret = None if key is None else SecretStr(key)
        if dialect.startswith("shape-"):
            spoken = custom_dialect(url, f"/{dialect}/submit", f"/{dialect}/fetch/{{id}}", dialect[-1])
        else:
            spoken = DIALECTS[dialect]
        return Access(Account(spoken, url, alias, secret))

    return give


@pytest.fixture
def sender_in_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process can be started: POSTs are made by a thread of this process, in which a test can look."""
    monkeypatch.setattr(client._Senders, "process", lambda _: None)


@pytest.fixture
def song_request() -> Callable[..., SongRequest]:
    """Make requests with defaults; `song_request()` is always the same body."""

    def make(prompt: str = "a slow waltz for two cellos", **fields: Any) -> SongRequest:
        return SongRequest.parse({"prompt": prompt, **fields})

    return make


# --- libraries and sessions -------------------------------------------------------------------------------------


@pytest.fixture
def library_settings(tmp_path: Path) -> LibrarySettings:
    """A library of this test's own, its ledger in SQLite."""
    return LibrarySettings(tmp_path / "library")


class OpenSession(Protocol):
    """Opens a session; fields of `SessionSettings` by name, `library` and `resolver` where they matter."""

    async def __call__(
        self, *, library: LibrarySettings | None = None, resolver: Any = None, **settings: Any
    ) -> Session: ...


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty, migrated SQLite ledger; a copy of it takes a quarter of the time of a migration."""
    folder = tmp_path_factory.mktemp("template")

    async def migrate() -> None:
        async with Ledger(to_ledger_url(None, folder)):
            pass

    databases.in_own_loop(migrate())
    return folder / "ledger.sqlite"


def _with_ledger(settings: LibrarySettings, template: Path) -> LibrarySettings:
    """Give a new library on SQLite a migrated ledger."""
    if settings.ledger_url is None and not settings.folder.exists():
        settings.folder.mkdir()
        shutil.copy(template, settings.folder)
    return settings


@pytest.fixture
async def session(library_settings: LibrarySettings, sqlite_template: Path) -> AsyncIterator[OpenSession]:
    """Opens sessions on this test's library (several see the same one, as several processes do)."""
    async with AsyncExitStack() as exits:

        async def open_session(
            *, library: LibrarySettings | None = None, resolver: Any = None, **settings: Any
        ) -> Session:
            chosen = SessionSettings(**{"poll_interval": 0.02, "deadline": 30.0, **settings})
            more = {} if resolver is None else {"resolver": resolver}
            opened = library or _with_ledger(library_settings, sqlite_template)
            return await exits.enter_async_context(Session(opened, chosen, **more))

        yield open_session


@pytest.fixture
def stored(simulator: Any, access: Any, session: Any, song_request: Any) -> Callable[..., Any]:
    """Complete one generation; returns the session and its rows of songs. `faults` are the simulator's."""

    async def make(
        *faults: dict[str, Any],
        key: str = "key",
        library: Any = None,
        clip_seconds: float = 0.25,
        **fields: Any,
    ) -> Any:
        opened = await session(library=library)
        server = simulator(*faults, clip_seconds=clip_seconds)
        await generate_in(opened, song_request(**fields), access(server.url), key=key)
        return opened, await opened.library.ledger.songs.of_key(key)

    return make


# --- databases --------------------------------------------------------------------------------------------------


@pytest.fixture
def new_postgres() -> Iterator[str]:
    """The URL of a PostgreSQL database without a schema (half a second; `postgres_url` is faster)."""
    with databases.database() as url:
        yield url


@pytest.fixture(scope="session")
def _migrated_postgres() -> Iterator[str]:
    async def migrate(url: str) -> None:
        async with Ledger(to_ledger_url(url, Path())):
            pass

    with databases.database() as url:
        databases.in_own_loop(migrate(url))
        yield url


@pytest.fixture
def postgres_url(_migrated_postgres: str) -> str:
    """The URL of an empty PostgreSQL ledger: one database per test process, emptied for each test."""
    databases.in_own_loop(
        databases.execute(
            _migrated_postgres,
            "TRUNCATE songs, answers, submissions, generations, budgets, switches, paces, choices"
            " RESTART IDENTITY CASCADE",
        )
    )
    return _migrated_postgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_library(request: pytest.FixtureRequest, tmp_path: Path) -> LibrarySettings:
    """A library whose ledger is in SQLite, and one whose ledger is in PostgreSQL."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    return LibrarySettings(tmp_path / "library", ledger_url=url)


@pytest.fixture
async def ledger(any_library: LibrarySettings, sqlite_template: Path) -> AsyncIterator[Ledger]:
    """An open, empty ledger, in SQLite and in PostgreSQL."""
    _with_ledger(any_library, sqlite_template).folder.mkdir(exist_ok=True)
    async with Ledger(to_ledger_url(any_library.ledger_url, any_library.folder)) as opened:
        yield opened


# --- time -------------------------------------------------------------------------------------------------------


@pytest.fixture
def until() -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    """Poll a condition until it is true (limited by the test's timeout)."""

    async def look(is_so: Callable[[], Awaitable[Any]]) -> Any:
        for pause in itertools.chain((0.0, 0.005), itertools.repeat(0.02)):
            found = await is_so()
            if found:
                return found
            await asyncio.sleep(pause)
        raise AssertionError("never reached")

    return look
