"""The open connections of a session: one client per gateway and account, and the embedded simulator.

The embedded simulator is started when it is first needed, and stopped when the session ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from songflow.accounts import Access, Resolver, at_url, place_text
from songflow.errors import LibraryError, MissingCredentials
from songflow.gateways import FetchProblem, Gateway, Report, Wanted
from songflow.gateways.dialects import stored_dialect, why_unknown
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.hints import Hints
from songflow.ledger.rows import Submission
from songflow.polling.batch import JointPolls
from songflow.settings import require_network, webhook_callback

if TYPE_CHECKING:
    from songflow.simulator import SimulatorServer

__all__ = ["GatewayPool"]

log = logging.getLogger(__name__)

# A wait ends within a second of the callback.
_HINTS_EVERY_SECONDS = 0.25


class GatewayPool:
    """Opens gateways once and keeps them until the session ends.

    Args:
        exits: Closes what is opened here.
        settings: The session's.
        simulator_folder: Where the embedded simulator keeps its bill and its songs.
        resolver: Finds the account that took a stored submission, if it is not the one in use.
        hints: What callbacks of gateways have left in the ledger.
    """

    def __init__(
        self,
        exits: AsyncExitStack,
        settings: SessionSettings,
        simulator_folder: Path,
        resolver: Resolver,
        hints: Hints,
    ) -> None:
        self._exits = exits
        self._settings = settings
        self._simulator_folder = simulator_folder
        self._resolver = resolver
        self._gateways: dict[tuple[str, str, str], Gateway] = {}
        self._polls: dict[tuple[Gateway, str], JointPolls] = {}
        self._hints = hints
        self._listening: asyncio.Task[None] | None = None
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
                account = replace(account, callback=webhook_callback())
                gateway = Gateway(account, total_timeout=self._settings.submit_timeout)
                self._gateways[name] = await self._exits.enter_async_context(gateway)
            return self._gateways[name]

    async def polls(self, access: Access, family: str) -> JointPolls:
        """The polls that all waits for a family's generations at one account share.

        Raises:
            SongflowError: see `get`.
        """
        gateway = await self.get(access)
        if (gateway, family) not in self._polls:

            def fetch(wanted: Wanted) -> Awaitable[Report | FetchProblem]:
                return gateway.fetch(family, wanted.generation_id, wanted.track_ids)

            polls = JointPolls(
                access.gateway,
                fetch,
                partial(gateway.fetch_many, family),
                gateway.most_at_once(family),
                ids_of=partial(gateway.ids_at_once, family),
            )
            self._exits.push_async_callback(polls.aclose)
            self._polls[gateway, family] = polls
            if gateway.calls_back(family) and self._listening is None:
                self._listening = asyncio.create_task(self._listen())
                self._exits.push_async_callback(_end, self._listening)
        return self._polls[gateway, family]

    async def _listen(self) -> None:
        """Wake each wait whose generation a callback has named, in whatever process that came in."""
        seen: set[str] = set()
        while True:
            try:
                for hint in await self._hints.recent(seen):
                    seen.add(hint.mark)
                    for (gateway, _), polls in self._polls.items():
                        if gateway.account.dialect.name == hint.gateway:
                            polls.hint(hint.generation_id)
            except Exception:  # the ledger is away for a moment, perhaps: polling goes on
                log.debug("Hints could not be read.", exc_info=True)
            await asyncio.sleep(_HINTS_EVERY_SECONDS)

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
            raise _no_access(submission)
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


def _no_access(submission: Submission) -> MissingCredentials:
    """The error of a generation that cannot be asked for: its gateway is not installed here, or its key is missing."""
    if stored_dialect(submission.gateway, submission.dialect) is None:
        where = f"{submission.gateway} ({submission.base_url})"
        reason = why_unknown(submission.gateway)
        advice = "install the package that adds this gateway, then"
    else:
        where = place_text(submission.gateway, submission.base_url)
        reason = f"there is no key for its account {submission.account!r}"
        advice = "give that account's key or block and"
    return MissingCredentials(
        f"The generation {submission.any_id} waits at {where}, and {reason}.",
        key=submission.key,
        generation_id=submission.any_id,
        state=submission.state,
        billed=submission.billed,
        next=f"{advice} run the same command, or `songflow rescue`.",
    )


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
