"""PiAPI: https://piapi.ai. Sells Udio as its model `music-u`, which takes a part of what a Udio request can say.

Sources: the pages "Song API Task Creation Examples" (bodies, of May 2025), "[Udio] Song Extend", "Create Task" and "Get
Task" of its documents; its product page "Udio API"; and the one finished task that is published, of April 2025, in
`udio_api.md` of the repository simplysparsh/BabyMusic-AI. Where they disagree, both are read:

* An answer is `{"code", "message", "data"}` ("Get Task"), `{"timestamp", "data"}` (webhooks), or the task itself
  (product page). The code is an HTTP status.
* A status is `Completed` in the list of "Get Task", and `completed` in every example.
* The songs are Udio's own in `output.songs` (the finished task), or one address in `output.audio_url` (product page).

For words of one's own the newer pages have `lyrics`, which is sent; the older ones had `prompt`. There is no choice of
a model: "Udio extend uses udio32 by default. That means you can only extend 32 seconds on every extend call", and the
songs of the finished task, a new one, are 131 s long. All of it is sold as the model that a request has by default.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from songflow.gateways.callback import Called, NotGenuine, holder, mark_of, same_text, secret_for
from songflow.gateways.credit import CreditQuery, data_number
from songflow.gateways.dialect import Dialect
from songflow.gateways.envelope import Envelope, message_line, read_envelope, status_envelope
from songflow.gateways.lyrics import LYRICS, UDIO_LYRICS, prompt_body, read_text
from songflow.gateways.relay import Ids, id_or_none
from songflow.gateways.relay_udio import UDIO, read_song
from songflow.gateways.report import (
    MAX_ERROR,
    STATUS_WORDS,
    ReportContent,
    ReportStatus,
    TakeReport,
    address_or_none,
    length_or_none,
    read_word,
    seconds_or_none,
    text_or_none,
)
from songflow.gateways.service import Question, Service

__all__ = ["PIAPI"]

# "Staged" waits for a place among the account's concurrent jobs: nothing is being made yet.
_WORDS: Mapping[str, ReportStatus] = MappingProxyType({**STATUS_WORDS, "STAGED": ReportStatus.QUEUED})


# --- the request ----------------------------------------------------------------------------------------------------

_ENVELOPE = "gen_params"
_MODEL = "udio32-v1.5"

# Fields that the body has no place for: the values that may be left to the gateway (None: not sent), and what it does.
_NEW_SONG: Mapping[str, tuple[tuple[object, ...], str]] = {
    "prompt_strength": ((0.5,), "has no such setting"),
    "clarity_strength": ((0.25,), "has no such setting"),
    "lyrics_strength": ((0.5,), "has no such setting"),
    "generation_quality": ((0.75,), "has no such setting"),
    "bypass_prompt_optimization": ((False,), "has no such setting"),
    "song_section_start": ((0, None), "makes songs from their beginning"),
    "song_section_end": ((1, None), "makes songs to their end"),
    "lyrics_placement_start": ((None,), "places the words itself"),
    "lyrics_placement_end": ((None,), "places the words itself"),
}
_EXTENSION: Mapping[str, tuple[tuple[object, ...], str]] = {
    **_NEW_SONG,
    "mode": (("continuation",), "adds to the end of a song (the place outro)"),
    "song_section_start": ((0.9, None), "adds to the end of a song (the place outro)"),
    "context_length": ((130,), "has no such setting"),
}


def _wire_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The documented body of a new song or of a continuation.

    Raises:
        ValueError: names each field that it has no place for, unless the field has its default value.
    """
    fields = body[_ENVELOPE]
    config = fields["config"]
    source = config.get("source", {}).get("song_id")
    faults = list(_untold({**fields, **config}, _NEW_SONG if source is None else _EXTENSION))
    if faults:
        raise ValueError("; ".join(faults))
    given = {"gpt_description_prompt": fields["prompt"]}
    if source is not None or fields["lyrics_type"] == "user":
        given["lyrics"] = fields["lyrics"]
    given |= {
        "negative_tags": fields["negative_prompt"],
        "lyrics_type": fields["lyrics_type"],
        "seed": fields["seed"],
    }
    if source is not None:
        # As in the only example. A continuation of Udio's begins at the end of its source, whose length is not told.
        given |= {"continue_song_id": source, "continue_at": 0}
    return {
        "model": "music-u",
        "task_type": "generate_music",
        "input": given,
        "config": {"service_mode": "public", "webhook_config": {"endpoint": "", "secret": ""}},
    }


