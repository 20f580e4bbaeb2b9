"""Suno at Kie.ai and sunoapi.org, which share one API: two songs from one task, fetched by the task's id.

Sources: the Suno pages "Generate Music", "Extend Music" and "Get Music Task Details" of both. Every answer is `{"code",
"msg", "data"}`, and the code is an HTTP status, which may come with the HTTP status 200: both are read. The gateways
differ in what some codes mean. The submit answers `{"taskId"}`, the fetch `{"taskId", "status", "response":
{"sunoData": [song, ..]}, "errorCode", "errorMessage", ..}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from songflow.gateways.callback import Called, NotGenuine, holder, is_recent, mark_of, same_text, signature_of
from songflow.gateways.envelope import Envelope, message_line, parse_json, read_envelope, status_envelope
from songflow.gateways.lyrics import LYRICS, SUNO_LYRICS, prompt_body, read_text
from songflow.gateways.relay import Ids, id_or_none
from songflow.gateways.relay_suno import SUNO
from songflow.gateways.report import (
    MAX_ERROR,
    ReportContent,
    ReportStatus,
    TakeReport,
    address_or_none,
    length_or_none,
    read_word,
    separate_tags,
    text_or_none,
)
from songflow.gateways.service import Act, Question, Service

__all__ = ["kie_suno", "read_callback"]

# The pages' names of the models; they list the same limits as the relays' names.
_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "chirp-v3-5": "V3_5",
        "chirp-v4": "V4",
        "chirp-auk": "V4_5",
        "chirp-bluejay": "V4_5PLUS",
        "chirp-crow": "V5",
    }
)
_LONGEST_IDEA, _LONGEST_TITLE = 500, 80
_CANNOT: Mapping[Act, str] = MappingProxyType(
    {Act.INSTRUMENTAL_EXTENSION: "lyrics_type is instrumental: this gateway cannot extend without words"}
)
# The pages require an address to report to. Nothing listens at this one, and no name of it can exist (RFC 2606).
_NO_CALLBACK = "https://callback.invalid/"

# FIRST_SUCCESS: one of two songs is ready. CALLBACK_EXCEPTION is left out, and so unclear: their report to us failed,
# which says nothing of the songs.
_WORDS: Mapping[str, ReportStatus] = MappingProxyType(
    {
        "PENDING": ReportStatus.QUEUED,
        "TEXT_SUCCESS": ReportStatus.RUNNING,
        "FIRST_SUCCESS": ReportStatus.RUNNING,
        "SUCCESS": ReportStatus.SUCCEEDED,
        "CREATE_TASK_FAILED": ReportStatus.FAILED,
        "GENERATE_AUDIO_FAILED": ReportStatus.FAILED,
        "GENERATE_LYRICS_FAILED": ReportStatus.FAILED,
        "SENSITIVE_WORD_ERROR": ReportStatus.FAILED,
    }
)


def kie_suno(codes: Mapping[str, str]) -> dict[str, Service]:
    """The services of a gateway with this API, by their families.

    Args:
        codes: What the gateway's codes mean as HTTP statuses, where they are not the same.
    """
    service = Service(
        submit_path="/api/v1/generate",
        route=_route,
        fetch_path="/api/v1/generate/record-info?taskId={id}",
        read_report=_read_report,
        wire_body=_wire_body,
        read_ids=_read_ids,
        read_envelope=partial(_read_envelope, codes),
        with_callback=_with_callback,
        models=frozenset(_MODELS),
        cannot=_CANNOT,
    )
    # The pages "Generate Lyrics" and "Get Lyrics Details".
    writing = replace(
        service,
        submit_path="/api/v1/lyrics",
        route=None,
        fetch_path="/api/v1/lyrics/record-info?taskId={id}",
        wire_body=_lyrics_body,
        read_report=_read_lyrics,
        models=frozenset({SUNO_LYRICS}),
    )
    return {SUNO: service, LYRICS: writing}


# --- the request ----------------------------------------------------------------------------------------------------


def _wire_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The documented body: an idea, words of one's own in a style ("custom mode"), or the extension of a song.

    Raises:
        ValueError: an idea or a title is longer than this API takes, or the extension is instrumental.
    """
    fields = body[SUNO]
    extends, own_words = "source_song_id" in fields, fields["lyrics_type"] == "user"
    if extends and fields["lyrics_type"] == "instrumental":
        raise ValueError(_CANNOT[Act.INSTRUMENTAL_EXTENSION])
    title = fields.get("title") or " ".join(fields["prompt"].split())[:_LONGEST_TITLE]
    if len(title) > _LONGEST_TITLE:
        raise ValueError(f"title has {len(title)} characters: this gateway takes {_LONGEST_TITLE}")
    wire: dict[str, Any] = {"model": _MODELS[fields["model_type"]], "callBackUrl": _NO_CALLBACK}
    if extends:
        # Its prompt is what is sung from there on; without words it is the description.
        wire |= {
            "defaultParamFlag": True,
            "audioId": fields["source_song_id"],
            "prompt": fields.get("lyrics") or fields["prompt"],
            "style": fields["prompt"],
            "title": title,
            "continueAt": fields["continue_at"],
        }
    elif own_words:
        wire |= {
            "customMode": True,
            "instrumental": False,
            "prompt": fields["lyrics"],
            "style": fields["prompt"],
            "title": title,
        }
    else:
        if len(fields["prompt"]) > _LONGEST_IDEA:
            length = len(fields["prompt"])
            raise ValueError(f"prompt has {length} characters: this gateway takes {_LONGEST_IDEA} of an idea")
        wire |= {
            "customMode": False,
            "instrumental": fields["lyrics_type"] == "instrumental",
            "prompt": fields["prompt"],
        }
    if "negative_prompt" in fields:
        wire["negativeTags"] = fields["negative_prompt"]
    return wire


