"""Classify the outcome of a paid POST: one of four, by one table for all gateways, never guessed.

Outcome
├── Accepted   billed; it has an id to poll
├── NotSent    no byte of the request left: safe to repeat
├── Refused    answered and not billed; repeatable or not
└── Unknown    perhaps billed: never repeated automatically
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import StrEnum

from songflow.gateways.answer import Answer
from songflow.gateways.envelope import Envelope, Style, parse_json
from songflow.gateways.relay import Ids
from songflow.gateways.service import Service

__all__ = [
    "RULES",
    "Accepted",
    "NotSent",
    "Outcome",
    "RefusalKind",
    "Refused",
    "Unknown",
    "classify_submit",
]


class RefusalKind(StrEnum):
    """Why a gateway refused, by what the user can do about it."""

    INVALID_REQUEST = "invalid_request"
    CREDENTIALS = "credentials"
    NO_CREDIT = "no_credit"
    UNAVAILABLE = "unavailable"
    RATE_LIMITED = "rate_limited"
    UPSTREAM = "upstream"
    CONFIGURATION = "configuration"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The gateway accepted the job and bills it; at least one of the ids is known."""

    generation_id: str | None
    track_ids: tuple[str, ...]
    answer: Answer


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte was sent to the gateway: nothing is billed, and sending is safe."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway refused before doing anything; if `repeatable`, the same body may be accepted later."""

    kind: RefusalKind
    message: str
    repeatable: bool
    retry_after: float | None
    answer: Answer


@dataclass(frozen=True, slots=True)
class Unknown:
    """Perhaps billed: only a person or `rescue` decides what happens next."""

    reason: str
    answer: Answer | None


Outcome = Accepted | NotSent | Refused | Unknown

# A gateway without a channel for the model will not have one within seconds.
CHANNEL_WAIT = 120.0


@dataclass(frozen=True, slots=True)
class _Reading:
    """The facts of an answer that the table decides by."""

    status: int
    envelope: Envelope
    ids: Ids
    data_is_empty: bool

    @property
    def has_no_channel(self) -> bool:
        if {self.envelope.code, self.envelope.type} & _NO_CHANNEL_CODES:
            return True
        text = self.envelope.message
        return bool(_CHANNEL.search(text) and _NONE.search(text) and not _MAYBE_SENT.search(text))


# "No available channel" in the languages of such relays. The word channel alone is not enough to repeat a paid
# request: a 503 about a channel's timeout comes after something was sent.
_CHANNEL = re.compile(
    r"channel|渠道|通道|频道|頻道|管道|チャ[ンネ]+ル|채널|\bcana(?:l|is|ux|les|li|le)\b|\bkan[aä]+l|канал|\bkênh\b|kanał"
    r"|\bsaluran\b|قنا|قنوات|चैनल|ช่องทาง",
    re.IGNORECASE,
)
_NONE = re.compile(
    r"\bno\b|\bnot\b|\bnone\b|unavailable|without|exhausted|disabled|无|無|沒|没|不|未|ません|なし|ない|없|불가|않"
    r"|aucun|indisponible|\bpas\b|\bsans\b|\bsin\b|ning[uú]n|indispon[ií]ve|não|\bnao\b|nenhum|\bsem\b|\bkein|nicht"
    # These Cyrillic letters look like Latin ones on purpose.
    r"|\bнет\b|недоступ|отсутств|\bне\b"  # noqa: RUF001
    r"|không|chưa|nessun|\bnon\b|\bbrak\b|\bnie\b|\byok\b|\btidak\b|\bgeen\b"
    r"|لا|غير|नहीं|ไม่",
    re.IGNORECASE,
)
_MAYBE_SENT = re.compile(
    r"time[- ]?out|timed out|response|\breset\b|\beof\b|upstream|interrupted|超时|超時|逾時|响应|響應|回應"
    r"|上游|中断|中斷|タイムアウト|応答|시간 ?초과|응답",
    re.IGNORECASE,
)
_NO_CHANNEL_CODES = frozenset(
    {
        "no_available_channel",
        "no_available_channels",
        "no_channel",
        "no_channel_available",
        "channel_not_available",
        "channel_not_found",
        "channel_unavailable",
        "get_channel_failed",
        "model_not_found",
    }
)

Verdict = RefusalKind | type[Accepted] | type[Unknown]


@dataclass(frozen=True, slots=True)
class _Rule:
    """One row of the table: every column that is set must match. `why` is the message if the answer has none."""

    verdict: Verdict
    why: str
    status: Container[int] | None = None
    styles: tuple[Style | None, ...] | None = None
    codes: frozenset[str] | None = None
    when: Callable[[_Reading], bool] | None = None
    repeatable: bool = False
    default_wait: float | None = None

    def matches(self, reading: _Reading) -> bool:
        return (
            (self.status is None or reading.status in self.status)
            and (self.styles is None or reading.envelope.style in self.styles)
            and (self.codes is None or reading.envelope.code in self.codes)
            and (self.when is None or self.when(reading))
        )


_2XX, _3XX, _4XX, _5XX = range(200, 300), range(300, 400), range(400, 500), range(500, 600)
_TIMEOUT = 408
_RELAY: tuple[Style, ...] = ("relay",)
_OPENAI: tuple[Style, ...] = ("openai",)
_EITHER: tuple[Style, ...] = ("relay", "openai")
_INVALID = frozenset({"invalid_request"})
_NO_QUOTA = frozenset({"quota_not_enough", "insufficient_user_quota", "insufficient_quota"})
_UPSTREAM = frozenset({"fail_to_fetch_task"})
_CHANNEL_OFF = frozenset({"task_channel_disable"})
# The relay uses these codes after it has forwarded the request, so they are no refusal with any status.
_AFTER_SENDING = frozenset(
    {"do_request_failed", "read_response_body_failed", "unmarshal_response_body_failed"}
)


