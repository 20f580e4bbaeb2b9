"""The fault script: what goes wrong, where, and how often.

A script is an ordered list of rules. Each rule looks at the requests it matches (`match`: part of the prompt
or of an id). It ignores the first `skip` of them, then fires with `probability`, at most `times` times
(default 1, null: without limit). Faults of scope *request* count requests, and at most one of them fires per
request. Faults of scope *job* apply to a generation as long as the script is loaded: they count generations,
and several may apply to one.

Faults that need their parameters:

    first_only       the answer to several ids knows the first `take` of them only
    encoded          Content-Encoding `encoding` (gzip) over a body in `coding`: plain, gzip, two_members, deflate,
                     raw_deflate
    odd_id           the id of an accepted POST in a `form` that its reader does not know: number, task_id, taskId, id
                     (all three in `data`), code_0
    odd_address      a song's address in a `form` of its own: spaces, newline, bom, no_scheme, path
    fresh_addresses  each list of songs has new addresses, `?given=1` and so on, for `match` of a download's fault
    announced        `duration` is `seconds`, `tags` is `text`, as far as given
    unfinished       SUCCESS with addresses, and `finished` false
    other_form       reports in the other form that a dialect's documents show, if there is one
    odd_file         a song in a `form` of `odd_files.FORMS`: large_tag, leading_nul, no_header, m4a, ...
    page             with `status` (200) a page in place of a song, in a `form`: html, json, xml, empty
    concat_refused   a concatenation only, as by a relay that does not know it; `match` finds one by "(concatenation)"
    whole_as         the whole song with a `status` such as 201, 203 or 206

Faults on *batch* play only for fetches of several generations, which those on *fetch* also concern.

The `seconds` of wire faults (slow answers, drips) are real; those of job faults are simulated, so `speed`
divides them.
"""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from songflow.simulator.odd_files import FORMS

Stage = Literal["submit", "fetch", "batch", "callback", "download"]

_ANSWER = frozenset({"status", "headers", "body", "retry_after", "envelope", "code", "message"})


@dataclass(frozen=True)
class FaultKind:
    """A fault that the simulator can play: its scope and the parameters it reads."""

    scope: Literal["request", "job"]
    parameters: frozenset[str] = frozenset()


def _request(*names: str) -> FaultKind:
    return FaultKind("request", frozenset(names))


def _job(*names: str) -> FaultKind:
    return FaultKind("job", frozenset(names))


FAULTS: dict[Stage, dict[str, FaultKind]] = {
    "submit": {
        "lost_answer": _request(),
        "lost_answer_before": _request(),
        "reset_during_body": _request(),
        "answer_cut": _request(),
        "slow_answer": _request("seconds"),
        "slow_drip": _request("seconds", "bytes"),
        "status": FaultKind("request", _ANSWER | {"billed"}),
        "do_request_failed": _request("billed"),
        "unmarshal_response_body_failed": _request("billed"),
        "fail_to_fetch_task": _request("status", "billed"),
        "quota_not_enough": _request(),
        "no_channel": _request("language"),
        "html": _request("status", "billed"),
        "redirect": _request("location"),
        "non_utf8": _request(),
        "huge": _request("bytes"),
        "no_id": _request(),
        "non_json_2xx": _request("body"),
        "raw_generation_id": _request(),
        "task_id": _request(),
        "moderated": _request("fail_reason"),
        "refusal_in_2xx": _request("code", "message"),
        "encoded": _request("encoding", "coding"),
        "odd_id": _request("form"),
        "concat_refused": _request(),
    },
    "fetch": {
        "status": FaultKind("request", _ANSWER),
        "html": _request("status"),
        "empty": _request("status"),
        "slow": _request("seconds"),
        "reset": _request(),
        "null_data": _request(),
        "fail_to_fetch_task": _request("status"),
        "not_visible_yet": _job("seconds", "fetches"),
        "unknown_for_ever": _job(),
        "status_word": _job("word"),
        "backwards": _job("fetches"),
        "success_no_songs": _job("seconds"),
        "songs_before_success": _job("seconds"),
        "one_take_fails": _job("take", "error_type", "error_detail"),
        "all_takes_fail": _job("error_type", "error_detail", "word"),
        "one_take_only": _job(),
        "late_take": _job("seconds", "listed"),
        "vanishes": _job("seconds", "fetches"),
        "failure": _job("fail_reason"),
        "failure_with_song": _job("fail_reason"),
        "duplicate_song_ids": _job(),
        "hostile_titles": _job("titles"),
        "encoded": _request("encoding", "coding"),
        "odd_address": _job("form"),
        "fresh_addresses": _job(),
        "announced": _job("seconds", "text"),
        "unfinished": _job(),
        "other_form": _job(),
    },
    "batch": {
        "status": FaultKind("request", _ANSWER),
        "html": _request("status"),
        "slow": _request("seconds"),
        "reset": _request(),
        "null_data": _request(),
        "first_only": _request("take"),
    },
    "callback": {"lost": _request(), "forged": _request(), "early": _request(), "replayed": _request()},
    "download": {
        "status": FaultKind("request", _ANSWER),
        "dead": _request("status"),
        "truncated": _request("bytes"),
        "wrong_length": _request("bytes"),
        "slow": _request("seconds"),
        "slow_drip": _request("seconds", "bytes"),
        "reset_before": _request(),
        "reset_during": _request("bytes"),
        "no_range": _request(),
        "html_200": _request(),
        "corrupt": _request(),
        "redirect": _request("location", "status"),
        "encoded": _request("encoding", "coding"),
        "odd_file": _request("form"),
        "page": _request("form", "status"),
        "whole_as": _request("status"),
    },
}
_FORMS: dict[str, frozenset[str]] = {
    "odd_id": frozenset({"number", "task_id", "taskId", "id", "code_0"}),
    "odd_address": frozenset({"spaces", "newline", "bom", "no_scheme", "path"}),
    "odd_file": frozenset(FORMS),
    "page": frozenset({"html", "json", "xml", "empty"}),
}
CONCAT = "(concatenation)"
"""What `match` finds a concatenation by, which has no prompt."""
_COMMON = frozenset({"fault", "on", "times", "skip", "probability", "match"})