def _lyrics_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the page "Udio generate lyrics"."""
    return {"model": "music-u", "task_type": "generate_lyrics", "input": prompt_body(body)}


def _untold(fields: Mapping[str, Any], taken: Mapping[str, tuple[tuple[object, ...], str]]) -> Iterator[str]:
    """The faults of fields whose values the gateway would not be told."""
    for name, (values, doing) in taken.items():
        value = fields.get(name)
        if value not in values:
            default = next(iter(values))
            advice = "leave it out" if default is None else f"leave it at {_plain(default)}"
            yield f"{name} is {_plain(value)}, and this gateway {doing}: {advice}"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- the answers ----------------------------------------------------------------------------------------------------


def _read_envelope(value: object) -> Envelope:
    """`{"code", "message", "data"}` with its code as an HTTP status; without a code, the error of the task in it."""
    envelope = read_envelope(value)
    task = _task(value)
    error = _error(task)
    if envelope.style == "relay":
        return status_envelope(envelope.code, envelope.message or _error_text(error) or "")
    if isinstance(value, dict) and "timestamp" in value:
        failed = _error_text(error) is not None
        return Envelope(
            "relay", message_line(error.get("code")) if failed else "200", _error_text(error) or ""
        )
    return envelope


def _read_ids(value: object) -> Ids:
    """The task's id, whatever the code says: what has an id may be billed."""
    return Ids(id_or_none(_task(value).get("task_id")))


def _task(value: object) -> Mapping[str, Any]:
    """The task of an answer: its `data`, else the answer itself."""
    top = value if isinstance(value, dict) else {}
    data = top.get("data", top)
    return data if isinstance(data, dict) else {}


def _error(task: Mapping[str, Any]) -> Mapping[str, Any]:
    error = task.get("error")
    return error if isinstance(error, dict) else {"message": error}


def _error_text(error: Mapping[str, Any]) -> str | None:
    """An error's message and the raw one behind it in one line; None if both are empty."""
    texts = dict.fromkeys(message_line(error.get(name)) for name in ("message", "raw_message"))
    return ": ".join(text for text in texts if text)[:MAX_ERROR] or None


def _read_report(value: object, question: Question) -> ReportContent | None:
    task = _task(value)
    word = text_or_none(task.get("status"))
    if word is None:
        return None
    stated = read_word(word, _WORDS)
    given = task.get("meta")
    times = given if isinstance(given, dict) else {}
    return ReportContent(
        word=word,
        stated=stated,
        takes=tuple(_takes(task, question.base_url, stated)),
        # An error beside another status is none of the songs'.
        failure=_error_text(_error(task)) if stated is ReportStatus.FAILED else None,
        submit_time=_seconds(times.get("created_at")),
        start_time=_seconds(times.get("started_at")),
        finish_time=_seconds(times.get("ended_at")),
    )


def _takes(task: Mapping[str, Any], base_url: str, stated: ReportStatus | None) -> Iterator[TakeReport]:
    """Udio's songs, else the song of the one address."""
    given, asked = task.get("output"), task.get("input")
    output = given if isinstance(given, dict) else {}
    prompt = text_or_none(asked.get("gpt_description_prompt")) if isinstance(asked, dict) else None
    songs = list(_dicts(output.get("songs")))
    for song in songs or ([output] if "audio_url" in output else []):
        take = (
            read_song(song, base_url, stated) if "song_path" in song else _plain_song(song, base_url, stated)
        )
        yield replace(take, prompt=take.prompt or prompt)


