"""Keeps the key out of everything that is kept: answers, error texts and the HTTP libraries' own logs."""

from __future__ import annotations

import logging
import re

MASK = "***"

# A key this long occurs in an answer only when the gateway echoes it. A shorter one ("sim", "test") is also
# an ordinary word: masking it inside an id or a song's URL would lose a paid song, so only where it stands
# alone.
_LONG_KEY = 16

_ENTITIES = {"&": ("amp",), "<": ("lt",), ">": ("gt",), '"': ("quot",), "'": ("apos",)}

_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")


def _forms(character: str) -> str:
    """A pattern for one character as it is, JSON-escaped, percent-encoded once or twice, or an HTML entity."""
    code = ord(character)
    literal = re.escape(character)
    named = "".join(rf"|&{name};" for name in _ENTITIES.get(character, ()))
    entity = rf"&#(?:0*{code}|(?i:x0*{code:x}));{named}"
    return rf"(?:{literal}|\\{literal}|\\u00(?i:{code:02x})|%(?:25)?(?i:{code:02x})|{entity})"


class Redactor:
    """Replaces every form of one key by "***"; without a key it gives the text back unchanged."""

    __slots__ = ("_pattern",)

    def __init__(self, key: str | None) -> None:
        self._pattern = None if not key else re.compile(_pattern(key))

    def __call__(self, text: str) -> str:
        """The text with the key masked."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _pattern(key: str) -> str:
    """The pattern of a key: anywhere for a long one, only as a word of its own for a short one."""
    forms = "".join(_forms(character) for character in key)
    return forms if len(key) >= _LONG_KEY else rf"(?<![\w\-./])(?:{forms})(?![\w\-/]|\.\w)"


class _LogFilter(logging.Filter):
    """Masks the keys in use in records of httpx and httpcore, whose DEBUG lines hold the answer's headers."""

    def __init__(self) -> None:
        super().__init__()
        self._redactors: dict[str, Redactor] = {}

    def add(self, key: str) -> None:
        self._redactors.setdefault(key, Redactor(key))

    def mask(self, text: str) -> str:
        for redactor in list(self._redactors.values()):
            text = redactor(text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        text = self.mask(said)
        if text != said:
            record.msg, record.args = text, ()
        return True


_log_filter = _LogFilter()


def keep_out_of_logs(key: str | None) -> None:
    """From now on, masks this key in the log records of the HTTP libraries of this process."""
    if key:
        _log_filter.add(key)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_log_filter)


def without_keys(text: str) -> str:
    """The text with every key in use in this process masked: for what the hosts of songs say, who get no key."""
    return _log_filter.mask(text)