class FaultRule(BaseModel):
    """A rule of the script. Parameters that its fault does not read are refused, so that typos do not go unnoticed."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    fault: str
    on: Stage | None = Field(
        default=None, description="May be omitted if only one stage has a fault of this name."
    )
    times: int | None = Field(
        default=1, ge=0, description="Requests (or generations) affected; null: no limit."
    )
    skip: int = Field(default=0, ge=0, description="Leave this many alone first.")
    probability: float = Field(default=1.0, ge=0, le=1)
    match: str | None = Field(default=None, description="Part of the prompt, or of a generation or song id.")

    status: int | None = Field(default=None, ge=100, le=599)
    headers: dict[str, str] | None = None
    body: Any = Field(default=None, description="Text is sent unchanged, anything else as JSON.")
    envelope: Literal["relay", "openai", "empty", "html"] | None = None
    code: str | None = None
    message: str | None = None
    retry_after: float | str | None = None
    billed: bool = False
    seconds: float | None = Field(default=None, ge=0)
    size: int | None = Field(default=None, alias="bytes")
    location: str | None = None
    language: Literal["en", "zh"] = "en"
    fetches: int | None = Field(default=None, ge=0)
    word: str | None = None
    fail_reason: str | None = None
    take: int = Field(default=2, ge=1)
    listed: bool = False
    error_type: str = "GENERATION_ERROR"
    error_detail: str = "The take could not be finished (simulated)."
    titles: tuple[str, ...] | None = None
    encoding: str = "gzip"
    coding: Literal["plain", "gzip", "two_members", "deflate", "raw_deflate"] = "plain"
    form: str | None = None
    text: str | None = None

    @model_validator(mode="after")
    def _known(self) -> Self:
        stages = [stage for stage, kinds in FAULTS.items() if self.fault in kinds]
        if self.on is None:
            # Faults that concern each fetch were written before those that concern only several at once.
            stages = [stage for stage in stages if stage != "batch"] or stages
            if len(stages) != 1:
                raise (
                    ValueError(f"fault {self.fault!r}: `on` must be one of {stages}")
                    if stages
                    else self._unknown()
                )
            object.__setattr__(self, "on", stages[0])  # the model is frozen; this is the only stage
        elif self.on not in stages:
            raise self._unknown()
        if self.fault == "concat_refused" and self.match is None:
            object.__setattr__(self, "match", CONCAT)
        given = {"bytes" if name == "size" else name for name in self.model_fields_set} - _COMMON
        extra = sorted(given - self.kind.parameters)
        if extra:
            raise ValueError(
                f"fault {self.fault!r} does not read {extra}; it reads {sorted(self.kind.parameters)}"
            )
        return self

    @model_validator(mode="after")
    def _known_form(self) -> Self:
        forms = _FORMS.get(self.fault, frozenset())
        if self.form is not None and self.form not in forms:
            raise ValueError(f"fault {self.fault!r} has no form {self.form!r}; it has {sorted(forms)}")
        return self

    def _unknown(self) -> ValueError:
        return ValueError(f"no fault {self.fault!r} on {self.on or 'any stage'}")

    @property
    def stage(self) -> Stage:
        """The stage at which it plays: `on`, or the only stage that has the fault."""
        assert self.on is not None  # the validator has filled it in
        return self.on

    @property
    def kind(self) -> FaultKind:
        return FAULTS[self.stage][self.fault]

    @property
    def per_job(self) -> bool:
        """Whether `times` counts generations. `not_visible_yet` without a window of its own counts requests."""
        if self.fault == "not_visible_yet":
            return self.seconds is not None or self.fetches is not None
        return self.kind.scope == "job"


class FaultScript(BaseModel):
    """An ordered list of rules; in JSON, either the list or `{"rules": [...]}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[FaultRule, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _bare_list(cls, value: Any) -> Any:
        return {"rules": value} if isinstance(value, list | tuple) else value

    @classmethod
    def of(cls, *rules: FaultRule | dict[str, Any]) -> Self:
        """A script of these rules: `FaultScript.of({"fault": "lost_answer"}, ...)`."""
        return cls.model_validate({"rules": rules})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a JSON file. Raises OSError, json.JSONDecodeError or pydantic.ValidationError."""
        return cls.model_validate(json.loads(path.read_text(encoding="utf-8-sig")))


@dataclass
class Hit:
    """A rule applied to a generation, the `ordinal`-th that it applies to (from 0).

    `visit` is 1 on the generation's first fetch under the rule; `memory` is for the fault's own use.
    """

    rule: FaultRule
    visit: int
    ordinal: int
    memory: dict[str, Any] = field(default_factory=dict)


class FaultPlayer:
    """Decides which rules fire, and counts. Thread-safe."""

    def __init__(self, script: FaultScript, seed: float) -> None:
        self.script = script
        self._seed = seed
        self._lock = threading.Lock()
        self._met: Counter[int] = Counter()
        self._fired: Counter[int] = Counter()
        self._jobs: dict[tuple[int, str], Hit | None] = {}
        self._luck = [random.Random(f"{seed}:{index}") for index in range(len(script.rules))]

    def for_request(self, stage: Stage, subject: str) -> FaultRule | None:
        """The first rule of scope request that fires; `subject` is the text that `match` searches."""
        with self._lock:
            for index, rule in self._matching(stage, subject):
                if not rule.per_job and self._fires(index, rule, self._luck[index].random()):
                    return rule
        return None

    def for_job(self, stage: Stage, subject: str, job_id: str) -> list[Hit]:
        """All rules that apply to this generation, in order; a decision about a rule is kept."""
        hits: list[Hit] = []
        with self._lock:
            for index, rule in self._matching(stage, subject):
                if rule.per_job and (hit := self._job_hit(index, rule, job_id)) is not None:
                    hits.append(hit)
        return hits

    def _matching(self, stage: Stage, subject: str) -> list[tuple[int, FaultRule]]:
        return [
            (index, rule)
            for index, rule in enumerate(self.script.rules)
            if rule.stage == stage and (rule.match is None or rule.match in subject)
        ]

    def _fires(self, index: int, rule: FaultRule, luck: float) -> bool:
        self._met[index] += 1
        if self._met[index] <= rule.skip or luck >= rule.probability:
            return False
        if rule.times is not None and self._fired[index] >= rule.times:
            return False
        self._fired[index] += 1
        return True

    def _job_hit(self, index: int, rule: FaultRule, job_id: str) -> Hit | None:
        place = (index, job_id)
        if place not in self._jobs:
            luck = random.Random(hashlib.sha256(f"{self._seed}:{index}:{job_id}".encode()).digest()).random()
            fires = self._fires(index, rule, luck)
            self._jobs[place] = Hit(rule, visit=0, ordinal=self._fired[index] - 1) if fires else None
        hit = self._jobs[place]
        if hit is not None:
            hit.visit += 1
        return hit
