"""A process that measures one song after another: paths come on stdin, answers go to stdout, a line of JSON each.

It works at the lowest priority and imports neither pydantic nor SQLAlchemy. It ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from songflow.audio.decoding import AudioProblem
from songflow.audio.measures import measure_song

__all__ = ["main"]

_LOWEST_PRIORITY = 19


def main() -> None:
    """Measure until stdin ends."""
    with suppress(OSError, AttributeError):  # a container may forbid it, Windows does not have it
        os.nice(_LOWEST_PRIORITY)
    answers, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    for line in sys.stdin:
        with suppress(BrokenPipeError):
            answers.write(json.dumps(_answer(json.loads(line))) + "\n")
            answers.flush()


def _answer(path: str) -> dict[str, Any]:
    try:
        return {"measures": asdict(measure_song(path))}
    except AudioProblem as problem:
        return {"unreadable": str(problem)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}
