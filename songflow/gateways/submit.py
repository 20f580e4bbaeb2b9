"""What became of a paid POST: one of four outcomes, by ONE table, never guessed.

Outcome
├── Accepted   billed; an id to wait for
├── NotSent    no byte of the request left: safe to repeat
├── Refused    answered and not billed; repeatable or not
└── Unknown    perhaps billed: never sent again by itself
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from enum import StrEnum

from songflow.gateways.answer import Answer
from songflow.gateways.envelope import Envelope, Style, parse_json, read_envelope


class RefusalKind(StrEnum):
    """Why a gateway refused, in terms of what a person can do about it."""

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
    """The gateway took the job and will bill it; at least one of the ids is there."""

    generation_id: str | None
    track_ids: tuple[str, ...]
    answer: Answer


@dataclass(frozen=True, slots=True)
class NotSent:
    """Nothing left this machine for the gateway, so nothing is billed and sending is safe."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The gateway said no before doing anything; `repeatable` says that the same body may do later."""

    kind: RefusalKind
    message: str
    repeatable: bool
    retry_after: float | None
    answer: Answer


@dataclass(frozen=True, slots=True)
class Unknown:
    """Perhaps billed, perhaps not: only a person or `rescue` decides what comes next."""

    reason: str
    answer: Answer | None


Outcome = Accepted | NotSent | Refused | Unknown

# A gateway without a channel for the model has none in the next seconds either.
CHANNEL_WAIT = 120.0


@dataclass(frozen=True, slots=True)
class _Reading:
    """An answer as the table sees it."""

    status: int
    envelope: Envelope
    generation_id: str | None
    track_ids: tuple[str, ...]
    data_is_null: bool

    @property
    def has_id(self) -> bool:
        return bool(self.generation_id or self.track_ids)

    @property
    def says_no_channel(self) -> bool:
        if {self.envelope.code, self.envelope.type} & _NO_CHANNEL_CODES:
            return True
        said = self.envelope.message
        return bool(_CHANNEL.search(said) and _NONE.search(said) and not _MAYBE_SENT.search(said))


# "No available channel" in the languages of gateways of this family. The word channel alone is not enough to
# repeat a paid request: a 503 that speaks of a channel's timeout came after something was sent.
_CHANNEL = re.compile(
    r"channel|渠道|通道|频道|頻道|管道|チャ[ンネ]+ル|채널|\bcana(?:l|is|ux|les|li|le)\b|\bkan[aä]+l|канал|\bkênh\b|kanał"
    r"|\bsaluran\b|قنا|قنوات|चैनल|ช่องทาง",
    re.IGNORECASE,
)
_NONE = re.compile(
    r"\bno\b|\bnot\b|\bnone\b|unavailable|without|exhausted|disabled|无|無|沒|没|不|未|ません|なし|ない|없|불가|않"
    r"|aucun|indisponible|\bpas\b|\bsans\b|\bsin\b|ning[uú]n|indispon[ií]ve|não|\bnao\b|nenhum|\bsem\b|\bkein|nicht"
    # Cyrillic letters that look Latin are meant.
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
    """One row: every column that is given must match; `why` is said when the answer itself says nothing."""

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
_RELAY: tuple[Style, ...] = ("relay",)
_OPENAI: tuple[Style, ...] = ("openai",)
_EITHER: tuple[Style, ...] = ("relay", "openai")
_INVALID = frozenset({"invalid_request"})
_NO_QUOTA = frozenset({"quota_not_enough", "insufficient_user_quota", "insufficient_quota"})
_UPSTREAM = frozenset({"fail_to_fetch_task"})
# The relay uses these after it has sent the request on, so no status makes a refusal of them.
_AFTER_SENDING = frozenset(
    {"do_request_failed", "read_response_body_failed", "unmarshal_response_body_failed"}
)


def _null_data(reading: _Reading) -> bool:
    return reading.data_is_null


def _has_id(reading: _Reading) -> bool:
    return reading.has_id


def _no_channel(reading: _Reading) -> bool:
    return reading.says_no_channel


# The first row that matches decides. Sources: the two gateways' documents and the source of the relay behind them.
_K = RefusalKind
RULES: tuple[_Rule, ...] = (
    _Rule(Accepted, "accepted", _2XX, when=_has_id),
    _Rule(_K.INVALID_REQUEST, "invalid request", _2XX, _RELAY, _INVALID, _null_data),
    _Rule(_K.NO_CREDIT, "the balance is too low", _2XX, _RELAY, _NO_QUOTA, _null_data),
    _Rule(Unknown, "a success without an id that could be read", _2XX),
    _Rule(Unknown, "the gateway timed out on the request", (408,)),
    _Rule(_K.UPSTREAM, "the gateway's own upstream is busy", (429,), _RELAY, _UPSTREAM, repeatable=True),
    _Rule(_K.UPSTREAM, "the gateway's own upstream refused", _4XX, _RELAY, _UPSTREAM),
    _Rule(_K.CONFIGURATION, "redirected: the base URL or the path is wrong", _3XX),
    _Rule(_K.CONFIGURATION, "no such path or method: the base URL or the path is wrong", (404, 405)),
    _Rule(Unknown, "an error that carries an id", _4XX, when=_has_id),
    _Rule(_K.RATE_LIMITED, "too many requests", (429,), repeatable=True),
    _Rule(Unknown, "a failure after the gateway had sent the request on", _4XX, _RELAY, _AFTER_SENDING),
    _Rule(_K.CREDENTIALS, "the key is not accepted", (401,), _EITHER),
    _Rule(_K.NO_CREDIT, "the balance is too low", _4XX, _RELAY, _NO_QUOTA),
    _Rule(_K.CREDENTIALS, "the key is not allowed to do this", (403,), _EITHER),
    _Rule(_K.NO_CREDIT, "payment required", (402,), _EITHER),
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


def classify_submit(answer: Answer) -> Outcome:
    """The outcome of a POST by its answer alone, and the only place that decides it."""
    reading = _read(answer)
    rule = next(rule for rule in RULES if rule.matches(reading))
    said = reading.envelope.message or reading.envelope.code
    if isinstance(rule.verdict, RefusalKind):
        wait = rule.default_wait if answer.retry_after is None else answer.retry_after
        return Refused(rule.verdict, said or rule.why, rule.repeatable, wait, answer)
    if rule.verdict is Accepted:
        return Accepted(reading.generation_id, reading.track_ids, answer)
    return Unknown(f"HTTP {answer.status}: {rule.why}" + (f" ({said})" if said else ""), answer)


def _read(answer: Answer) -> _Reading:
    try:
        value = parse_json(answer.body)
    except ValueError:
        return _Reading(answer.status, Envelope(), None, (), False)
    envelope = read_envelope(value)
    top = value if isinstance(value, dict) else {}
    data = top.get("data")
    inner = data if isinstance(data, dict) else {}
    generation_id = _id(top.get("generation_id")) or _id(inner.get("generation_id"))
    if generation_id is None and envelope.says_success:
        generation_id = _id(data)
    track_ids = _ids(top.get("track_ids")) or _ids(inner.get("track_ids"))
    return _Reading(answer.status, envelope, generation_id, track_ids, data is None)


def _id(value: object) -> str | None:
    """An opaque id exactly as given, or None for anything that cannot be one, such as what decoding has broken."""
    return value if isinstance(value, str) and value.strip() and "\ufffd" not in value else None


def _ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(one for item in value if (one := _id(item)) is not None)
