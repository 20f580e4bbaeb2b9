"""The report on a generation: its status, its takes, and whether waiting for it can end."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

MAX_ERROR = 500
"""The longest error text of a take, in characters."""


_LONGEST_SONG = 1e6
# White space, byte order marks, zero-width spaces and quotes around an address.
_AROUND = "".join(map(chr, range(0x21))) + "\x7f\x85\xa0\ufeff\u200b\u200c\u200d\u2028\u2029\u3000\"'<>"


class ReportStatus(StrEnum):
    """The status of a generation in one answer; `unclear` means: poll until the deadline."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNCLEAR = "unclear"


_WORDS = {
    ReportStatus.QUEUED: "NOT_START NOT_STARTED SUBMITTED QUEUED QUEUEING PENDING WAITING CREATED",
    ReportStatus.RUNNING: "IN_PROGRESS INPROGRESS PROCESSING RUNNING STARTED GENERATING",
    ReportStatus.SUCCEEDED: "SUCCESS SUCCEEDED SUCCESSFUL COMPLETE COMPLETED FINISHED DONE",
    ReportStatus.FAILED: "FAILURE FAILED FAIL ERROR CANCELLED CANCELED TIMEOUT TIMED_OUT EXPIRED REJECTED ABORTED",
    ReportStatus.UNCLEAR: "UNKNOWN",
}

STATUS_WORDS: Mapping[str, ReportStatus] = MappingProxyType(
    {word: status for status, words in _WORDS.items() for word in words.split()}
)
"""The relays' status words in capitals, and the plain words that others use in their place."""


@dataclass(frozen=True, slots=True)
class TakeReport:
    """One song of a generation as the gateway describes it.

    Attributes:
        duration: Seconds.
        song_path: The URL of the audio, byte for byte as given (Udio's is percent-encoded twice).
        error: None for a take without an error.
        payload: Everything that the gateway sent about this take.
        prompt: The prompt that the gateway repeats; rescue recognises a request by it.
        is_text: It is a text (`lyrics`), complete with this report: there is no audio.
        presumed: `finished` follows from the generation's success and an address, against the take's own word.
    """

    song_id: str | None
    title: str | None
    duration: float | None
    song_path: str | None
    finished: bool
    error: str | None
    payload: Mapping[str, Any]
    prompt: str | None = None
    lyrics: str | None = None
    tags: tuple[str, ...] = ()
    image_path: str | None = None
    created_at: str | None = None
    conditioning: str | None = None
    is_text: bool = False
    presumed: bool = False

    @property
    def done(self) -> bool:
        """True if this take will not change any more."""
        return self.finished or self.error is not None

    @property
    def collectable(self) -> bool:
        """True if there is a whole song to download, or a whole text, whatever else the answer says."""
        return self.finished and (self.song_path is not None or self.is_text)


@dataclass(frozen=True, slots=True)
class Report:
    """One answer about one generation.

    Only `settled` ends the wait. A settled report without a `collectable` take is a failed generation.

    Attributes:
        status: The judged status.
        progress: 0..1.
        submit_time, start_time, finish_time: Unix seconds by the gateway's clock.
        word: The status as the gateway spells it; None for answers without one.
        stated: The meaning of `word`.
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
    stated: ReportStatus | None = None

    @property
    def collectable(self) -> tuple[TakeReport, ...]:
        """The takes that can be downloaded now."""
        return tuple(take for take in self.takes if take.collectable)

    @property
    def complete(self) -> bool:
        """True if every listed take is done; more may be listed later."""
        return bool(self.takes) and all(take.done for take in self.takes)

    @property
    def ran_seconds(self) -> float | None:
        """Seconds from submit to finish by the gateway's own clock (None if it does not report them)."""
        if self.submit_time is None or self.finish_time is None or self.finish_time < self.submit_time:
            return None
        return self.finish_time - self.submit_time

    def settled(self, expected_track_ids: Sequence[str] = (), previous: Report | None = None) -> bool:
        """True if waiting can end: the generation failed, or every take that was paid for is done.

        `previous` is the report before this one: without a status word, two equal lists in a row count as complete.
        """
        if ReportStatus.FAILED in (self.status, self.stated):
            return True
        if not self.complete:
            return False
        repeated = previous is not None and _marks(previous) == _marks(self)
        if not repeated and any(
            take.presumed or (take.error is None and not take.collectable) for take in self.takes
        ):
            return False  # finished without a file, or against its own word: poll once more
        expected, listed = set(expected_track_ids), {take.song_id for take in self.takes}
        if expected & listed:
            return expected <= listed
        if self.stated is ReportStatus.SUCCEEDED:
            return True
        return repeated and not expected and self.stated in (None, ReportStatus.UNCLEAR)


