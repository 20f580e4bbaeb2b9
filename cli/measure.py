"""`songflow measure`: measure the songs that have no measures yet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cli.options import Common
from cli.output import Output
from songflow.documents.text import counted
from songflow.library.library import Library
from songflow.library.measuring import Measured, measure_missing
from songflow.settings import LibrarySettings

__all__ = ["measure"]

_TELL_EVERY = 100


def measure(*, common: Common = Common()) -> None:
    """Measure the stored songs that have no measures yet: loudness, true peak, silence, clipping, tempo, brightness.

    Songs are measured when they arrive, unless SONGFLOW_MEASURE is off. This measures those of earlier versions, and
    those that an ended process left. Nothing is sent.
    """
    output = Output(as_json=common.json, quiet=common.quiet)

    def tell(so_far: Measured) -> None:
        if so_far.all % _TELL_EVERY == 0:
            output.say(f"Measured {so_far.all} songs.")

    done = asyncio.run(_measure(common.existing_library(), tell))
    if output.as_json:
        output.object({"measured": done.measured, "unreadable": done.unreadable, "failed": done.failed})
        return
    left = [
        (done.unreadable, "cannot be decoded"),
        (done.failed, "could not be read"),
    ]
    more = "".join(f"; {counted(number, 'song')} {why}" for number, why in left if number)
    output.line(f"Measured {counted(done.measured, 'song')}{more}.")


async def _measure(settings: LibrarySettings, tell: Callable[[Measured], None]) -> Measured:
    async with Library(settings) as library:
        return await measure_missing(library.ledger.measures, tell=tell)
