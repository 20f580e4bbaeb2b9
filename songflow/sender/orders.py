"""What the asking process hands to its sender and gets back: frames of JSON on a socket between the two.

The gateway's key and the ledger's URL, which may hold a password, pass through this socket and nowhere else.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from songflow.gateways.answer import Answer
from songflow.gateways.dialects import stored_dialect
from songflow.gateways.submit import (
    Accepted,
    NotSent,
    Outcome,
    RefusalKind,
    Refused,
    Unknown,
    classify_submit,
)
from songflow.ledger.spool import SpoolEntry, entry_of
from songflow.runtime.records import plain

__all__ = [
    "Order",
    "Outcome",
    "awake_clock",
    "frame",
    "frames",
    "outcome_of",
    "packed",
    "spooled",
    "unpacked",
]

_SIZE_BYTES = 4


@dataclass(frozen=True, slots=True)
class Order:
    """One request to be sent at most once.

    Attributes:
        entry: What the spool will say of it, but for its outcome; it has the ids, the body and the gateway's name.
        family: The model family of the body.
        url: The gateway's address now (the embedded simulator's changes with each start).
        secret: The gateway's key.
        timeout: Seconds that the POST may take in all.
        send_before: Nothing is sent after this moment of `awake_clock`.
        folder: The library's folder.
        ledger_url: The ledger's address, as the library's settings have it.
        callback: Where the gateway may report to, and the secret of that.
    """

    entry: SpoolEntry
    family: str
    url: str
    timeout: float
    send_before: float
    folder: str
    secret: str | None = field(default=None, repr=False)
    ledger_url: str | None = field(default=None, repr=False)
    callback: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The submission's id."""
        return self.entry.submission_id

    @property
    def body(self) -> str:
        """The canonical body, as JSON."""
        return "" if self.entry.intent is None else self.entry.intent.body

    @property
    def dialect(self) -> str:
        """A custom gateway's configuration, as JSON."""
        return "" if self.entry.intent is None else self.entry.intent.dialect

    def packed(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return plain(self)

    @classmethod
    def unpacked(cls, values: Mapping[str, Any]) -> Order:
        """The order of `packed`."""
        entry = entry_of(values["entry"])
        return cls(**{**values, "entry": entry})


def awake_clock() -> float:
    """Seconds that go on while a process is stopped or the machine sleeps, the same for all its processes."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def packed(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain data for JSON."""
    return {"is": type(outcome).__name__, **plain(outcome)}


def unpacked(values: Mapping[str, Any]) -> Outcome:
    """The outcome of `packed`."""
    fields = {name: value for name, value in values.items() if name != "is"}
    if fields.get("answer") is not None:
        fields["answer"] = Answer(**fields["answer"])
    match values["is"]:
        case "Accepted":
            return Accepted(**{**fields, "track_ids": tuple(fields["track_ids"])})
        case "NotSent":
            return NotSent(**fields)
        case "Refused":
            return Refused(**{**fields, "kind": RefusalKind(fields["kind"])})
        case _:
            return Unknown(**fields)


def spooled(entry: SpoolEntry, outcome: Outcome) -> SpoolEntry:
    """The spool's entry of an outcome."""
    answer = None if isinstance(outcome, NotSent) else outcome.answer
    kept = None if answer is None else answer.as_kept()
    entry = replace(entry, accepted_at=datetime.now(UTC).isoformat(), answer=kept)
    match outcome:
        case Accepted(generation_id, track_ids):
            return replace(entry, generation_id=generation_id, track_ids=track_ids)
        case NotSent(reason):
            return replace(entry, outcome="not_sent", reason=reason)
        case Refused():
            return replace(entry, outcome="refused", reason=outcome.message)
        case Unknown(reason):
            return replace(entry, outcome="unknown", reason=reason)


def outcome_of(entry: SpoolEntry, family: str) -> Outcome:
    """The outcome that a spool's entry tells of."""
    answer = None if entry.answer is None else _stored_answer(entry.answer)
    reason = entry.reason or "the reason was not kept"
    match entry.outcome:
        case "accepted":
            return Accepted(entry.generation_id, entry.track_ids, answer or Answer(0, {}, ""))
        case "not_sent":
            return NotSent(reason)
        case "refused" if answer is not None:
            dialect = stored_dialect(entry.gateway, entry.intent.dialect if entry.intent else "")
            service = dialect.services.get(family) if dialect is not None else None
            again = classify_submit(answer, service) if service is not None else None
            return (
                again
                if isinstance(again, Refused)
                else Refused(RefusalKind.OTHER, reason, False, None, answer)
            )
        case _:
            return Unknown(reason, answer)


def _stored_answer(stored: Mapping[str, Any]) -> Answer:
    return Answer(stored.get("status") or 0, stored.get("headers") or {}, stored.get("body") or "")


def frame(message: Mapping[str, Any]) -> bytes:
    """A message as bytes: its length, then JSON."""
    content = json.dumps(message).encode()
    return len(content).to_bytes(_SIZE_BYTES, "big") + content


def frames(received: bytearray) -> Iterator[dict[str, Any]]:
    """Take every complete message from the front of what was received."""
    while len(received) >= _SIZE_BYTES:
        end = _SIZE_BYTES + int.from_bytes(received[:_SIZE_BYTES], "big")
        if len(received) < end:
            return
        message = json.loads(received[_SIZE_BYTES:end])
        del received[:end]
        yield message
