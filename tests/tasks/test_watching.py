"""A display that breaks changes nothing for the songs that it shows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from songflow.sweeps.tally import Tally
from tasks.watching import Watcher, progress_of, sweep_watched, watched_by

NOTHING: Any = None


class Own:
    """The progress callback of a task."""

    def __init__(self) -> None:
        self.words: list[str] = []

    async def __call__(self, word: str, _share: float | None, _seconds: float) -> None:
        self.words.append(word)


async def test_a_wait_goes_on_without_a_display_that_cannot_be_made(caplog: pytest.LogCaptureFixture) -> None:
    async def make(*_: object) -> Any:
        raise OSError("the ledger is away")

    own = Own()
    with watched_by(Watcher(generation=make)):
        progress = await progress_of(NOTHING, NOTHING, NOTHING, own)
    await progress("running", None, 1.0)
    assert own.words == ["running"]
    assert "The progress cannot be shown here (OSError)" in caplog.text


async def test_a_wait_goes_on_without_a_display_that_breaks(caplog: pytest.LogCaptureFixture) -> None:
    """It is warned about once."""
    shown = []

    async def show(word: str, _share: float | None, _seconds: float) -> None:
        shown.append(word)
        if word == "running":
            raise BrokenPipeError

    async def make(*_: object) -> Any:
        return show

    own = Own()
    with watched_by(Watcher(generation=make)):
        progress = await progress_of(NOTHING, NOTHING, NOTHING, own)
    for word in ("queued", "running", "running", "succeeded"):
        await progress(word, None, 1.0)
    assert own.words == ["queued", "running", "running", "succeeded"]
    assert shown == ["queued", "running"]
    assert caplog.text.count("The progress cannot be shown here (BrokenPipeError)") == 1


@pytest.mark.parametrize("at_its_end", [False, True])
async def test_a_sweep_goes_on_without_a_display_that_breaks(
    caplog: pytest.LogCaptureFixture, at_its_end: bool
) -> None:
    @asynccontextmanager
    async def show(_name: str, _tally: Tally) -> AsyncIterator[None]:
        if at_its_end:
            yield
        raise BrokenPipeError

    made = []
    with watched_by(Watcher(sweep=show)):
        async with sweep_watched("waltzes", Tally()):
            made.append("a song")
    assert made == ["a song"]
    assert "The progress cannot be shown here (BrokenPipeError)" in caplog.text


async def test_an_error_of_a_sweep_is_still_one() -> None:
    @asynccontextmanager
    async def show(_name: str, _tally: Tally) -> AsyncIterator[None]:
        yield

    with watched_by(Watcher(sweep=show)), pytest.raises(LookupError):
        async with sweep_watched("waltzes", Tally()):
            raise LookupError
