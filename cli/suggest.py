"""`songflow sweep suggest`: choose the next cells of a sweep by ratings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from cli.report import manifest_of
from songflow.errors import InputError
from songflow.library.library import Library
from songflow.settings import LibrarySettings
from songflow.sweeps.parents import with_whole_ids
from songflow.sweeps.spec import Sweep, load_sweep
from songflow.sweeps.suggest import next_spec, seen_in
from songflow.sweeps.suggest import suggest as search

__all__ = ["suggest"]


def suggest(
    spec: Path,
    /,
    *,
    count: int = 10,
    seed: int = 0,
    output: Annotated[Path | None, Parameter(name=["--output", "-o"])] = None,
    common: Common = Common(),
) -> None:
    """Suggest the next cells of a sweep, from how its songs were rated (`songflow rate`); nothing is sent.

    The answer is a spec of its own, for `songflow sweep plan` and `run`. Needs the extra: pip install
    'songflow[search]'.

    Parameters
    ----------
    spec
        The sweep whose ranges and values are searched.
    count
        How many cells.
    seed
        The same seed and the same ratings give the same cells.
    output
        Write the spec to a file instead of stdout.
    """
    speaker = Output(as_json=common.json, quiet=common.quiet)
    given = load_sweep(spec)
    settings = common.existing_library()
    sweep = asyncio.run(_named_in(settings, given))
    seen = seen_in(sweep, asyncio.run(manifest_of(settings)))
    rows = search(sweep, seen, count, seed=seed)
    rated = sum(one.rating is not None for one in seen)
    if not rows:
        raise InputError("Every cell of the sweep is made already.", next="widen its ranges or values.")
    speaker.say(f"{len(rows)} cells to try next, from {rated} rated of {len(seen)} made.")
    text = next_spec(sweep, rows)
    if output is not None:
        try:
            output.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{output} cannot be written: {error.strerror or error}.", next="choose another --output."
            ) from None
    if speaker.as_json:
        found = {"cells": rows, "rated": rated, "made": len(seen), "spec": text}
        speaker.object(found | {"output": None if output is None else str(output.resolve())})
    elif output is None:
        speaker.raw(text)
    else:
        speaker.line(f"Wrote {output}; see `songflow sweep plan {output}`.")


async def _named_in(settings: LibrarySettings, sweep: Sweep) -> Sweep:
    """A sweep that names each song of a library by its whole id, as the manifest does."""
    async with Library(settings, reads_only=True) as library:
        return await with_whole_ids(sweep, library.ledger)
