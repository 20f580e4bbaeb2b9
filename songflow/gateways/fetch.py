"""Classify the answer to a fetch: a report, or a problem that never loses the generation."""

from __future__ import annotations

import logging
import re
from collections.abc import Container
from dataclasses import dataclass
from enum import StrEnum

from songflow.gateways.answer import Answer
from songflow.gateways.envelope import Envelope, Style, parse_json
from songflow.gateways.report import Report
from songflow.gateways.service import Question, Service

__all__ = ["FetchProblem", "FetchProblemKind", "classify_fetch", "classify_value", "problem_of"]

log = logging.getLogger("songflow.gateways")


class FetchProblemKind(StrEnum):
    """Why a fetch has no report; none of these says anything about the generation itself."""

    NOT_FOUND = "not_found"
    CREDENTIALS = "credentials"
    TRANSIENT = "transient"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True)
class FetchProblem:
    """A fetch without a report: the generation may still run, so the caller polls until its deadline."""

    kind: FetchProblemKind
    message: str
    retry_after: float | None
    answer: Answer | None


@dataclass(frozen=True, slots=True)
class _Rule:
    """One row of the table: every column that is set must match."""

    kind: FetchProblemKind
    why: str
    status: Container[int] | None = None
    styles: tuple[Style | None, ...] | None = None
    codes: frozenset[str] | None = None
    words: re.Pattern[str] | None = None

    def matches(self, status: int, envelope: Envelope) -> bool:
        return (
            (self.status is None or status in self.status)
            and (self.styles is None or envelope.style in self.styles)
            and (self.codes is None or envelope.code in self.codes)
            and (self.words is None or self.words.search(f"{envelope.code} {envelope.message}") is not None)
        )


_K = FetchProblemKind
_RELAY: tuple[Style | None, ...] = ("relay",)
_NOT_RELAY: tuple[Style | None, ...] = ("openai", None)
_EITHER: tuple[Style | None, ...] = ("relay", "openai")
# A relay whose database fails cannot find the key and says 401; so it does when its own gateway times out.
_OWN_TROUBLE = re.compile(
    r"database|\bsql|redis|connection (?:refused|reset)|(?:many|bad|invalid) connection|time[- ]?d?[- ]?out"
    r"|deadline exceeded|try again|temporar|数据库|连接|超时|稍后|重试",
    re.IGNORECASE,
)
_UPSTREAM, _NO_TASK = frozenset({"fail_to_fetch_task"}), frozenset({"task_not_exist"})

# The first matching row decides. The envelope outweighs the status: relays forward an upstream's 401, and a page with
# 403 comes from what protects the gateway.
RULES: tuple[_Rule, ...] = (
    _Rule(_K.TRANSIENT, "the gateway could not reach its upstream", None, _RELAY, _UPSTREAM),
    _Rule(_K.NOT_FOUND, "the gateway does not know the id", range(200, 500), _RELAY, _NO_TASK),
    _Rule(_K.TRANSIENT, "the gateway could not look the key up", (401, 403), _EITHER, words=_OWN_TROUBLE),
    _Rule(_K.CREDENTIALS, "the key is not accepted", (401, 403), _EITHER),
    _Rule(_K.TRANSIENT, "refused, but not by the gateway's own words", (401, 403)),
    _Rule(_K.CONFIGURATION, "redirected: the base URL or the path is wrong", range(300, 400), _NOT_RELAY),
    _Rule(_K.CONFIGURATION, "no such path: the base URL or the path is wrong", (404, 405), _NOT_RELAY),
    _Rule(_K.TRANSIENT, "too many requests", (429,)),
    _Rule(_K.TRANSIENT, "an answer that is not a report"),
)


def classify_fetch(answer: Answer, service: Service, question: Question) -> Report | FetchProblem:
    """The report in an answer, found by the service's reader, or the problem that it describes."""
    try:
        value = parse_json(answer.body)
    except ValueError:
        return problem_of(answer, Envelope())
    return classify_value(value, answer, service, question)


def classify_value(
    value: object, answer: Answer, service: Service, question: Question
) -> Report | FetchProblem:
    """The report in the parsed body of an answer, or the problem that it describes."""
    try:
        envelope = service.read_envelope(value)
        if not 200 <= answer.status < 300:
            return problem_of(answer, envelope)
        content = service.read_report(value, question)
    except Exception:
        # Answers may hold anything, and a reader that fails on one of them must not end the wait.
        log.exception("The answer to %s could not be read.", question.target)
        return problem_of(answer, Envelope())
    refused = envelope.style is not None and not envelope.says_success
    if content is None or (refused and not content.takes and content.word is None):
        return problem_of(answer, envelope)
    return content.report(answer.body, answer.retry_after)


def problem_of(answer: Answer, envelope: Envelope) -> FetchProblem:
    """The problem that an answer without a report describes, by the table."""
    status = envelope.status if envelope.status and 200 <= answer.status < 300 else answer.status
    rule = next(rule for rule in RULES if rule.matches(status, envelope))
    message = envelope.message or envelope.code or rule.why
    return FetchProblem(rule.kind, f"HTTP {answer.status}: {message}", answer.retry_after, answer)
