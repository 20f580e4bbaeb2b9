"""Suno as relays sell it: two clips from one task, fetched by the task's id.

Sources: CometAPI's pages "Generate music clip", "Suno API Scenario Application Guide" and "Single task query";
OpenAI-HK's page "Suno Newapi Format"; the source of the open relay behind both. The submit answers `{"code":
"success", "data": "<task id>"}`, the fetch `{"code", "message", "data": {"task_id", "status", .., "data": [clip,
..]}}`. Another relay writes the code as the number 1, statuses in lower case, and a clip's `duration` beside its
`metadata`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from songflow.gateways.envelope import Envelope, read_envelope
from songflow.gateways.lyrics import LYRICS, SUNO_LYRICS, prompt_body, read_text
from songflow.gateways.relay import Ids, id_or_none, relay_ids
from songflow.gateways.report import (
    MAX_ERROR,
    ReportContent,
    ReportStatus,
    TakeReport,
    address_or_none,
    length_or_none,
    progress_or_none,
    read_word,
    seconds_or_none,
    separate_tags,
    text_or_none,
)
from songflow.gateways.service import Batch, Question, Service

__all__ = ["SUNO", "relay_suno"]

SUNO, SUNO_JOIN = "suno", "suno-join"
SUBMIT_PATH, FETCH_PATH, BATCH_PATH = "/suno/submit/music", "/suno/fetch/{id}", "/suno/fetch"
# No document names a limit.
_MOST_AT_ONCE = 100
_STREAMING = {"STREAMING": ReportStatus.RUNNING}


def relay_suno(models: Sequence[str]) -> dict[str, Service]:
    """The Suno services of a relay that sells these models, by their families."""
    service = Service(
        submit_path=SUBMIT_PATH,
        fetch_path=FETCH_PATH,
        read_report=_read_report,
        wire_body=_wire_body,
        read_ids=_read_ids,
        read_envelope=_read_envelope,
        batch=Batch(
            path=BATCH_PATH, most=_MOST_AT_ONCE, elements=_tasks, single=_as_one_task, body=_batch_body
        ),
        models=frozenset(models),
    )
    # CometAPI's page "Submit concatenation". The open relay knows no such action, and refuses it.
    # Both are asked for one by one: a batch is of one action, and no page says which these have there.
    alone = replace(service, batch=None)
    joining = replace(alone, submit_path="/suno/submit/concat", wire_body=_concat_body, models=None)
    writing = replace(
        alone,
        submit_path="/suno/submit/lyrics",
        wire_body=prompt_body,
        read_report=_read_lyrics,
        models=frozenset({SUNO_LYRICS}),
    )
    return {SUNO: service, SUNO_JOIN: joining, LYRICS: writing}


# --- the request ----------------------------------------------------------------------------------------------------


def _wire_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The documented body: an idea, words of one's own in a style, or the continuation of a clip.

    `prompt` holds the lyrics wherever there is a style (`tags`); a continuation has both.

    Raises:
        ValueError: the task of the clip to continue is not named.
    """
    fields = body[SUNO]
    extends = "source_song_id" in fields
    if fields["lyrics_type"] != "user" and not extends:
        idea = {"mv": fields["model_type"], "gpt_description_prompt": fields["prompt"]}
        return idea | ({"prompt": "", "make_instrumental": True} if _is_instrumental(fields) else {})
    wire = {
        "prompt": fields.get("lyrics", ""),
        "tags": fields["prompt"],
        "mv": fields["model_type"],
        "title": fields.get("title", ""),
    }
    if "negative_prompt" in fields:
        wire["negative_tags"] = fields["negative_prompt"]
    if _is_instrumental(fields):
        wire["make_instrumental"] = True
    if extends:
        if "source_generation_id" not in fields:  # the open relay refuses a clip without its task
            raise ValueError(
                "source_generation_id is required to extend a song (the id of the generation that made it; on the "
                "command line --generation)"
            )
        wire["task_id"] = fields["source_generation_id"]
        wire["continue_clip_id"] = fields["source_song_id"]
        wire["continue_at"] = fields["continue_at"]
    return wire