def _no_data(reading: _Reading) -> bool:
    return reading.data_is_empty


def _has_id(reading: _Reading) -> bool:
    return bool(reading.ids)


def _no_channel(reading: _Reading) -> bool:
    return reading.has_no_channel


# The first matching row decides. Sources: the two gateways' documents and the source of the relay behind them.
_K = RefusalKind
RULES: tuple[_Rule, ...] = (
    _Rule(Accepted, "accepted", _2XX, when=_has_id),
    _Rule(_K.INVALID_REQUEST, "invalid request", _2XX, _RELAY, _INVALID, _no_data),
    _Rule(_K.NO_CREDIT, "the balance is too low", _2XX, _RELAY, _NO_QUOTA, _no_data),
    _Rule(Unknown, "a success without an id that could be read", _2XX),
    _Rule(Unknown, "the gateway timed out on the request", (_TIMEOUT,)),
    _Rule(Unknown, "a failure after the gateway had sent the request on", _4XX, _RELAY, _AFTER_SENDING),
    _Rule(_K.UPSTREAM, "the gateway's own upstream is busy", (429,), _RELAY, _UPSTREAM, repeatable=True),
    _Rule(_K.UPSTREAM, "the gateway's own upstream refused", _4XX, _RELAY, _UPSTREAM),
    _Rule(_K.CONFIGURATION, "redirected: the base URL or the path is wrong", _3XX),
    _Rule(_K.CONFIGURATION, "no such path or method: the base URL or the path is wrong", (404, 405)),
    _Rule(Unknown, "an error that carries an id", _4XX, when=_has_id),
    _Rule(_K.RATE_LIMITED, "too many requests", (429,), repeatable=True),
    _Rule(_K.CREDENTIALS, "the key is not accepted", (401,), _EITHER),
    _Rule(_K.NO_CREDIT, "the balance is too low", _4XX, _RELAY, _NO_QUOTA),
    _Rule(_K.CREDENTIALS, "the key is not allowed to do this", (403,), _EITHER),
    _Rule(_K.NO_CREDIT, "payment required", (402,), _EITHER),
    _Rule(
        _K.UNAVAILABLE,
        "the channel is switched off",
        _4XX,
        _RELAY,
        _CHANNEL_OFF,
        repeatable=True,
        default_wait=CHANNEL_WAIT,
    ),
    _Rule(_K.INVALID_REQUEST, "invalid request", _4XX, _EITHER, _INVALID),
    _Rule(_K.INVALID_REQUEST, "invalid request", (400, 413, 422), _EITHER),
    _Rule(_K.OTHER, "refused", _4XX, _EITHER),
    _Rule(Unknown, "an error that is not the gateway's own", _4XX),
    _Rule(_K.INVALID_REQUEST, "invalid request", (500,), _OPENAI, _INVALID),
    _Rule(
        _K.UNAVAILABLE,
        "no channel for this model",
        (503,),
        _OPENAI,
        when=_no_channel,
        repeatable=True,
        default_wait=CHANNEL_WAIT,
    ),
    _Rule(Unknown, "a failure at or behind the gateway", _5XX),
    _Rule(Unknown, "an answer that no rule knows"),
)


def classify_submit(answer: Answer, service: Service) -> Outcome:
    """The outcome of a POST by its answer alone. Nothing else decides it."""
    try:
        reading = _read(answer, service)
    except Exception as error:
        # Answers may hold anything. An id may be in one that a reader fails on, so it is no refusal.
        return Unknown(f"HTTP {answer.status}: the answer cannot be read ({type(error).__name__})", answer)
    rule = next(rule for rule in RULES if rule.matches(reading))
    message = reading.envelope.message or reading.envelope.code
    if isinstance(rule.verdict, RefusalKind):
        wait = rule.default_wait if answer.retry_after is None else answer.retry_after
        return Refused(rule.verdict, message or rule.why, rule.repeatable, wait, answer)
    if rule.verdict is Accepted:
        return Accepted(reading.ids.generation_id, reading.ids.track_ids, answer)
    detail = f" ({message})" if message else ""
    return Unknown(f"HTTP {answer.status}: {rule.why}{detail}", answer)


def _read(answer: Answer, service: Service) -> _Reading:
    try:
        value = parse_json(answer.body)
    except ValueError:
        return _Reading(answer.status, Envelope(), Ids(), False)
    envelope, ids = service.read_envelope(value), service.read_ids(value)
    is_empty = _is_empty(value.get("data") if isinstance(value, dict) else None)
    status = answer.status
    # A status in the body says more than the answer's own: which of the two is sent is often not documented. It never
    # makes a success of anything, and no refusal of a timeout or of a failure at the gateway, which may be billed.
    replaceable = status in _2XX or (status in _4XX and status != _TIMEOUT)
    if envelope.status is not None and replaceable and not ids and is_empty:
        status = envelope.status
    return _Reading(status, envelope, ids, is_empty)


def _is_empty(data: object) -> bool:
    """True for null and what stands for it: "", [], {}, or fields that are all empty, such as `{"taskId": null}`."""
    return not any(data.values()) if isinstance(data, dict) else data in (None, "", [])
