"""Ace Data Cloud: https://acedata.cloud. Sells Suno: two songs from one task, which is asked for by POST.

Sources, of its documents: the guides "Suno Audios" and "Suno Tasks" (September 2026, with earlier copies), "Unified
Response Format", "Async Task Model" and "Billing & Quota"; and its own client, the repository AceDataCloud/SunoMCP.
Where they disagree, both are read:

* A task has `finished_at` when it has ended, and no status; the earlier copies' finished tasks have no times but
  `created_at`, and the client knows a `state`.
* Songs have a `state`, and before the end perhaps the address of a part (the client); those of the tasks guide have
  no state.
* An extension holds its source up to `continue_at` (the newest guide), or only the new part (the earlier copies):
  joining drops what both contain.
* An extension needs `lyric` unless it is instrumental (the list of errors), or invents its words from `lyric_prompt`
  (the list of fields), which is sent where there are none: a refused request is not billed.
* What to avoid is `negative_tags` in the newest guide and the client, which is sent; it was `style_negative`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from songflow.gateways.dialect import Dialect
from songflow.gateways.envelope import Envelope, message_line, read_envelope
from songflow.gateways.relay import Ids, id_or_none
from songflow.gateways.relay_suno import SUNO, SUNO_JOIN
from songflow.gateways.report import (
    MAX_ERROR,
    ReportContent,
    ReportStatus,
    TakeReport,
    address_or_none,
    length_or_none,
    read_word,
    seconds_or_none,
    separate_tags,
    text_or_none,
)
from songflow.gateways.service import Batch, Question, Service

__all__ = ["ACEDATA"]

# By the guide's table of versions. Its answers name chirp-auk where chirp-v4-5 was asked for.
_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "chirp-v3-5": "chirp-v3-5",
        "chirp-v4": "chirp-v4",
        "chirp-auk": "chirp-v4-5",
        "chirp-bluejay": "chirp-v4-5-plus",
        "chirp-crow": "chirp-v5",
    }
)
_LONGEST_IDEA = 500
_MOST_AT_ONCE = 50  # "Maximum recommended batch size is 50 tasks" (the client)
_LONGEST_TITLE, _LONGEST_TITLES = 100, {"chirp-v3-5": 80, "chirp-v4": 80}

# Its codes as the statuses of the common table. None of them is billed ("Billing & Quota"); 403 is also moderation.
_STATUSES: Mapping[str, int] = MappingProxyType(
    {"no_token": 401, "token_mismatched": 401, "used_up": 402, "forbidden": 400}
)
_NO_TASK_CODES, _NO_TASK = ("bad_request", "not_found"), ("not found", "not exist")
_OVER = (ReportStatus.SUCCEEDED, ReportStatus.FAILED)
_UNDER_WAY = (ReportStatus.QUEUED, ReportStatus.RUNNING)


# --- the request ----------------------------------------------------------------------------------------------------


def _wire_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The documented body: an idea, words of one's own in a style ("custom mode"), or the extension of a song.

    Raises:
        ValueError: an idea or a title is longer than this API takes.
    """
    fields = body[SUNO]
    extends, kind = "source_song_id" in fields, fields["lyrics_type"]
    is_idea = not extends and kind != "user"
    _check_lengths(fields, is_idea)
    wire: dict[str, Any] = {
        "action": "extend" if extends else "generate",
        "model": _MODELS[fields["model_type"]],
        "instrumental": kind == "instrumental",
        "async": True,
    }
    if is_idea:
        return wire | {"prompt": fields["prompt"]}
    wire |= {"custom": True, "style": fields["prompt"]}
    if kind == "generate":
        wire["lyric_prompt"] = fields["prompt"]
    named = {"lyrics": "lyric", "title": "title", "negative_prompt": "negative_tags"}
    named |= {"source_song_id": "audio_id", "continue_at": "continue_at"}
    return wire | {name: fields[ours] for ours, name in named.items() if ours in fields}


