"""An HTTP answer as it is kept: bounded, decoded, without the key; and how long it asks us to wait."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

KEPT_HEADERS = ("content-type", "date", "location", "retry-after", "x-oneapi-request-id")

# Longer than an hour is a clock gone wrong or a ban; the caller's own deadline decides before that.
MAX_RETRY_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: `headers` are the kept ones in lower case; `truncated` means that `body` is not all."""

    status: int
    headers: Mapping[str, str]
    body: str
    truncated: bool = False

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait as the Retry-After header asks, within [0, 3600], or None without a usable one."""
        asked = self.headers.get("retry-after", "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", asked):
            return min(float(asked), MAX_RETRY_AFTER)
        until = _http_date(asked)
        if until is None:
            return None
        # Clocks disagree: the gateway's date is read against the gateway's own clock where it shows it.
        now = _http_date(self.headers.get("date", "")) or datetime.now(UTC)
        return min(max((until - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _http_date(text: str) -> datetime | None:
    """An HTTP date, or None for anything else."""
    try:
        date = parsedate_to_datetime(text)
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
