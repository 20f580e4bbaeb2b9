"""What the `songflow` command understands, and how its failures are told."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cyclopts import App, CycloptsError
from cyclopts.exceptions import MissingArgumentError, UnknownOptionError, UnusedCliTokensError

from cli.output import Output, stop_logging
from songflow.errors import InputError, SongflowError

__all__ = ["app", "dispatch"]

app = App(
    name="songflow",
    help="Songs through paid Udio gateways: never paid twice, never lost.",
    version=lambda: version("songflow"),
    help_on_error=False,
    suppress_keyboard_interrupt=False,  # `run` tells it, in JSON where asked
)
# Each command's module is imported when the command is used: parsing stays fast.
app.command("cli.demo:demo", name="demo")
app.command("cli.generate:generate", name="generate")
app.command("cli.song:song", name="song")
app.command("cli.extend:extend", name="extend")
app.command("cli.stitch:stitch", name="stitch")
app.command("cli.sweep:app", name="sweep")
app.command("cli.songs:songs", name="songs")
app.command("cli.rate:rate", name="rate")
app.command("cli.rescue:rescue", name="rescue")
app.command("cli.spending:pause", name="pause")
app.command("cli.spending:resume", name="resume")
app.command("cli.rebuild:rebuild", name="rebuild")
app.command("cli.listen:listen", name="listen")
app.command("cli.export:export", name="export")
app.command("cli.simulate:simulate", name="simulate")
app.command("cli.setup:setup", name="setup")
app.command("cli.doctor:doctor", name="doctor")


def dispatch(arguments: Sequence[str], *, as_json: bool) -> int:
    """Run one command; what returns is its exit code (a command that returns one did not raise its failures)."""
    try:
        code = app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _fail(InputError(_parser_message(error), next=_parser_advice(error)), as_json)
    except SongflowError as error:
        return _fail(error, as_json)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("SONGFLOW_DEBUG"):
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
        return f"There is more than the command takes: {surplus} (a text of several words stands in quotes)."
    text = " ".join(str(error).split())
    return text if text.endswith((".", "?")) else f"{text}."


def _parser_advice(error: CycloptsError) -> str:
    advice = "see `songflow --help`; nothing was sent."
    if isinstance(error, MissingArgumentError):
        return f"{advice} A value that starts with a dash is written --option='- value'."
    if isinstance(error, UnknownOptionError):
        return f"{advice} Before a prompt that starts with a dash, write --."
    return advice