def _read_lyrics(value: object, question: Question) -> ReportContent | None:
    """The task with its texts. No result is published: they are looked for in the output itself, and in its lists."""
    report, given = _read_report(value, question), _task(value).get("output")
    if report is None:
        return None
    output = given if isinstance(given, dict) else {"text": given}
    lists = (given, *(output.get(name) for name in ("lyrics", "data", "songs")))
    listed = [one for each in lists if isinstance(each, list) for one in each]
    candidates = (one if isinstance(one, dict) else {"text": one} for one in (*listed, output))
    texts = [{**one, "text": one.get("text") or one.get("lyrics")} for one in candidates]
    found = [one for one in texts if text_or_none(one["text"])] or [output]
    return replace(report, takes=tuple(read_text(one, report.stated) for one in found if given))


def _dicts(listed: object) -> Iterable[dict[str, Any]]:
    """The dicts of a list, or of the values by id that the tasks of other models have."""
    values = listed.values() if isinstance(listed, dict) else listed
    return (one for one in values if isinstance(one, dict)) if isinstance(values, Iterable) else ()


def _plain_song(song: Mapping[str, Any], base_url: str, stated: ReportStatus | None) -> TakeReport:
    """A song of which only an address is documented, which counts when the task has ended."""
    song_path = address_or_none(song.get("audio_url"), base_url)
    finished = song_path is not None and stated in (ReportStatus.SUCCEEDED, ReportStatus.FAILED)
    return TakeReport(
        song_id=text_or_none(song.get("id")),
        title=text_or_none(song.get("title")),
        duration=length_or_none(song.get("duration")),
        song_path=song_path if finished else None,
        finished=finished,
        error=None,
        payload=song,
        lyrics=text_or_none(song.get("lyrics")),
        image_path=address_or_none(song.get("image_path") or song.get("image_url"), base_url),
    )


def _seconds(time: object) -> float | None:
    """A time such as "2025-04-25T17:07:45.765122491Z" in Unix seconds; None for an empty one, and the year 1."""
    if not isinstance(time, str):
        return None
    try:
        moment = datetime.fromisoformat(time.strip())
        return seconds_or_none((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def _in_own_header(key: str) -> dict[str, str]:
    return {"X-API-Key": key}


def _with_callback(wire: Mapping[str, Any], address: str, secret: str) -> dict[str, Any]:
    config = {**wire.get("config", {}), "webhook_config": {"endpoint": address, "secret": secret}}
    return {**wire, "config": config}


def _read_callback(headers: Mapping[str, str], value: object, secret: str) -> Called | None:
    """The task of a callback with our secret in x-webhook-secret that tells of its end (the page "Webhook")."""
    if not same_text(headers.get("x-webhook-secret", ""), secret_for("piapi", secret)):
        raise NotGenuine
    data = holder(value, "data")
    task_id, word = id_or_none(data.get("task_id")), text_or_none(data.get("status"))
    if task_id is None or read_word(word, _WORDS) not in (ReportStatus.SUCCEEDED, ReportStatus.FAILED):
        return None
    return Called(task_id, mark_of(task_id, word or ""))


PIAPI = Dialect(
    name="piapi",
    base_url="https://api.piapi.ai",
    key_variable="PIAPI_KEY",
    services={
        UDIO: Service(
            submit_path="/api/v1/task",
            fetch_path="/api/v1/task/{id}",
            read_report=_read_report,
            wire_body=_wire_body,
            read_ids=_read_ids,
            read_envelope=_read_envelope,
            with_callback=_with_callback,
            models=frozenset({_MODEL}),
        ),
        LYRICS: Service(
            submit_path="/api/v1/task",
            fetch_path="/api/v1/task/{id}",
            read_report=_read_lyrics,
            wire_body=_lyrics_body,
            read_ids=_read_ids,
            read_envelope=_read_envelope,
            models=frozenset({UDIO_LYRICS}),
        ),
    },
    authorization=_in_own_header,
    # "Get Account Info"; the field is as its clients read it.
    credit=CreditQuery(paths=("/account/info",), read=data_number("equivalent_in_usd"), unit="USD"),
    read_callback=_read_callback,
)
