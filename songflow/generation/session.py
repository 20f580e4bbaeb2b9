"""A session: one process's open library, with its gateways, leases, polling schedules and events."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Self
from urllib.parse import urlsplit

import httpx

from songflow.accounts import EMBEDDED_URL, Resolver, resolve_from_environment
from songflow.downloads.address_policy import AddressPolicy, policy_for
from songflow.downloads.downloader import Downloads
from songflow.events import Listener
from songflow.gateways import Account
from songflow.gateways.network import open_transport
from songflow.generation.event_sink import EventSink
from songflow.generation.gateway_pool import GatewayPool
from songflow.generation.leases import LeaseKeeper
from songflow.generation.poll_schedules import PollSchedules
from songflow.generation.session_settings import SessionSettings
from songflow.library.library import Library
from songflow.library.measuring import MeasuringPool
from songflow.sender.client import start_sender
from songflow.settings import LibrarySettings, measures_on_arrival, require_network, resolver_networks

__all__ = ["Session"]

# So long the end of a session waits for songs that are still measured; `songflow measure` does the rest.
_MEASURING_SECONDS = 3.0


class Session:
    """Opens what a life cycle needs; an async context manager for one event loop.

    Args:
        library: Where songs and the ledger are kept.
        settings: How to poll, wait, retry and spend.
        resolver: Finds the account that took a stored submission, if it is not the one in use.
        listener: Called with each event that was committed (`songflow.events`).
        reads_only: Nothing will be paid for, collected or written: a library that may only be read is enough.

    Attributes:
        library: The open library.
        settings: As given.
        gateways: Open connections to gateways.
        leases: The leases of the submissions that this session works on.
        polling: When to poll, and how long to wait.
        events: Where events are emitted.
        measuring: Measures songs that were stored; None if they are not to be.

    Raises:
        InvalidEnvironment: SONGFLOW_MEASURE has a value that is not allowed.
        LibraryError: on entry, if the library cannot be used.
    """

    def __init__(
        self,
        library: LibrarySettings,
        settings: SessionSettings | None = None,
        resolver: Resolver = resolve_from_environment,
        listener: Listener | None = None,
        *,
        reads_only: bool = False,
    ) -> None:
        self.library = Library(library, reads_only=reads_only)
        self._reads_only = reads_only
        self.settings = settings or SessionSettings()
        self._exits = AsyncExitStack()
        ledger = self.library.ledger
        self.gateways = GatewayPool(
            self._exits, self.settings, library.folder / "simulator", resolver, ledger.hints
        )
        self.leases = LeaseKeeper(ledger.submissions, self.settings.lease_margin)
        self.polling = PollSchedules(self.settings, ledger.submissions)
        self.events = EventSink(listener, library, ledger.money)
        measures = not reads_only and measures_on_arrival()
        self.measuring = MeasuringPool(ledger.measures) if measures else None
        self._transport: httpx.AsyncBaseTransport | None = None

    async def __aenter__(self) -> Self:
        await self._exits.__aenter__()
        if not self._reads_only:
            start_sender()  # it starts while the library is opened
        try:
            await self._exits.enter_async_context(self.library)
        except BaseException:
            await self._exits.aclose()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self.measuring is not None:
                await self.measuring.close(patience=_MEASURING_SECONDS if kind is None else 0.0)
        finally:
            await self._exits.aclose()

    async def downloads(self, base_url: str, account: Account | None = None) -> Downloads:
        """The downloads of a gateway's songs: from private addresses only if the gateway's own address is private.

        Args:
            base_url: The gateway's address.
            account: Whose key its songs need; None: they need none.

        Raises:
            InvalidEnvironment: the environment's proxies or certificates cannot be used.
        """
        if self._transport is None:
            require_network()
            self._transport = open_transport()
            self._exits.push_async_callback(self._transport.aclose)
        policy = AddressPolicy(allow_private=True)
        if base_url != EMBEDDED_URL:
            policy = await policy_for(urlsplit(base_url).hostname or "", resolver_networks())
        return Downloads(
            self._transport,
            allow_private=policy.allow_private,
            resolved=policy.resolved,
            verify_audio=self.library.settings.verify_audio,
            own_headers=None if account is None else account.file_headers,
        )
