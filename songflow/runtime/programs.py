"""How a command of this environment is typed where it is read: by its name, or by its path if the shell lacks that.

In a clone without an activated environment, `songflow rescue` is typed `.venv/bin/songflow rescue`.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["as_typed", "typed_program"]

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
