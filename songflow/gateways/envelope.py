"""Parse untrusted JSON, and read the two error envelopes that one host may send."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Literal

Style = Literal["relay", "openai"]

_MAX_DEPTH = 64
_MAX_DIGITS = 40
_MAX_MESSAGE = 500


@dataclass(frozen=True, slots=True)
class Envelope:
    """An answer's own verdict: relay `{"code","message","data"}`, OpenAI `{"error":{..}}`, or none.

    A gateway with another envelope translates it to one of these styles and to the relay's codes. `status` is an HTTP
    status that the body states; it replaces the answer's own 2xx or 4xx status, where there is no id.
    """

    style: Style | None = None
    code: str = ""
    message: str = ""
    type: str = ""
    status: int | None = None

    @property
    def says_success(self) -> bool:
        """True for the relay's success codes, one of which is the number 200."""
        return self.style == "relay" and self.code in ("success", "200")


def parse_json(text: str) -> object:
    """Parse JSON, whatever its content type, and make it safe to store; raises only ValueError.

    A byte order mark is skipped. Values that no database accepts are replaced: NaN, infinities and integers of more
    than 40 digits by null, lone surrogates and NUL characters by U+FFFD. Deep nesting is refused.
    """
    text = text.strip("\ufeff \t\r\n")
    try:
        value: object = _DECODER.decode(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    # Both checks cost more than parsing; real answers have fewer than 200 brackets and no such escapes.
    if text.count("[") + text.count("{") > 200 and _is_deeper(value, _MAX_DEPTH):
        raise ValueError("the JSON is nested too deeply")
    if "\\u" in text:
        return _storable(value)
    return value


def read_envelope(value: object) -> Envelope:
    """Recognise the error envelope of a parsed answer by its form alone."""
    if not isinstance(value, dict):
        return Envelope()
    error = value.get("error")
    if isinstance(error, dict) and any(_text(error.get(name)) for name in ("message", "code", "type")):
        code, kind = _code(error.get("code")), _code(error.get("type"))
        return Envelope("openai", code, message_line(error.get("message")), kind)
    code = _code(value.get("code"))
    if code and ("message" in value or "data" in value):
        return Envelope("relay", code, message_line(value.get("message")))
    return Envelope()


_STATUSES = range(400, 600)
_NO_TASK, _NO_TASK_CODES = ("is null", "not found", "not exist"), ("400", "404", "422")


def status_envelope(code: str, message: str) -> Envelope:
    """The relay's envelope for a code that is an HTTP status; a task that does not exist has the relay's own code."""
    status = int(code) if code.isdecimal() and int(code) in _STATUSES else None
    if code in _NO_TASK_CODES and any(words in message.lower() for words in _NO_TASK):
        code = "task_not_exist"
    return Envelope("relay", code, message, status=status)


def message_line(value: object) -> str:
    """A text or number as a message for people: one line of at most 500 characters; "" for anything else."""
    return " ".join(_text(value).split())[:_MAX_MESSAGE]


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _sane_integer(text: str) -> int | None:
    # int() raises beyond 4,300 digits, which would make the whole answer unreadable.
    return int(text) if len(text) <= _MAX_DIGITS else None


_DECODER = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite, parse_int=_sane_integer)


def _is_deeper(value: object, levels: int) -> bool:
    """True if a value is nested deeper than this many levels; works without recursion."""
    layer = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _children(parent)]
        if not layer:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _storable(value: object) -> object:
    """Make every string of a value safe for UTF-8 and for PostgreSQL's text type."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {storable_text(name): _storable(item) for name, item in value.items()}
    return value


def storable_text(text: str) -> str:
    """Replace lone surrogates (UTF-8 refuses them) and NUL characters (PostgreSQL refuses them)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _text(value: object) -> str:
    """A string or number as text; "" for anything else."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _code(value: object) -> str:
    return _text(value).lower()