def _concat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The documented body of a concatenation: the clip of an extension, not of a section that was replaced."""
    return {"clip_id": body["suno_join"]["source_song_id"], "is_infill": False}


def _is_instrumental(fields: Mapping[str, Any]) -> bool:
    return bool(fields["lyrics_type"] == "instrumental")


# --- the answers ----------------------------------------------------------------------------------------------------


def _read_envelope(value: object) -> Envelope:
    """The relay's envelope; another relay's code 1 means success, too."""
    envelope = read_envelope(value)
    return (
        replace(envelope, code="success") if envelope.style == "relay" and envelope.code == "1" else envelope
    )


def _read_ids(value: object) -> Ids:
    found = relay_ids(value)
    if found or not isinstance(value, dict) or not _read_envelope(value).says_success:
        return found
    return Ids(id_or_none(value.get("data")))


def _read_report(value: object, question: Question) -> ReportContent:
    task = _task(value)
    word = text_or_none(task.get("status"))
    stated = read_word(word)
    failure = task.get("fail_reason")
    return ReportContent(
        word=word,
        stated=stated,
        takes=tuple(_read_clip(clip, question.base_url, stated) for clip in _clips(task.get("data"))),
        failure=text_or_none(failure if isinstance(failure, str) or not failure else str(failure)),
        progress=progress_or_none(task.get("progress")),
        submit_time=seconds_or_none(task.get("submit_time")),
        start_time=seconds_or_none(task.get("start_time")),
        finish_time=seconds_or_none(task.get("finish_time")),
    )


def _read_lyrics(value: object, question: Question) -> ReportContent:
    """The task with one text, which is `{"id", "status", "title", "text"}` in its `data`."""
    report = _read_report(value, question)
    data = _task(value).get("data")
    texts = [data] if isinstance(data, dict) else _clips(data)
    return replace(report, takes=tuple(read_text(one, report.stated) for one in texts))


def _task(value: object) -> Mapping[str, Any]:
    """The task of a fetch: the envelope's `data`."""
    data = value.get("data") if isinstance(value, dict) else None
    return data if isinstance(data, dict) else {}


def _batch_body(ids: Sequence[str]) -> dict[str, Any]:
    return {"ids": list(ids), "action": "MUSIC"}


def _tasks(value: object) -> Iterator[tuple[str, object]]:
    """The tasks of a batch, `{"code", "message", "data": [task, ..]}`; those that it does not know are left out.

    Source: CometAPI's page "Batch query", whose answers are text/plain. `data` may be null.
    """
    listed = value.get("data", "none") if isinstance(value, dict) else value
    if listed is not None and not isinstance(listed, list):
        raise ValueError("no list of tasks")
    for task in listed or ():
        if isinstance(task, dict) and (task_id := text_or_none(task.get("task_id"))) is not None:
            yield task_id, task


def _as_one_task(tasks: Sequence[object]) -> object | None:
    return {"code": "success", "message": "", "data": tasks[0]} if tasks else None


def _clips(data: object) -> Iterator[dict[str, Any]]:
    return (one for one in data if isinstance(one, dict)) if isinstance(data, list) else iter(())


def _read_clip(clip: Mapping[str, Any], base_url: str, stated: ReportStatus | None) -> TakeReport:
    """One clip as a take. Its address leads to a part of the song while it is `streaming`: only `complete` counts.

    A clip without a status is finished if it has an address and its task has ended; of a task without a status, if its
    length is known.
    """
    given = clip.get("metadata")
    metadata = given if isinstance(given, dict) else {}
    word = text_or_none(clip.get("status"))
    status = _STREAMING.get((word or "").strip().upper()) or read_word(word)
    song_path = address_or_none(clip.get("audio_url"), base_url)
    duration = length_or_none(metadata.get("duration")) or length_or_none(clip.get("duration"))
    error = _error_text(clip, metadata) if status is ReportStatus.FAILED or word is None else None
    if word is None:
        ended = stated in (ReportStatus.SUCCEEDED, ReportStatus.FAILED)
        over = ended or (stated is None and duration is not None)
        finished = song_path is not None and error is None and over
    else:
        finished = status is ReportStatus.SUCCEEDED
    return TakeReport(
        song_id=text_or_none(clip.get("id")),
        title=text_or_none(clip.get("title")),
        duration=duration,
        song_path=song_path if finished else None,
        finished=finished,
        error=error or ("the gateway reports an error" if status is ReportStatus.FAILED else None),
        payload=clip,
        prompt=text_or_none(metadata.get("gpt_description_prompt")) or text_or_none(metadata.get("tags")),
        lyrics=text_or_none(metadata.get("prompt")),
        tags=separate_tags(metadata.get("tags")),
        image_path=address_or_none(clip.get("image_large_url") or clip.get("image_url"), base_url),
        created_at=text_or_none(clip.get("created_at")),
    )


def _error_text(clip: Mapping[str, Any], metadata: Mapping[str, Any]) -> str | None:
    """The clip's error fields in one line; None if all of them are null or empty."""
    found = {name: metadata.get(name) or clip.get(name) for name in ("error_type", "error_message")}
    text = ", ".join(f"{name} {' '.join(str(value).split())}" for name, value in found.items() if value)
    return text[:MAX_ERROR] or None
