"""A gateway and a model family of a package outside of Songflow: tests register them, or install them as they are.

The gateway wraps its orders, answers with its own id, status and error fields, is polled by POST for several ids at
once, packs the result as JSON inside a string, names songs by a path of its own, and wants the key in another header.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from songflow.families.family import ExtensionResult, Family, Mode, Model, Request
from songflow.families.field_types import FieldKind
from songflow.gateways import (
    Dialect,
    Ids,
    Question,
    ReportContent,
    ReportStatus,
    Service,
    TakeReport,
    id_or_none,
    read_word,
)
from songflow.gateways.envelope import Envelope, parse_json

# --- the family ---------------------------------------------------------------------------------------------------

HUM_MODELS = {"hum-1": Model(seconds=2.0, price=0.5)}


class HumRequest(Request):
    """A hummed tune."""

    prompt: str
    model_type: str = "hum-1"
    tempo: float = 90.0
    mode: Mode = Mode.REGULAR
    source_song_id: str | None = None

    @classmethod
    def fields_of(cls, body: Mapping[str, Any]) -> dict[str, Any]:
        return dict(body["hum"])

    def body(self) -> dict[str, Any]:
        return {"hum": {"prompt": self.prompt, "model_type": self.model_type, "tempo": self.tempo}}

    @property
    def model(self) -> Model:
        return HUM_MODELS[self.model_type]

    @property
    def start(self) -> float:
        return 0.0

    @property
    def is_random(self) -> bool:
        return True

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.prompt,)


def _no_extensions(*_: object, **__: object) -> Request:
    raise AssertionError("this family is not extended here")


HUM = Family(
    name="hum",
    request=HumRequest,
    envelope="hum",
    field_kinds={
        "prompt": FieldKind.TEXT,
        "model_type": FieldKind.CHOICE,
        "tempo": FieldKind.NUMBER,
        "mode": FieldKind.CHOICE,
        "source_song_id": FieldKind.TEXT,
    },
    compared_fields=("prompt", "tempo"),
    models=HUM_MODELS,
    hashed_fields={1: ("prompt", "model_type", "tempo")},
    places={},
    start_field="tempo",
    extension_result=ExtensionResult.NEW_PART,
    extend=_no_extensions,
)

# --- the gateway's file -------------------------------------------------------------------------------------------

PHASES = {"COOKING": ReportStatus.RUNNING, "DONE": ReportStatus.SUCCEEDED}


def wire_body(body: Mapping[str, Any]) -> dict[str, Any]:
    hum = body["hum"]
    if hum["tempo"] > 200:
        raise ValueError("its tempo is 200 at most")
    return {"order": {"text": hum["prompt"], "bpm": hum["tempo"]}}


def read_ids(value: object) -> Ids:
    return Ids(id_or_none(value["job"]["ref"])) if isinstance(value, dict) and "job" in value else Ids()


def read_envelope(value: object) -> Envelope:
    if isinstance(value, dict) and value.get("ok") is False:
        return Envelope("relay", "hummery_error", value["why"], status=value["status"])
    return Envelope()


def read_report(value: object, question: Question) -> ReportContent | None:
    jobs = value.get("jobs", []) if isinstance(value, dict) else []
    job = next((one for one in jobs if one["ref"] in question.ids), None)
    if job is None:
        return None
    tunes: Any = parse_json(job["out"] or "[]")
    takes = tuple(
        TakeReport(
            song_id=f"{job['ref']}/{number}",
            title=tune["name"],
            duration=tune["seconds"],
            song_path=question.base_url + tune["file"],
            finished=True,
            error=None,
            payload=tune,
        )
        for number, tune in enumerate(tunes)
    )
    return ReportContent(takes=takes, word=job["phase"], stated=read_word(job["phase"], PHASES))


def fetch_body(ids: Sequence[str]) -> dict[str, Any]:
    return {"refs": list(ids)}


HUMMERY = Dialect(
    name="hummery",
    base_url=None,
    key_variable="HUMMERY_KEY",
    services={
        "hum": Service(
            submit_path="/v2/orders",
            fetch_path="/v2/state",
            read_report=read_report,
            wire_body=wire_body,
            read_ids=read_ids,
            read_envelope=read_envelope,
            fetch_body=fetch_body,
            headers={"X-Client": "songflow"},
        )
    },
    authorization=lambda key: {"X-Key": key},
)
