"""The entry of the `songflow` command: what it understands, and what its exit codes mean.

0 done, 1 other, 2 bad input, 3 refused or not sent, 4 generation failed, 5 still running or unknown, 6 budget.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from typing import NoReturn

from cyclopts import App, CycloptsError

from cli.output import Output
from songflow.errors import InputError, SongflowError

__all__ = ["app", "main"]

app = App(
    name="songflow",
    help="Songs through paid Udio gateways: never paid twice, never lost.",
    version=lambda: version("songflow"),
    help_on_error=False,
)
# Each command's module is imported when the command is used: parsing stays fast.
app.command("cli.demo:demo", name="demo")
app.command("cli.generate:generate", name="generate")
app.command("cli.songs:songs", name="songs")
app.command("cli.simulate:simulate", name="simulate")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit with its code; no traceback reaches a user."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """Run one command; what returns is its exit code."""
    output = Output(as_json="--json" in arguments, quiet="--quiet" in arguments)
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        return _fail(output, InputError(_parser_message(error), next="see `songflow --help`; nothing was sent."))
    except SongflowError as error:
        return _fail(output, error)
    except KeyboardInterrupt:
        return _fail(output, SongflowError("Interrupted.", next="run the same command again."))
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get("SONGFLOW_DEBUG"):
            raise
        return _fail(
            output,
            SongflowError(
                f"Something unexpected went wrong ({type(error).__name__}: {error}).",
                next="run again with SONGFLOW_DEBUG=1 for the details; what was paid for is in the ledger.",
            ),
        )
    return 0


def _fail(output: Output, error: SongflowError) -> int:
    output.error(error)
    return error.exit_code


def _parser_message(error: CycloptsError) -> str:
    text = " ".join(str(error).split())
    return text if text.endswith(".") else f"{text}."
