"""The open connections of a session: one client per gateway and account, and the embedded simulator.

The embedded simulator is started when it is first needed, and stopped when the session ends.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from songflow.accounts import Access, Resolver, at_url, place_text
from songflow.errors import LibraryError, MissingCredentials
from songflow.gateways import Gateway
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.rows import Submission
from songflow.settings import require_network

if TYPE_CHECKING:
    from songflow.simulator import SimulatorServer

__all__ = ["GatewayPool"]

log = logging.getLogger(__name__)


class GatewayPool:
    """Opens gateways once and keeps them until the session ends.

    Args:
        exits: Closes what is opened here.
        settings: The session's.
        simulator_folder: Where the embedded simulator keeps its bill and its songs.
        resolver: Finds the account that took a stored submission, if it is not the one in use.
    """

    def __init__(
        self, exits: AsyncExitStack, settings: SessionSettings, simulator_folder: Path, resolver: Resolver
    ) -> None:
        self._exits = exits
        self._settings = settings
        self._simulator_folder = simulator_folder
        self._resolver = resolver
        self._gateways: dict[tuple[str, str, str], Gateway] = {}
        self._embedded: SimulatorServer | None = None
        self._opening = asyncio.Lock()

    async def get(self, access: Access) -> Gateway:
        """The open client of an account's gateway.

        Raises:
            LibraryError: the embedded simulator cannot run in the library's folder.
            InvalidEnvironment: the environment's proxies or certificates cannot be used.
        """
        account = access.account
        async with self._opening:
            if access.is_embedded:
                account = at_url(access, await self._embedded_url())
            name = (account.dialect.name, account.base_url, account.fingerprint)
            if name not in self._gateways:
                require_network()  # the client itself would take it for a failed request
                gateway = Gateway(account, total_timeout=self._settings.submit_timeout)
                self._gateways[name] = await self._exits.enter_async_context(gateway)
            return self._gateways[name]

    async def access_for(self, submission: Submission, given: Access | None) -> Access:
        """The account at the gateway that took a submission: the given one if it fits, else by the stored alias.

        Raises:
            MissingCredentials: the key of that account is not available; the generation is not lost.
        """
        fits = given is not None and given.took(submission)
        if given is not None and fits and given.account.alias == submission.account:
            return given
        # Another account of the same gateway may not see the generation, so it is only the second choice.
        found = await self._resolver(submission) or (given if fits else None)
        if found is None:
            raise MissingCredentials(
                f"The generation {submission.any_id} waits at {place_text(submission.gateway, submission.base_url)}, "
                f"and there is no key for its account {submission.account!r}.",
                key=submission.key,
                generation_id=submission.any_id,
                state=submission.state,
                billed=submission.billed,
                next="give that account's key or block and run the same command, or `songflow rescue`.",
            )
        return found

    async def _embedded_url(self) -> str:
        if self._embedded is None:
            from songflow.simulator import SimulatorServer, SimulatorSettings

            server = SimulatorServer(
                SimulatorSettings(
                    state_dir=self._simulator_folder,
                    speed=self._settings.embedded_speed,
                    clip_seconds=self._settings.clip_seconds,
                )
            )
            log.info("Using the built-in simulator: no key, synthesised songs, nothing is billed.")
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
