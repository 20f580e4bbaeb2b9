"""The `songflow` command: its subcommands, and how failures are reported."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError
from cyclopts.exceptions import MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from cli.logs import stop_logging
from cli.output import Output
from songflow.errors import InputError, SongflowError

__all__ = ["app", "command_line", "dispatch"]

# The module of each command, imported when the command is used so that parsing stays fast, and its line in the list
# of commands; the command's own help is its docstring.
_COMMANDS = {
    "demo": ("cli.demo:demo", "A whole song on the built-in simulator: no key, no set-up."),
    "generate": ("cli.generate:generate", "Songs from a prompt."),
    "lyrics": ("cli.lyrics:lyrics", "The words of a song from a prompt."),
    "song": ("cli.song:song", "A whole song from a recipe."),
    "extend": ("cli.extend:extend", "An intro, an outro or more of a song."),
    "stitch": ("cli.stitch:stitch", "Join an extension and its source into one song."),
    "sweep": ("cli.sweep:app", "Many songs from one spec: plan, run, status, report, suggest."),
    "songs": ("cli.songs:songs", "The manifest: your songs, and what they cost."),
    "rate": ("cli.judge:rate", "Rate a song from 0 to 5, or write notes on it."),
    "keep": ("cli.judge:keep", "Mark songs as ones to keep."),
    "discard": ("cli.judge:discard", "Mark songs as ones that you do not want."),
    "measure": ("cli.measure:measure", "Loudness, peaks, silence and tempo of songs without measures."),
    "finish": ("cli.finish:finish", "A copy that is trimmed, faded and evenly loud."),
    "rescue": ("cli.rescue:rescue", "Collect songs that were paid for and not stored."),
    "pause": ("cli.spending:pause", "Stop all new spending of this library."),
    "resume": ("cli.spending:resume", "Allow spending again."),
    "backup": ("cli.backup:backup", "A consistent copy of the ledger, while others write."),
    "rebuild": ("cli.rebuild:rebuild", "Rebuild a ledger from the song files."),
    "webhooks": ("cli.webhooks:webhooks", "Take gateways' callbacks, so that waits end within a second."),
    "listen": ("cli.listen:listen", "Hear, compare and rate songs in a browser."),
    "import": ("cli.import_judgements:import_judgements", "Take in judgements from an exported page."),
    "export": ("cli.export:export", "Songs and manifest for other tools."),
    "simulate": ("cli.simulate:simulate", "The simulated gateway as a server."),
    "setup": ("cli.setup:setup", "Prepare a Prefect server for the deployments."),
    "doctor": ("cli.doctor:doctor", "Check a set-up, and say how to fix it."),
}


def command_line(*, overview: bool = False) -> App:
    """The parser; for an `overview`, with one line for each command instead of its help."""
    made = App(
        name="songflow",
        help="Songs through paid gateways: never paid twice, never lost.",
        version=lambda: version("songflow"),
        help_on_error=False,
        suppress_keyboard_interrupt=False,  # `run` reports it, in JSON if asked
    )
    for number, (name, (where, summary)) in enumerate(_COMMANDS.items()):
        made.command(where, name=name, help=summary if overview else None, sort_key=number)
    return made


app = command_line()


def dispatch(arguments: Sequence[str], *, as_json: bool) -> int:
    """Run one command and return its exit code; a command may return one instead of raising its failure."""
    try:
        parser = command_line(overview=True) if arguments in ([], ["--help"], ["-h"]) else app
        code = parser(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _fail(InputError(_parser_message(error), next=_parser_advice(error)), as_json)
    except SongflowError as error:
        return _fail(error, as_json)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`).
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from songflow.settings import debugging  # loads pydantic, which `--help` and `--version` do without

        if debugging():
            raise
        return _fail(
            SongflowError(
                f"Something unexpected went wrong ({type(error).__name__}: {error}).",
                next="run again with SONGFLOW_DEBUG=1 for the details.",
            ),
            as_json,
        )
    finally:
        stop_logging()


def _fail(error: SongflowError, as_json: bool) -> int:
    Output(as_json=as_json, quiet=True).error(error)
    return error.exit_code


def _parser_message(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        surplus = ", ".join(map(repr, error.unused_tokens or ()))
        return f"Too many arguments: {surplus} (put a text of several words in quotes)."
    from songflow.documents.text import sentence

    return sentence(" ".join(str(error).split()))


def _parser_advice(error: CycloptsError) -> str:
    advice = "see `songflow --help`; nothing was sent."
    if isinstance(error, MissingArgumentError):
        return f"{advice} A value that starts with a dash is written --option='- value'."
    if isinstance(error, UnknownOptionError):
        return f"{advice} Before a prompt that starts with a dash, write --."
    return advice
