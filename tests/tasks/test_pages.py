"""Pages in Prefect's UI are waited for, but not by a run that is told to end."""

from __future__ import annotations

import asyncio

import pytest

from tasks.ui import pages
from tasks.ui.pages import shown


@pytest.mark.parametrize("told", [False, True])
async def test_a_run_that_is_told_to_end_has_less_patience(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, told: bool
) -> None:
    """Its worker kills it after 30 s; another one waits for as long as the server's database may be locked."""
    monkeypatch.setattr(pages, "_ENDING_SECONDS", 0.01)
    began, served, written = asyncio.Event(), asyncio.Event(), []

    async def run() -> None:
        try:
            began.set()
            await asyncio.sleep(3600 if told else 0)
        finally:
            async with shown("The song", "it is stored"):
                await served.wait()
                written.append(True)

    running = asyncio.create_task(run())
    await began.wait()
    if told:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert "The song cannot be shown in Prefect (TimeoutError); it is stored." in caplog.text
    else:
        await asyncio.sleep(0.1)
        served.set()
        await running
    assert bool(written) is not told
