"""Callbacks: a gateway reports the end of a generation to an address of ours. It is a hint to ask, never the truth."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Callback", "Called", "NotGenuine", "mark_of", "same_text", "secret_for", "signature_of"]

_OLDEST_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Callback:
    """Where gateways report to.

    Attributes:
        url: The public address of the receiver; each gateway has a path of its own below it.
        secret: What a callback is checked by.
    """

    url: str
    secret: str = field(repr=False)

    def address(self, gateway: str) -> str:
        """The address for one gateway."""
        return f"{self.url}/{gateway}"


@dataclass(frozen=True, slots=True)
class Called:
    """A genuine callback that says that a generation has ended; `mark` tells a repeated one."""

    generation_id: str
    mark: str


class NotGenuine(Exception):
    """A callback that is not signed with our secret, or is an old one."""


def secret_for(gateway: str, secret: str) -> str:
    """The secret that a gateway gets to send back: with it nobody can sign another gateway's callbacks."""
    return hmac.new(secret.encode(), gateway.encode(), hashlib.sha256).hexdigest()


def signature_of(secret: str, task_id: str, timestamp: str) -> str:
    """Base64 of the HMAC-SHA256 of `<task id>.<timestamp>`."""
    digest = hmac.new(secret.encode(), f"{task_id}.{timestamp}".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def same_text(given: str, expected: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(given.encode(), expected.encode())


def is_recent(timestamp: str, now: float | None = None) -> bool:
    """True for unix seconds of the last five minutes, or of as far ahead."""
    seconds = float(timestamp) if timestamp.isdecimal() and len(timestamp) < 12 else 0.0
    return abs((time.time() if now is None else now) - seconds) <= _OLDEST_SECONDS


def mark_of(*parts: str) -> str:
    """A short name of a callback."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def holder(value: object, name: str) -> Mapping[str, Any]:
    """A dict in a dict; empty if it is none."""
    inner = value.get(name) if isinstance(value, dict) else None
    return inner if isinstance(inner, dict) else {}
