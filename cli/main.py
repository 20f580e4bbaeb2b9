"""Entry point of the `songflow` command, with the meaning of its exit codes.

0 done, 1 other, 2 bad input, 3 refused or not sent, 4 generation failed, 5 still running or unknown,
6 over budget.

Nothing slow is imported here, so that Ctrl-C while the rest is loading (about a second) ends without a traceback.
"""

from __future__ import annotations

import io
import json
import sys
from typing import NoReturn

__all__ = ["main", "run"]

_INTERRUPTED = 3


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code; no traceback reaches a user."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a title that the terminal cannot show is no failure
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    as_json = _wants_json(arguments)
    try:
        from cli.app import dispatch

        return dispatch(arguments, as_json=as_json)
    except KeyboardInterrupt:
        # Commands that pay handle it themselves from the moment a request could leave.
        return _interrupted(as_json)


def _wants_json(arguments: list[str]) -> bool:
    """True if --json was given, also on a command line that the parser refuses."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return any(option in {"--json", "--json=true"} for option in options)


def _interrupted(as_json: bool) -> int:
    if as_json:
        facts = {"error": "Interrupted; nothing was sent.", "billed": "no"}
        absent = dict.fromkeys(("key", "generation_id", "state"))
        sys.stdout.write(json.dumps({**facts, **absent, "next": "run the command again."}) + "\n")
    sys.stderr.write("songflow: Interrupted; nothing was sent.\n")
    return _INTERRUPTED
