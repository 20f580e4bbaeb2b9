"""How a generation is doing: its status, its takes, and whether waiting is over."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

_MAX_ERROR = 500


class ReportStatus(StrEnum):
    """What an answer says of its generation; `unclear` means: keep asking until the deadline."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNCLEAR = "unclear"


# The one table of status words; a word that is not in it is unclear.
STATUS_WORDS: Mapping[str, ReportStatus] = MappingProxyType(
    {
        "NOT_START": ReportStatus.QUEUED,
        "SUBMITTED": ReportStatus.QUEUED,
        "QUEUED": ReportStatus.QUEUED,
        "IN_PROGRESS": ReportStatus.RUNNING,
        "PROCESSING": ReportStatus.RUNNING,
        "SUCCESS": ReportStatus.SUCCEEDED,
        "FAILURE": ReportStatus.FAILED,
        "UNKNOWN": ReportStatus.UNCLEAR,
    }
)


@dataclass(frozen=True, slots=True)
class TakeReport:
    """One song of a generation as the gateway describes it; `duration` is seconds, `payload` is all it said.

    `song_path` is byte for byte as given (percent-encoded twice); `error` is None for a take without one.
    """

    song_id: str | None
    title: str | None
    duration: float | None
    song_path: str | None
    finished: bool
    error: str | None
    payload: Mapping[str, Any]
    lyrics: str | None = None
    tags: tuple[str, ...] = ()
    image_path: str | None = None
    created_at: str | None = None
    conditioning: str | None = None

    @property
    def done(self) -> bool:
        """Whether nothing more is to come of this take."""
        return self.finished or self.error is not None

    @property
    def collectable(self) -> bool:
        """Whether there is a whole song to download, whatever else the answer says."""
        return self.finished and self.song_path is not None


@dataclass(frozen=True, slots=True)
class Report:
    """One answer about one generation; `progress` is 0..1, the times are unix seconds by the gateway's clock.

    `status` is what the answer says; only `settled` ends the wait. `word` is the status as the gateway
    spelt it, None for a shape without. A settled report without a `collectable` take is a failed generation.
    """

    status: ReportStatus
    takes: tuple[TakeReport, ...]
    failure: str | None
    progress: float | None
    raw: str
    retry_after: float | None = None
    submit_time: float | None = None
    start_time: float | None = None
    finish_time: float | None = None
    word: str | None = None

    @property
    def collectable(self) -> tuple[TakeReport, ...]:
        """The takes that can be downloaded now."""
        return tuple(take for take in self.takes if take.collectable)

    @property
    def complete(self) -> bool:
        """Whether nothing that is listed is still to come; more may be listed later."""
        return bool(self.takes) and all(take.done for take in self.takes)

    @property
    def ran_seconds(self) -> float | None:
        """Seconds from submit to finish by the gateway's own clock (None where it does not tell)."""
        if self.submit_time is None or self.finish_time is None or self.finish_time < self.submit_time:
            return None
        return self.finish_time - self.submit_time

    def settled(self, expected_track_ids: Sequence[str] = (), previous: Report | None = None) -> bool:
        """Whether nothing better will come: failed for good, or every take that was paid for is done.

        `previous` is the report before this one: where no status word says that the list is complete, the
        same list twice in a row says so.
        """
        read = read_word(self.word)
        if ReportStatus.FAILED in (self.status, read):
            return True
        if not self.complete:
            return False
        repeated = previous is not None and _marks(previous) == _marks(self)
        if not repeated and any(take.error is None and take.song_path is None for take in self.takes):
            return False  # finished, and yet without a file: it gets one more look
        expected, listed = set(expected_track_ids), {take.song_id for take in self.takes}
        if expected & listed:
            return expected <= listed
        if read is ReportStatus.SUCCEEDED:
            return True
        return repeated and not expected and read in (None, ReportStatus.UNCLEAR)


def _marks(report: Report) -> Counter[tuple[object, ...]]:
    """What must stay the same from one answer to the next for a list to count as complete, order aside."""
    return Counter((take.song_id, take.finished, take.song_path, take.error) for take in report.takes)


def read_word(word: str | None) -> ReportStatus | None:
    """The meaning of a status word, None where there is no word."""
    return None if word is None else STATUS_WORDS.get(word.strip().upper(), ReportStatus.UNCLEAR)


def judge(word: str | None, failure: str | None, takes: Sequence[TakeReport]) -> ReportStatus:
    """The status of an answer: its word, unless a failure is claimed or denied by the takes themselves."""
    read = read_word(word)
    if any(take.collectable for take in takes):
        # A song that is there is worth more than the word FAILURE or a reason beside it.
        return ReportStatus.SUCCEEDED if read is ReportStatus.FAILED else read or _by_takes(takes)
    if failure is not None or read is ReportStatus.FAILED:
        return ReportStatus.FAILED
    return read or _by_takes(takes)


def _by_takes(takes: Sequence[TakeReport]) -> ReportStatus:
    """The status of a shape without a status word."""
    if not takes:
        return ReportStatus.UNCLEAR
    if not all(take.done for take in takes):
        return ReportStatus.RUNNING
    # All failed so far: more may be listed later, so "failed" would be said too early.
    return ReportStatus.SUCCEEDED if any(take.collectable for take in takes) else ReportStatus.UNCLEAR


def read_take(song: Mapping[str, Any], *, at_rest: bool) -> TakeReport:
    """One song's dict as a take; `at_rest` says that a song_path makes up for a missing `finished`."""
    song_path = text_or_none(song.get("song_path"))
    finished = song.get("finished")
    return TakeReport(
        song_id=text_or_none(song.get("id")),
        title=text_or_none(song.get("title")),
        duration=seconds_or_none(song.get("duration")),
        song_path=song_path,
        finished=_is_true(finished) if finished is not None else at_rest and song_path is not None,
        error=_error_text(song),
        payload=song,
        lyrics=text_or_none(song.get("lyrics")),
        tags=_tags(song.get("tags")),
        image_path=text_or_none(song.get("image_path")),
        created_at=text_or_none(song.get("created_at")),
        conditioning=text_or_none(song.get("audio_conditioning_type")),
    )


def _is_true(value: object) -> bool:
    return value in (True, 1) or (isinstance(value, str) and value.strip().lower() in ("true", "1"))


def _tags(value: object) -> tuple[str, ...]:
    return tuple(tag for tag in value if isinstance(tag, str)) if isinstance(value, list) else ()


def _error_text(song: Mapping[str, Any]) -> str | None:
    """What the song's error fields say, in one line, or None if all of them are null or empty."""
    said = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name in ("error_type", "error_detail", "error_code", "error_id")
        if (value := song.get(name))
    }
    text = ", ".join(f"{name} {' '.join(value.split())}" for name, value in said.items() if value.strip())
    return text[:_MAX_ERROR] or None


def text_or_none(value: object) -> str | None:
    """A text exactly as given (or a whole number as text); None for a blank one and for any other type."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def number_or_none(value: object) -> float | None:
    """A number, or a text that spells one such as "32.8"; None for anything else, NaN and infinities."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def seconds_or_none(value: object) -> float | None:
    """A positive number of seconds; the gateways write 0 for a time that is not set."""
    number = number_or_none(value)
    return number if number is not None and number > 0 else None


def progress_or_none(value: object) -> float | None:
    """A progress such as "100%", "50" or 0.5 as a share 0..1."""
    in_percent = isinstance(value, str)
    number = number_or_none(value.strip().removesuffix("%") if isinstance(value, str) else value)
    if number is None:
        return None
    return min(max(number / 100 if in_percent or number > 1 else number, 0.0), 1.0)
