"""Entry point of the `songflow` command, with the meaning of its exit codes.

0 done, 1 other, 2 bad input, 3 refused or not sent, 4 generation failed, 5 still running or unknown,
6 over budget.

Nothing slow is imported here, so that Ctrl-C while the rest is loading (about a second) ends without a traceback.
"""

from __future__ import annotations

import gc
import json
import sys
from typing import NoReturn, TextIO, cast

from cli.streams import fill_closed, tolerant, write_problem

__all__ = ["main", "run"]

_INTERRUPTED, _OPEN = 3, 5
# With Python's own threshold, collections would look through the imported objects again and again: a fortieth of a
# sweep's CPU.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000
# The exit codes of these tell what is paid for and stored, whoever reads their answer.
_PAYING = (["demo"], ["generate"], ["lyrics"], ["song"], ["extend"], ["rescue"])
_LOOKING = frozenset({"--list", "--plan", "--help", "-h"})


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code; no traceback reaches a user."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    given = sys.argv[1:] if arguments is None else arguments
    fill_closed()
    sys.stdout = cast(TextIO, tolerant(sys.stdout, 1))
    sys.stderr = cast(TextIO, tolerant(sys.stderr, 2))
    code = run(given)
    problem = write_problem(sys.stdout)
    if problem is not None:
        code = _without_answer(problem, code, given)
    write_problem(sys.stderr)
    sys.exit(code)


def _without_answer(problem: OSError, code: int, arguments: list[str]) -> int:
    """The exit code of a command whose answer could not be written: what a paying command has made still counts."""
    pays = _pays(arguments)
    if not isinstance(problem, BrokenPipeError):  # the reader of our output has gone (`| head`)
        from songflow.runtime.programs import as_typed

        reason = problem.strerror or str(problem)
        advice = as_typed("`songflow songs` shows what is stored.") if pays else "write it somewhere else."
        sys.stderr.write(f"songflow: The answer could not be written to stdout: {reason}. Next: {advice}\n")
    return code if pays or code != 0 else 1


def _pays(arguments: list[str]) -> bool:
    """True if a command line may pay for songs or collect them, so that its exit code tells what became of them."""
    command, options = arguments[:2], _options(arguments)
    return (command[:1] in _PAYING or command == ["sweep", "run"]) and not _LOOKING.intersection(options)


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    as_json = _wants_json(arguments)
    if (earlier := sys.modules.get("cli.paid_command")) is not None:  # of a command in the same process
        earlier.may_be_paid = None  # type: ignore[attr-defined]
    try:
        from cli.app import dispatch

        return dispatch(arguments, as_json=as_json)
    except KeyboardInterrupt:
        return _interrupted(as_json)


def _wants_json(arguments: list[str]) -> bool:
    """True if --json was given, also on a command line that the parser refuses."""
    return any(option in {"--json", "--json=true"} for option in _options(arguments))


def _options(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _interrupted(as_json: bool) -> int:
    """Commands that pay handle it themselves while they work; here they print, or have not begun."""
    come_back = getattr(sys.modules.get("cli.paid_command"), "may_be_paid", None)
    error, billed, next, code = "Interrupted; nothing was sent.", "no", "run the command again.", _INTERRUPTED
    if come_back is not None:
        error, billed, next, code = (
            "Interrupted; the ledger has what was paid for.",
            "maybe",
            come_back,
            _OPEN,
        )
    if as_json:
        facts = {"error": error, "billed": billed, **dict.fromkeys(("key", "generation_id", "state"))}
        sys.stdout.write(json.dumps({**facts, "next": next}) + "\n")
    sys.stderr.write(f"songflow: {error}{'' if come_back is None else f' Next: {come_back}.'}\n")
    return code
