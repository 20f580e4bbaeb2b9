"""What a run says when it is stopped must never take the place of what stopped it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prefect.exceptions import TerminationSignal
from sqlalchemy import text

from songflow.errors import LibraryError
from songflow.ledger import schema
from songflow.library import LibrarySettings
from songflow.session import Session
from tasks.sessions import tells_when_cancelled, tells_when_stopped


@pytest.fixture
async def without_ledger(tmp_path: Path) -> AsyncIterator[Session]:
    """A session whose ledger has gone away."""
    async with Session(LibrarySettings(tmp_path / "songs")) as session:
        async with session.library.ledger.database.write("test") as connection:
            await connection.execute(text(f"DROP TABLE {schema.submissions.name}"))
        yield session


async def test_a_cancellation_stays_one(without_ledger: Session) -> None:
    """A cluster that shuts down takes its database away as well."""
    with pytest.raises(asyncio.CancelledError):
        async with tells_when_cancelled(without_ledger, "key"):
            raise asyncio.CancelledError


async def _stopped(session: Session, stopped: TerminationSignal, instead: Exception) -> None:
    async with tells_when_stopped(session, "key"):
        try:
            raise stopped
        except TerminationSignal:
            raise instead  # noqa: B904 - as Prefect raises it


@pytest.mark.parametrize(
    "instead", [ValueError("Prefect's crash handler failed"), LibraryError("The ledger is closed.", next="-")]
)
async def test_a_signal_that_an_error_took_the_place_of_is_raised_again(
    without_ledger: Session, instead: Exception
) -> None:
    """A run that was told to end is crashed, not failed, whatever failed on the way."""
    stopped = TerminationSignal(signal=signal.SIGTERM)
    with pytest.raises(TerminationSignal) as caught:
        await _stopped(without_ledger, stopped, instead)
    assert caught.value is stopped
