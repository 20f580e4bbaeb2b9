"""An HTTP answer as it is stored: bounded, decoded, without the key; and its Retry-After."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

KEPT_HEADERS = ("content-encoding", "content-type", "date", "location", "retry-after", "x-oneapi-request-id")

RAW_BODY = "x-songflow-raw-body"
"""The name under which the headers keep the bytes of a body that is no text, in base64; no gateway's header counts."""

# More than an hour is a wrong clock or a ban; the caller's own deadline comes first.
MAX_RETRY_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. `headers` are `KEPT_HEADERS` and `RAW_BODY`; if `truncated`, `body` is incomplete."""

    status: int
    headers: Mapping[str, str]
    body: str
    truncated: bool = False

    def as_kept(self) -> dict[str, Any]:
        """What the ledger and the spool keep of it."""
        return {"status": self.status, "headers": dict(self.headers), "body": self.body}

    @property
    def retry_after(self) -> float | None:
        """The seconds of the Retry-After header, within 0..3600; None without a usable one."""
        asked = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", asked):
            return min(float(asked), MAX_RETRY_AFTER)
        until = _http_date(asked)
        if until is None:
            return None
        # Clocks differ: the date is compared with the gateway's own clock, if the answer has it.
        now = _http_date(self.headers.get("date", "")) or datetime.now(UTC)
        return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _http_date(text: str) -> datetime | None:
    """An HTTP date; None for anything else."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
