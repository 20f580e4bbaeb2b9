"""A process that makes songs and receives SIGTERM, from outside or from itself at a chosen moment.

Arguments: the simulator's URL, a library's folder, and perhaps the moment: `between tasks` (as Prefect makes a task
run), `in a callback` (of the event loop, directly after the request was accepted) or `while a song is stored`. With
`a sweep` there it is a sweep of seven cells, three at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from typing import Any

from prefect.utilities import engine

from blocks import SimulatorCredentials, SongLibrary
from flows.generate import generate_song
from flows.sweep import sweep
from songflow.ledger.rows import Submission


def end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def end_between_tasks() -> None:
    collect = engine.collect_task_run_inputs_sync

    def collect_and_end(value: Any, **options: Any) -> Any:
        if isinstance(value, Submission):
            engine.collect_task_run_inputs_sync = collect
            end()
        return collect(value, **options)

    engine.collect_task_run_inputs_sync = collect_and_end


class Ending(logging.Handler):
    """Terminates this process when a message is logged, or in an event loop callback directly after it."""

    def __init__(self, said: str, *, in_a_callback: bool) -> None:
        super().__init__()
        self.addFilter(lambda record: said in record.getMessage())
        self._in_a_callback = in_a_callback

    def emit(self, record: logging.LogRecord) -> None:
        logging.getLogger("songflow").removeHandler(self)
        if self._in_a_callback:
            asyncio.get_running_loop().call_soon(end)
        else:
            end()


def main(url: str, folder: str, moment: str = "") -> None:
    match moment:
        case "between tasks":
            end_between_tasks()
        case "in a callback":
            logging.getLogger("songflow").addHandler(Ending("Accepted as", in_a_callback=True))
        case "while a song is stored":
            logging.getLogger("songflow").addHandler(Ending("Stored", in_a_callback=False))
    where = {"credentials": SimulatorCredentials(base_url=url), "library": SongLibrary(folder=folder)}
    if moment == "a sweep":
        asyncio.run(sweep({"prompt": "terminated", "replicates": 7}, concurrency=3, **where))
    else:
        asyncio.run(generate_song("terminated", safety={"key": "k"}, **where))


if __name__ == "__main__":
    main(*sys.argv[1:])
