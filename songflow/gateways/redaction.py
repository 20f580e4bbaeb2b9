"""Mask the key in everything that is stored or logged: answers, error texts, the HTTP libraries' records."""

from __future__ import annotations

import logging
import re

MASK = "***"

# A key this long occurs in an answer only if the gateway echoes it. A shorter one ("sim", "test") is also an
# ordinary word: masking it inside an id or a song's URL would lose a paid song, so it is masked only as a whole word.
_LONG_KEY = 16

_ENTITIES = {"&": ("amp",), "<": ("lt",), ">": ("gt",), '"': ("quot",), "'": ("apos",)}

_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")


def _forms(character: str) -> str:
    """A pattern for one character: literal, JSON-escaped, percent-encoded once or twice, or an HTML entity."""
    code = ord(character)
    literal = re.escape(character)
    named = "".join(rf"|&{name};" for name in _ENTITIES.get(character, ()))
    entity = rf"&#(?:0*{code}|(?i:x0*{code:x}));{named}"
    return rf"(?:{literal}|\\{literal}|\\u00(?i:{code:02x})|%(?:25)?(?i:{code:02x})|{entity})"


class Redactor:
    """Replace every form of one key by "***"; without a key, leave texts unchanged."""

    __slots__ = ("_pattern",)

    def __init__(self, key: str | None) -> None:
        self._pattern = None if not key else re.compile(_pattern(key))

    def __call__(self, text: str) -> str:
        """Mask the key in a text."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _pattern(key: str) -> str:
    """The pattern of a key: anywhere for a long one, only as a whole word for a short one."""
    forms = "".join(_forms(character) for character in key)
    return forms if len(key) >= _LONG_KEY else rf"(?<![\w\-./])(?:{forms})(?![\w\-/]|\.\w)"


class _LogFilter(logging.Filter):
    """Mask all keys in use in the records of httpx and httpcore, whose DEBUG lines contain headers."""

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
        original = record.getMessage()
        text = self.mask(original)
        if text != original:
            record.msg, record.args = text, ()
        return True


_log_filter = _LogFilter()


def keep_out_of_logs(key: str | None) -> None:
    """Mask this key in the log records of this process's HTTP libraries from now on."""
    if key:
        _log_filter.add(key)
        for name in _LOGGERS:
            logging.getLogger(name).addFilter(_log_filter)


def without_keys(text: str) -> str:
    """Mask every key in use in this process: for messages of song hosts, which are not given a key."""
    return _log_filter.mask(text)
