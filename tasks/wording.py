"""Errors in the words of Prefect's forms: the domain names options of the command line, a form has fields.

A run that the command line has started keeps the command line's words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from prefect.context import FlowRunContext, TaskRunContext

from songflow.errors import SongflowError

__all__ = ["FIELDS", "in_prefects_words", "keep_options", "next_step", "worded"]

FIELDS = {
    "base-url": "Base URL",
    "budget": "Budget",
    "choose": "Choices",
    "credentials": "Credentials",
    "deadline": "Deadline",
    "fallback": "Fallbacks",
    "gateway": "Gateway",
    "if-unsettled": "If unsettled",
    "key": "Request key",
    "library": "Library",
    "model": "Model",
    "place": "Place",
    "prompt": "Prompt",
    "retry-errors": "Retry errors",
    "set": "Variables",
}
"""Options of the command line and the titles of their fields."""

# Commands are quoted with backticks, and keep their options.
_COMMAND = re.compile(r"(`[^`]*`)")
_SAME = re.compile(r"\brun the (?:same )?command\b(?: again)?")
_CHOICE = re.compile(r"(\w )?--choose ([\w.]+)=(\w+)")
_KEY = re.compile(r"--key ([\w:.-]*\w)")
_UNSETTLED = re.compile(r"--if-unsettled (new|stop)\b")
_OPTION = re.compile(rf"--({'|'.join(FIELDS)})\b(?!-)")

_keeps_options: ContextVar[bool] = ContextVar("songflow_keeps_options", default=False)


def keep_options() -> None:
    """Keep the words of the command line from here on, in this context."""
    _keeps_options.set(True)


def worded(text: str) -> str:
    """A text with fields of the form instead of options, unless the command line has started this run."""
    if _keeps_options.get():
        return text
    return "".join(part if part.startswith("`") else _with_fields(part) for part in _COMMAND.split(text))


def next_step(text: str | None) -> str:
    """The end of a line of a run's log: " Next: ..."; nothing if there is no next step."""
    return f" Next: {worded(text)}" if text else ""


def _with_fields(text: str) -> str:
    text = _SAME.sub("run the deployment again", text)
    text = _CHOICE.sub(_choices, text)
    text = _KEY.sub(r"the Request key \1", text)
    text = _UNSETTLED.sub(r"\1 in the If unsettled field", text)
    return _OPTION.sub(lambda found: f"the {FIELDS[found[1]]} field", text)


def _choices(found: re.Match[str]) -> str:
    before = f"{found[1]}and " if found[1] else ""
    return f"{before}the Choices {json.dumps({found[2]: found[3]})}"


@contextmanager
def in_prefects_words() -> Iterator[None]:
    """Reword errors that leave this block inside a run; Prefect takes its states' messages from them."""
    try:
        yield
    except SongflowError as error:
        if FlowRunContext.get() is not None or TaskRunContext.get() is not None:
            error.message = worded(error.message)
            error.next = error.next and worded(error.next)
        raise