def _concat_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The documented body of a concatenation, which names the last part of the song."""
    return {"action": "concat", "audio_id": body["suno_join"]["source_song_id"], "async": True}


def _check_lengths(fields: Mapping[str, Any], is_idea: bool) -> None:
    title_limit = _LONGEST_TITLES.get(fields["model_type"], _LONGEST_TITLE)
    lengths = {name: len(fields.get(name, "")) for name in ("prompt", "title")}
    if is_idea and lengths["prompt"] > _LONGEST_IDEA:
        raise ValueError(
            f"prompt has {lengths['prompt']} characters: this gateway takes {_LONGEST_IDEA} of an idea"
        )
    if lengths["title"] > title_limit:
        raise ValueError(f"title has {lengths['title']} characters: this gateway takes {title_limit}")


def _fetch_body(ids: Sequence[str]) -> dict[str, Any]:
    return {"id": ids[0], "action": "retrieve"}


# --- the answers ----------------------------------------------------------------------------------------------------


def _read_envelope(value: object) -> Envelope:
    """`{"error": {"code", "message"}, "trace_id"}`, with the status of its code in the common table."""
    envelope = read_envelope(value)
    message = envelope.message.lower()
    if envelope.code in _NO_TASK_CODES and any(words in message for words in _NO_TASK):
        return replace(envelope, style="relay", code="task_not_exist")
    return replace(envelope, status=_STATUSES.get(envelope.code))


def _read_ids(value: object) -> Ids:
    """The task's id, beside its songs if the gateway has waited for them.

    The id beside an error names the refused request: the guide shows one with a prompt that was not let through.
    """
    top = value if isinstance(value, dict) else {}
    if isinstance(top.get("error"), dict):
        return Ids()
    data = top.get("data")
    inner = data if isinstance(data, dict) else {}
    songs = data if isinstance(data, list) else []
    tracks = (id_or_none(song.get("id")) for song in songs if isinstance(song, dict))
    return Ids(
        id_or_none(top.get("task_id")) or id_or_none(inner.get("task_id")),
        tuple(one for one in tracks if one is not None),
    )


def _read_report(value: object, question: Question) -> ReportContent | None:
    task = value if isinstance(value, dict) else {}
    if not {"request", "response", "created_at"} & task.keys():
        return None
    given, asked = task.get("response"), task.get("request")
    response = given if isinstance(given, dict) else {}
    listed = response.get("data")
    songs = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    failure = _failure(response) or _failure(task)
    word = text_or_none(task.get("state"))
    stated = ReportStatus.FAILED if failure else read_word(word) or _stated(task, response, songs)
    reason = (failure or "the task has failed") if stated is ReportStatus.FAILED else None
    prompt = text_or_none(asked.get("style") or asked.get("prompt")) if isinstance(asked, dict) else None
    return ReportContent(
        word=word,
        stated=stated,
        takes=tuple(_read_song(one, question.base_url, stated, prompt, reason) for one in songs),
        failure=reason,
        submit_time=seconds_or_none(task.get("created_at")),
        start_time=seconds_or_none(task.get("started_at")),
        finish_time=seconds_or_none(task.get("finished_at")),
    )


def _stated(
    task: Mapping[str, Any], response: Mapping[str, Any], songs: Sequence[Mapping[str, Any]]
) -> ReportStatus:
    """The status of a task without one: by its times, or, if it has none, by its response."""
    ended, success = task.get("finished_at") is not None, response.get("success")
    if ended and not songs and success is not True:
        return ReportStatus.FAILED
    unfinished = any(_state(song) in _UNDER_WAY for song in songs)
    timeless = "started_at" not in task and success is True and bool(songs) and not unfinished
    if ended or timeless:
        return ReportStatus.SUCCEEDED
    return ReportStatus.RUNNING if songs or task.get("started_at") is not None else ReportStatus.QUEUED


def _failure(holder: Mapping[str, Any]) -> str | None:
    """The error of a task or of its response in one line; None without one."""
    error = holder.get("error")
    parts = (error.get("message"), error.get("code")) if isinstance(error, dict) else (error,)
    return next((text for part in parts if (text := message_line(part)[:MAX_ERROR])), None)


def _state(song: Mapping[str, Any]) -> ReportStatus | None:
    return read_word(text_or_none(song.get("state")))


def _read_song(
    song: Mapping[str, Any], base_url: str, stated: ReportStatus, asked: str | None, reason: str | None
) -> TakeReport:
    """One song. Its address may lead to a part of it until it has succeeded, or its task has ended.

    A task that has succeeded outweighs the state of a song that still runs, if the next report is the same.

    Args:
        reason: Why the task has failed, and with it a song that has no address.
    """
    state, song_path = _state(song), address_or_none(song.get("audio_url"), base_url)
    presumed = stated is ReportStatus.SUCCEEDED and state in _UNDER_WAY
    over = presumed or (stated in _OVER if state is None else state is ReportStatus.SUCCEEDED)
    finished = song_path is not None and over
    error = (_failure(song) or "the gateway reports an error") if state is ReportStatus.FAILED else None
    return TakeReport(
        song_id=text_or_none(song.get("id")),
        title=text_or_none(song.get("title")),
        duration=length_or_none(song.get("duration")),
        song_path=song_path if finished else None,
        finished=finished,
        error=error or (None if finished else reason),
        payload=song,
        prompt=asked or text_or_none(song.get("prompt")),
        lyrics=text_or_none(song.get("lyric")),
        tags=separate_tags(song.get("style")),
        image_path=address_or_none(song.get("image_large_url") or song.get("image_url"), base_url),
        created_at=text_or_none(song.get("created_at")),
        presumed=finished and presumed,
    )


def _batch_body(ids: Sequence[str]) -> dict[str, Any]:
    return {"ids": list(ids), "action": "retrieve_batch"}


def _tasks(value: object) -> Iterator[tuple[str, object]]:
    """The tasks of a batch, `{"items": [task, ..], "count"}` (the guide "Suno Tasks")."""
    items = value.get("items") if isinstance(value, dict) else None
    if not isinstance(items, list):
        raise ValueError("no list of tasks")
    for task in items:
        if isinstance(task, dict) and (task_id := text_or_none(task.get("id"))) is not None:
            yield task_id, task


def _as_one_task(tasks: Sequence[object]) -> object | None:
    return tasks[0] if tasks else None


_SUNO = Service(
    submit_path="/suno/audios",
    fetch_path="/suno/tasks",
    read_report=_read_report,
    wire_body=_wire_body,
    read_ids=_read_ids,
    read_envelope=_read_envelope,
    fetch_body=_fetch_body,
    batch=Batch(
        path="/suno/tasks", most=_MOST_AT_ONCE, elements=_tasks, single=_as_one_task, body=_batch_body
    ),
    models=frozenset(_MODELS),
)

ACEDATA = Dialect(
    name="acedata",
    base_url="https://api.acedata.cloud",
    key_variable="ACEDATA_KEY",
    services={SUNO: _SUNO, SUNO_JOIN: replace(_SUNO, wire_body=_concat_body, models=None)},
)