def _marks(report: Report) -> Counter[tuple[object, ...]]:
    """What two successive answers must have in common for their list to count as complete, in any order."""
    return Counter((take.song_id, take.finished, take.song_path, take.error) for take in report.takes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContent:
    """The facts that a gateway's report reader finds in an answer, before its status is judged.

    The attributes are those of `Report`.
    """

    takes: tuple[TakeReport, ...]
    word: str | None = None
    stated: ReportStatus | None = None
    failure: str | None = None
    progress: float | None = None
    submit_time: float | None = None
    start_time: float | None = None
    finish_time: float | None = None

    def report(self, raw: str, retry_after: float | None) -> Report:
        """Judge the status. The report of a failure always has a reason."""
        status, failure = _judge(self.stated, self.failure, self.takes), self.failure
        if status is ReportStatus.FAILED and failure is None:
            errors = [take.error for take in self.takes if take.error]
            failure = (
                "; ".join(dict.fromkeys(errors))
                or f"the gateway reports {_named(self.word)} and gives no reason"
            )
        return Report(
            status=status,
            takes=self.takes,
            failure=failure,
            progress=self.progress,
            raw=raw,
            retry_after=retry_after,
            submit_time=self.submit_time,
            start_time=self.start_time,
            finish_time=self.finish_time,
            word=self.word,
            stated=self.stated,
        )


def _named(word: str | None) -> str:
    return "a failure" if word is None or word.strip().upper() == "FAILURE" else f"'{word.strip()[:50]}'"


def read_word(word: str | None, words: Mapping[str, ReportStatus] = STATUS_WORDS) -> ReportStatus | None:
    """The meaning of a status word; unclear for one that is not in the table, None without a word."""
    if word is None:
        return None
    return words.get(re.sub(r"[\s-]+", "_", word.strip().upper()), ReportStatus.UNCLEAR)


def _judge(stated: ReportStatus | None, failure: str | None, takes: Sequence[TakeReport]) -> ReportStatus:
    """The status of an answer: the stated one, unless its takes or its failure contradict it."""
    if any(take.collectable for take in takes):
        # A song that can be downloaded outweighs a failure that is reported beside it.
        return ReportStatus.SUCCEEDED if stated is ReportStatus.FAILED else stated or _by_takes(takes)
    if failure is not None or stated is ReportStatus.FAILED:
        return ReportStatus.FAILED
    return stated or _by_takes(takes)


def _by_takes(takes: Sequence[TakeReport]) -> ReportStatus:
    """The status of an answer without a status word."""
    if not takes:
        return ReportStatus.UNCLEAR
    if not all(take.done for take in takes):
        return ReportStatus.RUNNING
    # If all listed takes failed, more may still be listed: too early for "failed".
    return ReportStatus.SUCCEEDED if any(take.collectable for take in takes) else ReportStatus.UNCLEAR


def text_or_none(value: object) -> str | None:
    """A text exactly as given, or a whole number as text; None for blank texts and other types."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value.strip() else None


def separate_tags(value: object) -> tuple[str, ...]:
    """The tags of a text with commas between them."""
    return tuple(tag for part in value.split(",") if (tag := part.strip())) if isinstance(value, str) else ()


def address_or_none(value: object, base_url: str) -> str | None:
    """A song's or picture's URL, else byte for byte as given: without what stands around it, and completed.

    Args:
        base_url: The gateway's, for an address without scheme ("//host/x") or without host ("/x"); "" for none.
    """
    text = value.strip(_AROUND) if isinstance(value, str) else ""
    scheme, _, rest = base_url.partition("://")
    if rest and text.startswith("//"):
        return f"{scheme}:{text}"
    if rest and text.startswith("/"):
        return f"{scheme}://{rest.partition('/')[0]}{text}"
    return text or None


def number_or_none(value: object) -> float | None:
    """A number, also from a text such as "32.8"; None for anything else, NaN and infinities."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def seconds_or_none(value: object) -> float | None:
    """A positive number of seconds; gateways write 0 for a time that is not set."""
    number = number_or_none(value)
    return number if number is not None and number > 0 else None


def length_or_none(value: object) -> float | None:
    """A song's announced length; None also for one of over eleven days, which is in another unit."""
    seconds = seconds_or_none(value)
    return seconds if seconds is not None and seconds <= _LONGEST_SONG else None


def progress_or_none(value: object) -> float | None:
    """A progress such as "100%", "50" or 0.5 as a fraction 0..1."""
    in_percent = isinstance(value, str)
    number = number_or_none(value.strip().removesuffix("%") if isinstance(value, str) else value)
    if number is None:
        return None
    return min(max(number / 100 if in_percent or number > 1 else number, 0.0), 1.0)
