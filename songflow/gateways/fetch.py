"""Reads the answer to a fetch: a report in one of four shapes, or a problem that never loses the generation.

A  {"songs": [..]}                        B  {"data": {"status", .., "data": {"songs": [..]}}}
C  {"data": {"songs": [..]}}              D  {"data": {"status", "data": [{"songs": [..]}, ..]}}
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from songflow.gateways.answer import Answer
from songflow.gateways.dialect import SHAPES, Shape
from songflow.gateways.envelope import Envelope, Style, parse_json, read_envelope
from songflow.gateways.report import (
    Report,
    ReportStatus,
    judge,
    progress_or_none,
    read_take,
    read_word,
    seconds_or_none,
    text_or_none,
)


class FetchProblemKind(StrEnum):
    """Why a fetch brought no report; none of them says anything about the generation itself."""

    NOT_FOUND = "not_found"
    CREDENTIALS = "credentials"
    TRANSIENT = "transient"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class FetchProblem:
    """A fetch without a report: the generation may still run, so the caller asks again until its deadline."""

    kind: FetchProblemKind
    message: str
    retry_after: float | None
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class _Rule:
    """One row: every column that is given must match."""

    kind: FetchProblemKind
    why: str
    status: Container[int] | None = None
    styles: tuple[Style | None, ...] | None = None
    codes: frozenset[str] | None = None

    def matches(self, status: int, envelope: Envelope) -> bool:
        return (
            (self.status is None or status in self.status)
            and (self.styles is None or envelope.style in self.styles)
            and (self.codes is None or envelope.code in self.codes)
        )


_K = FetchProblemKind
_RELAY: tuple[Style | None, ...] = ("relay",)
_NOT_RELAY: tuple[Style | None, ...] = ("openai", None)
_UPSTREAM, _NO_TASK = frozenset({"fail_to_fetch_task"}), frozenset({"task_not_exist"})

# The first row that matches decides. The envelope goes before the status: relays pass an upstream's 401 on.
RULES: tuple[_Rule, ...] = (
    _Rule(_K.TRANSIENT, "the gateway could not reach its upstream", None, _RELAY, _UPSTREAM),
    _Rule(_K.NOT_FOUND, "the gateway does not know the id", range(200, 500), _RELAY, _NO_TASK),
    _Rule(_K.CREDENTIALS, "the key is not accepted", (401, 403)),
    _Rule(_K.CONFIGURATION, "redirected: the base URL or the path is wrong", range(300, 400), _NOT_RELAY),
    _Rule(_K.CONFIGURATION, "no such path: the base URL or the path is wrong", (404, 405), _NOT_RELAY),
    _Rule(_K.TRANSIENT, "too many requests", (429,)),
    _Rule(_K.TRANSIENT, "an answer that is not a report"),
)


def classify_fetch(answer: Answer, shape: Shape = "B") -> Report | FetchProblem:
    """The report in an answer; `shape` is the dialect's, and decides only where several would fit."""
    try:
        value = parse_json(answer.body)
    except ValueError:
        return _problem(answer, Envelope())
    envelope = read_envelope(value)
    if not 200 <= answer.status < 300:
        return _problem(answer, envelope)
    songs = _choose(_find_songs(value), shape)
    refused = envelope.style is not None and not envelope.says_success
    if refused and not songs and _word(value) is None:
        return _problem(answer, envelope)
    return _report(answer, value, songs)


def _problem(answer: Answer, envelope: Envelope) -> FetchProblem:
    rule = next(rule for rule in RULES if rule.matches(answer.status, envelope))
    said = envelope.message or envelope.code or rule.why
    return FetchProblem(rule.kind, f"HTTP {answer.status}: {said}", answer.retry_after, answer)


def _report(answer: Answer, value: object, songs: list[dict[str, Any]]) -> Report:
    about = _about(value)
    word = _word(value)
    at_rest = read_word(word) not in (ReportStatus.QUEUED, ReportStatus.RUNNING)
    takes = tuple(read_take(song, at_rest=at_rest) for song in songs)
    failure = _failure(about.get("fail_reason"))
    status = judge(word, failure, takes)
    if status is ReportStatus.FAILED and failure is None:
        errors = [take.error for take in takes if take.error]
        failure = "; ".join(dict.fromkeys(errors)) or "the gateway reports a failure and gives no reason"
    return Report(
        status=status,
        takes=takes,
        failure=failure,
        progress=progress_or_none(about.get("progress")),
        raw=answer.body,
        retry_after=answer.retry_after,
        submit_time=seconds_or_none(about.get("submit_time")),
        start_time=seconds_or_none(about.get("start_time")),
        finish_time=seconds_or_none(about.get("finish_time")),
        word=word,
    )


def _failure(reason: object) -> str | None:
    """A fail_reason as text; null, empty and blank ones are no failure."""
    return text_or_none(reason if isinstance(reason, str) or not reason else str(reason))


def _about(value: object) -> Mapping[str, Any]:
    """The dict that describes the generation: the envelope's `data` if it is one, else the whole answer."""
    top = value if isinstance(value, dict) else {}
    data = top.get("data")
    return data if isinstance(data, dict) else top


def _word(value: object) -> str | None:
    """The status word, from the generation's dict or else from the only status its elements agree on."""
    about = _about(value)
    data = about.get("data")
    stated = [_status(about), _status(value)]
    stated += {_status(element) for element in (data if isinstance(data, list) else [data])}
    words = [word for word in stated if word is not None]
    ambiguous = stated[:2] == [None, None] and len(words) > 1
    return words[0] if words and not ambiguous else None


def _status(holder: object) -> str | None:
    word = holder.get("status") if isinstance(holder, dict) else None
    return word if isinstance(word, str) and word.strip() else None


def _find_songs(value: object) -> dict[Shape, list[dict[str, Any]]]:
    """Every place where songs can be, with the songs that are there."""
    top = value if isinstance(value, dict) else {"songs": value}
    data = top.get("data")
    inner = data.get("data") if isinstance(data, dict) else data
    return {
        "A": _songs(top.get("songs")),
        "B": _songs(inner.get("songs")) if isinstance(inner, dict) else [],
        "C": _songs(data.get("songs")) if isinstance(data, dict) else [],
        "D": _songs(inner),
    }


def _choose(found: Mapping[Shape, list[dict[str, Any]]], expected: Shape) -> list[dict[str, Any]]:
    return next((found[shape] for shape in (expected, *SHAPES) if found[shape]), [])


def _songs(items: object) -> list[dict[str, Any]]:
    """The songs of a list and of the lists inside it, in their order; a song listed twice stays twice."""
    songs: list[dict[str, Any]] = []
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict):
            nested = item.get("songs", [item])
            songs += [song for song in nested if isinstance(song, dict)] if isinstance(nested, list) else []
    return songs
