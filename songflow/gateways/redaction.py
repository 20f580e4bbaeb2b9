"""Mask the key in everything that is stored or logged: answers, error texts, the HTTP libraries' records."""

from __future__ import annotations

import base64
import logging
import re

MASK = "***"

# A key this long occurs in an answer only if the gateway echoes it. A shorter one ("sim", "test") is also an
# ordinary word: masking it inside an id or a song's URL would lose a paid song, so it is masked only as a whole word.
_LONG_KEY = 16

# A key that stands in an address, as one gateway wants it for its balance.
_IN_ADDRESS = re.compile(r"([?&](?i:key|api_key|token)=)[^&\s\"'<>]+")

_ENTITIES = {"&": ("amp",), "<": ("lt",), ">": ("gt",), '"': ("quot",), "'": ("apos",)}

_LOGGERS = ("httpx", "httpcore.connection", "httpcore.http11", "httpcore.proxy", "httpcore.socks")


def _forms(character: str) -> str:
    """A pattern for one character: literal, JSON-escaped, percent-encoded once or twice, or an HTML entity."""
    code = ord(character)
    octets = "".join(rf"%(?:25)?(?i:{octet:02x})" for octet in character.encode("utf-8", "surrogatepass"))
    literal = re.escape(character)
    named = "".join(rf"|&{name};" for name in _ENTITIES.get(character, ()))
    entity = rf"&#(?:0*{code}|(?i:x0*{code:x}));{named}"
    return rf"(?:{literal}|\\{literal}|\\u(?i:{code:04x})|{octets}|{entity})"


class Redactor:
    """Replace every form of some keys by "***"; without a key, leave texts unchanged.

    Args:
        keys: The keys; None for one that there is not.
        everywhere: Mask a short key inside words, too, for texts that may lose an id.
    """

    __slots__ = ("_pattern",)

    def __init__(self, *keys: str | None, everywhere: bool = False) -> None:
        patterns = [_pattern(key, everywhere) for key in keys if key]
        self._pattern = re.compile("|".join(patterns)) if patterns else None

    def __call__(self, text: str) -> str:
        """Mask the keys in a text."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)


def _pattern(key: str, everywhere: bool) -> str:
    """The pattern of a key: anywhere for a long one, only as a whole word for a short one."""
    forms = "".join(_forms(character) for character in key)
    if len(key) < _LONG_KEY and not everywhere:
        return rf"(?<![\w\-./])(?:{forms})(?![\w\-/]|\.\w)"
    return "|".join((forms, *_encoded(key)))


def _encoded(key: str) -> list[str]:
    """The patterns of a key in hexadecimal digits, and in base64 wherever in a longer text it stands."""
    raw = key.encode("utf-8", "surrogatepass")
    found = [f"(?i:{raw.hex()})"]
    for before in range(3):
        digits = base64.b64encode(b"\0" * before + raw).decode()
        # Without the digits that also depend on what stands before and after the key.
        whole = digits[-(-8 * before // 6) : 8 * (before + len(raw)) // 6]
        found.append("".join(_BASE64_FORMS.get(digit, digit) for digit in whole))
    return found


# In base64 for addresses, and percent-encoded or JSON-escaped.
_BASE64_FORMS = {"+": r"(?:[+\-]|%(?:25)?2[Bb]|\\u002[Bb])", "/": r"(?:\\?/|_|%(?:25)?2[Ff]|\\u002[Ff])"}


class _LogFilter(logging.Filter):
    """Mask all keys in use in the records of httpx and httpcore, whose DEBUG lines contain headers."""

    def __init__(self) -> None:
        super().__init__()
        self._redactors: dict[str, Redactor] = {}

    def add(self, key: str) -> None:
        self._redactors.setdefault(key, Redactor(key))

    def mask(self, text: str) -> str:
        text = _IN_ADDRESS.sub(rf"\1{MASK}", text)
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
