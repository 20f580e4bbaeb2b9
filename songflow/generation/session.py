"""A session: one process's open library and its connections to gateways and song hosts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from songflow.accounts import EMBEDDED_URL, Access, Resolver, at_url, resolve_from_environment
from songflow.downloads.address_policy import is_private_host
from songflow.downloads.downloader import Downloads, download_client
from songflow.errors import LibraryError, MissingCredentials
from songflow.events import Listener, Notice, nearly_spent, tell
from songflow.families.family import Model, Request
from songflow.gateways import Gateway
from songflow.ledger.lease import Lease
from songflow.ledger.money import LIBRARY_SCOPE
from songflow.ledger.rows import RequestKind, RunIds, Submission, Timing
from songflow.library.library import Library, LibrarySettings
from songflow.polling import Memory
from songflow.polling.loop import DEFAULT_INTERVAL_SECONDS, Fixed, Schedule, default_deadline

if TYPE_CHECKING:
    from songflow.simulator import SimulatorServer

__all__ = ["Session", "SessionSettings"]

log = logging.getLogger("songflow")

EMBEDDED_SPEED = 20.0
"""The embedded simulator's time runs this much faster: a first song takes seconds, not a minute."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How this process waits and repeats; times are in seconds.

    Attributes:
        poll_interval: Fixes the interval between polls (None: learned, and without history 5 s of the gateway's time).
        busy: Others wait for each slot at the gateway: a learned schedule notices a finish in half the time, for twice
            the polls, which are free.
        deadline: How long to wait for one generation (None: by its model).
        retries: How often a refusal that may be repeated, or a POST that was not sent, is tried again.
        repeat_within: The time that all these repeats together may take.
        submit_timeout: The time that one POST may take in all.
        lease_margin: How long a lease outlives what it covers.
        clip_seconds: Shortens the embedded simulator's songs.
        budget: The most that this run may spend, in units.
        budget_run: What counts as this run (None: the root flow run, else the request key).
    """

    poll_interval: float | None = None
    busy: bool = False
    deadline: float | None = None
    retries: int = 4
    repeat_within: float = 60.0
    submit_timeout: float = 120.0
    lease_margin: float = 30.0
    embedded_speed: float = EMBEDDED_SPEED
    clip_seconds: float | None = None
    budget: float | None = None
    budget_run: str | None = None
    runs: RunIds = field(default_factory=RunIds)


class Session:
    """Opens what a paid step needs; an async context manager for one event loop.

    Args:
        library: Where songs and the ledger live.
        settings: How to wait and repeat.
        resolver: Finds the access that took a stored submission, when it is not the one in use.
        listener: Told of what was committed (`songflow.events`).

    Raises:
        LibraryError: on entry, when the library cannot be used.
    """

    def __init__(
        self,
        library: LibrarySettings,
        settings: SessionSettings | None = None,
        resolver: Resolver = resolve_from_environment,
        listener: Listener | None = None,
    ) -> None:
        self.library = Library(library)
        self.settings = settings or SessionSettings()
        self._resolver = resolver
        self._listener = listener
        self._told_of: set[str] = set()
        self._untold: frozenset[str] = frozenset()
        # What this session is at work on, by the submission's id: see `songflow.generation.leases`.
        self.leases: dict[str, Lease] = {}
        self._gateways: dict[tuple[str, str, str], Gateway] = {}
        self._embedded: SimulatorServer | None = None
        self._exits = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._memory = Memory(self.library.ledger.submissions)

    async def __aenter__(self) -> Self:
        await self._exits.__aenter__()
        try:
            await self._exits.enter_async_context(self.library)
            self._client = await self._exits.enter_async_context(download_client())
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    def tell(self, notice: Notice) -> None:
        """Hand a notice to whoever listens."""
        if notice.kind not in self._untold:
            tell(self._listener, notice)

    @contextmanager
    def untold(self, kinds: frozenset[str]) -> Iterator[None]:
        """While this lasts, notices of these kinds are kept from whoever listens."""
        before, self._untold = self._untold, self._untold | kinds
        try:
            yield
        finally:
            self._untold = before

    def tell_once(self, notice: Notice) -> None:
        """The same for what stays true for a while: once for each thing it is about."""
        said = f"{notice.kind} {notice.about}"
        if said not in self._told_of:
            self._told_of.add(said)
            self.tell(notice)

    async def tell_of_budgets(self, day: str) -> None:
        """Tell of the library's caps that are nearly reached; without a listener or a cap nothing is read."""
        settings = self.library.settings
        if self._listener is None:
            return
        for cap, scope in ((settings.budget, LIBRARY_SCOPE), (settings.budget_per_day, f"day:{day}")):
            if cap is not None:
                notice = nearly_spent(await self.library.ledger.money.balance(scope), cap, settings.unit)
                if notice is not None:
                    self.tell_once(notice)

    async def gateway(self, access: Access) -> Gateway:
        """The open connection to an account's gateway; the embedded simulator is started when first needed."""
        account = access.account
        async with self._opening:
            if access.is_embedded:
                account = at_url(access, await self._embedded_url())
            name = (account.dialect.name, account.base_url, account.fingerprint)
            if name not in self._gateways:
                gateway = Gateway(account, total_timeout=self.settings.submit_timeout)
                self._gateways[name] = await self._exits.enter_async_context(gateway)
            return self._gateways[name]

    async def access_for(self, submission: Submission, given: Access | None) -> Access:
        """The access at the gateway that took a submission: the given one where it fits, else the stored alias.

        Raises:
            MissingCredentials: the key of that account is not at hand; the generation is not lost by it.
        """
        fits = given is not None and given.took(submission)
        if given is not None and fits and given.account.alias == submission.account:
            return given
        # Another account of the same gateway may not see the generation, so it is only the second choice.
        found = await self._resolver(submission) or (given if fits else None)
        if found is None:
            raise MissingCredentials(
                f"The generation {submission.any_id} waits at {submission.gateway} ({submission.base_url}), and "
                f"there is no key for its account {submission.account!r}.",
                key=submission.key,
                generation_id=submission.any_id,
                state=submission.state,
                billed=submission.billed,
                next="give that account's key or block and run the same command, or `songflow rescue`.",
            )
        return found

    async def downloads(self, base_url: str) -> Downloads:
        """How songs of the gateway there are fetched: from private addresses only when it is private itself."""
        private = base_url == EMBEDDED_URL or await _is_private(urlsplit(base_url).hostname or "")
        return Downloads(self._client, allow_private=private, verify_audio=self.library.settings.verify_audio)

    async def schedule(self, access: Access, request: Request) -> Schedule:
        """When to poll: fixed by the user, else as this kind of request took before, else every 5 s.

        Raises:
            LibraryError: the ledger cannot be read.
        """
        if self.settings.poll_interval is not None:
            return Fixed(self.settings.poll_interval, jitter=0.0)
        # The embedded simulator's time runs faster, and so do the polls.
        speed = self.settings.embedded_speed if access.is_embedded else 1.0
        interval = DEFAULT_INTERVAL_SECONDS / speed
        learned = interval / 2 if self.settings.busy else interval
        history = await self._memory.history(_kind(access, request), learned)
        return history.schedule() or Fixed(interval)

    def took(self, access: Access, request: Request, timing: Timing) -> None:
        """A request of this kind has made its songs: what the next ones learn from."""
        self._memory.add(_kind(access, request), timing)

    def deadline(self, model: Model) -> float:
        """Seconds that one wait may take."""
        return (
            self.settings.deadline if self.settings.deadline is not None else default_deadline(model.seconds)
        )

    async def _embedded_url(self) -> str:
        if self._embedded is None:
            from songflow.simulator import SimulatorServer, SimulatorSettings

            server = SimulatorServer(
                SimulatorSettings(
                    state_dir=self.library.settings.folder / "simulator",
                    speed=self.settings.embedded_speed,
                    clip_seconds=self.settings.clip_seconds,
                )
            )
            log.info("Using the built-in simulator: no key, no cost, synthesised songs.")
            try:
                await asyncio.to_thread(server.start)
            except OSError as error:
                raise LibraryError(
                    f"The built-in simulator cannot run in {server.settings.state_dir}: {error.__cause__ or error}.",
                    next="mend that folder, or choose another library with --library.",
                ) from error
            self._exits.push_async_callback(asyncio.to_thread, server.stop)
            self._embedded = server
        return self._embedded.url


def _kind(access: Access, request: Request) -> RequestKind:
    return RequestKind(access.gateway, access.account.base_url, request.model_type, request.mode.value)


async def _is_private(host: str) -> bool:
    try:
        return await is_private_host(host)
    except OSError:
        return False
