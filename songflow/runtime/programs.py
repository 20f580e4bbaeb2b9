"""Commands of this environment: how they are typed where they are read, and how a new interpreter is started.

In a clone without an activated environment, `songflow rescue` is typed `.venv/bin/songflow rescue`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["as_typed", "isolated_python", "typed_program"]

_COMMAND = re.compile(r"`(songflow|prefect|python)(?=[ `])")


def as_typed(text: str) -> str:
    """A text whose commands in backquotes can be typed in this shell and folder."""
    return _COMMAND.sub(lambda match: f"`{typed_program(match[1])}", text)


def typed_program(name: str) -> str:
    """The name of a program beside this Python (songflow, prefect, python), or its path if the shell lacks the name."""
    here = Path(sys.executable).with_name(name)
    if not here.is_file() or _is_found_by_name(name, here):
        return name
    try:
        return shlex.quote(str(here.relative_to(Path.cwd())))
    except (ValueError, OSError):
        return shlex.quote(str(here))


def isolated_python(code: str, *arguments: str) -> list[str]:
    """The command that runs code in a new interpreter, without the start-up files of a site.

    Behind the arguments stand the paths from which this process imports, for the code to put them into `sys.path`.
    """
    home = str(Path(__file__).parents[2])
    paths = [path for path in sys.path if Path(path).is_absolute()]
    if home not in paths:
        paths.append(home)
    flags = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
    return [sys.executable, *flags, "-c", code, *arguments, *paths]


def _is_found_by_name(name: str, here: Path) -> bool:
    """True if the shell finds this very program, perhaps by a link; Python itself is a link in every environment."""
    found = shutil.which(name)
    if found is None:
        return False
    try:
        same_folder = Path(found).parent.samefile(here.parent)
        return same_folder or (name != "python" and here.samefile(found))
    except OSError:
        return False