def _with_callback(wire: Mapping[str, Any], address: str, _: str) -> dict[str, Any]:
    return {**wire, "callBackUrl": address}


def read_callback(headers: Mapping[str, str], value: object, secret: str) -> Called | None:
    """The task of a genuine callback that tells of its end.

    The page "Webhook Verification": the signature is made with the key of the account's settings, of the task's id and
    the time, and so not of what the callback says. `callbackType` is text, first, complete or error.

    Raises:
        NotGenuine: the signature is another, or old.
    """
    data = holder(value, "data")
    task_id = id_or_none(data.get("task_id")) or id_or_none(data.get("taskId")) or ""
    timestamp = headers.get("x-webhook-timestamp", "")
    signature = headers.get("x-webhook-signature", "")
    if not same_text(signature, signature_of(secret, task_id, timestamp)) or not is_recent(timestamp):
        raise NotGenuine
    if not task_id or data.get("callbackType") not in ("complete", "error"):
        return None
    return Called(task_id, mark_of(task_id, timestamp, signature))


def _route(body: Mapping[str, Any]) -> str:
    return "/api/v1/generate/extend" if "source_song_id" in body[SUNO] else "/api/v1/generate"


def _lyrics_body(body: Mapping[str, Any]) -> dict[str, Any]:
    return {**prompt_body(body), "callBackUrl": _NO_CALLBACK}


# --- the answers ----------------------------------------------------------------------------------------------------


def _read_envelope(codes: Mapping[str, str], value: object) -> Envelope:
    """`{"code", "msg", "data"}` as the relay's envelope; its code counts as an HTTP status."""
    if not isinstance(value, dict) or "msg" not in value:
        return read_envelope(value)
    stated = text_or_none(value.get("code")) or ""
    return status_envelope(codes.get(stated, stated), message_line(value.get("msg")))


def _read_ids(value: object) -> Ids:
    """The task's id, whatever the code says: what has an id may be billed."""
    data = value.get("data") if isinstance(value, dict) else None
    return Ids(id_or_none(data.get("taskId"))) if isinstance(data, dict) else Ids()


def _read_report(value: object, question: Question) -> ReportContent | None:
    data = value.get("data") if isinstance(value, dict) else None
    if not isinstance(data, dict):
        return None
    response = data.get("response")
    listed = response.get("sunoData") if isinstance(response, dict) else None
    songs = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    word = text_or_none(data.get("status"))
    stated = read_word(word, _WORDS)
    # An error beside any other status may concern their report to us: the songs can still come.
    failed = stated is ReportStatus.FAILED
    failure = text_or_none(data.get("errorMessage")) if failed else None
    error = (failure or f"the gateway reports {word}")[:MAX_ERROR] if failed else None
    asked = _prompt_of(data.get("param"))
    return ReportContent(
        word=word,
        stated=stated,
        takes=tuple(_read_song(one, question.base_url, stated, asked, error) for one in songs),
        failure=failure,
    )


def _read_lyrics(value: object, question: Question) -> ReportContent | None:
    """The task with its texts, which are in `response.data`, and in `lyricsData` of one page."""
    report = _read_report(value, question)
    data = value.get("data") if isinstance(value, dict) else None
    response = data.get("response") if isinstance(data, dict) else None
    given = response if isinstance(response, dict) else {}
    listed = given.get("data") or given.get("lyricsData")
    texts = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return (
        None
        if report is None
        else replace(report, takes=tuple(read_text(one, report.stated) for one in texts))
    )


def _prompt_of(param: object) -> str | None:
    """The prompt of the request, which a report repeats as JSON in a text: a style, else an idea."""
    try:
        asked = parse_json(param) if isinstance(param, str) else None
    except ValueError:
        return None
    return text_or_none(asked.get("style") or asked.get("prompt")) if isinstance(asked, dict) else None


def _read_song(
    song: Mapping[str, Any], base_url: str, stated: ReportStatus | None, asked: str | None, error: str | None
) -> TakeReport:
    """One song. Until its own address is there, only that of its stream is.

    Args:
        error: Why a song without an address will not be made any more; None while it may.
    """
    song_path = address_or_none(song.get("audioUrl"), base_url)
    finished = song_path is not None and stated is not ReportStatus.QUEUED
    return TakeReport(
        song_id=text_or_none(song.get("id")),
        title=text_or_none(song.get("title")),
        duration=length_or_none(song.get("duration")),
        song_path=song_path if finished else None,
        finished=finished,
        error=error if song_path is None else None,
        payload=song,
        prompt=asked,
        lyrics=text_or_none(song.get("prompt")),
        tags=separate_tags(song.get("tags")),
        image_path=address_or_none(song.get("imageUrl"), base_url),
        created_at=text_or_none(song.get("createTime")),
    )
