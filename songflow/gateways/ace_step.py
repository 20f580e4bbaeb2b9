"""ACE-Step 1.5, hosted by oneself: no price, and no key unless its server was started with one.

Sources, in the repository ace-step/ACE-Step-1.5: docs/en/API.md (paths, bodies, answers, the default address) and
acestep/api_server.py (what the page leaves out; named below). The submit answers `{"data": {"task_id", "status",
"queue_position"}, "code": 200, "error": null, ..}`, the query `{"data": [{"task_id", "status": 0|1|2, "result": "<JSON
of a list>"}], ..}`, and errors are `{"detail"}` with an HTTP status.

A song's id is the path of its file on the server: by it the server finds the song that it is to extend
(`src_audio_path`). Servers of some versions refuse paths outside of the system's folder for temporary files
(acestep/api/http/release_task_audio_paths.py); such a refusal comes before anything is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from textwrap import shorten
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from songflow.gateways.dialect import Dialect
from songflow.gateways.envelope import Envelope, message_line, parse_json, read_envelope
from songflow.gateways.relay import Ids, id_or_none
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
    text_or_none,
)
from songflow.gateways.service import Batch, Question, Service

__all__ = ["ACE_STEP"]

FAMILY, ENVELOPE = "ace-step", "ace_step"

# docs/en/INFERENCE.md (lyrics): how a song without words is asked for.
_NO_WORDS = "[Instrumental]"
# docs/en/API.md, names of the fields; what the library stores is mp3.
_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "duration": "audio_duration",
        "bpm": "bpm",
        "key_scale": "key_scale",
        "vocal_language": "vocal_language",
        "negative_prompt": "lm_negative_prompt",
    }
)
_WORDS: Mapping[str, ReportStatus] = MappingProxyType(
    {"0": ReportStatus.RUNNING, "1": ReportStatus.SUCCEEDED, "2": ReportStatus.FAILED}
)
_NOTHING_KNOWN = ("[]", "")
_LONGEST_TITLE = 80
# No document names a limit.
_MOST_AT_ONCE = 100


# --- the request ----------------------------------------------------------------------------------------------------


def _wire_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The documented body: an idea (`sample_query`), words in a style, or the continuation of a file of the server.

    An idea is sent as the prompt, too: the server's report repeats that one, and an invented one in its place.
    """
    fields = body[ENVELOPE]
    wire: dict[str, Any] = {
        "model": fields["model_type"],
        "prompt": fields["prompt"],
        "thinking": fields.get("thinking", False),
        "inference_steps": fields["inference_steps"],
        "batch_size": fields["batch_size"],
        "audio_format": "mp3",
        "use_random_seed": "seed" not in fields,
    }
    if "seed" in fields:
        wire["seed"] = fields["seed"]
    if fields["lyrics_type"] == "generate":
        wire["sample_query"] = fields["prompt"]
    else:
        wire["lyrics"] = fields.get("lyrics", _NO_WORDS)
    wire |= {sent: fields[name] for name, sent in _NAMES.items() if name in fields}
    if "source_song_id" in fields:
        length = wire.pop("audio_duration")
        wire |= {
            "task_type": "repaint",
            "src_audio_path": fields["source_song_id"],
            "repainting_start": fields["continue_at"],
            "repainting_end": fields["continue_at"] + length,
        }
    return wire


# --- the answers ----------------------------------------------------------------------------------------------------


def _read_envelope(value: object) -> Envelope:
    """The wrapper and FastAPI's `{"detail"}` as the relay's envelope; an empty result means that nobody knows the task.

    acestep/api_server.py (query_result): `{"task_id", "result": "[]", "status": 0}` for a task that it does not know.
    """
    if not isinstance(value, dict):
        return Envelope()
    if "detail" in value:
        detail = value["detail"]
        return Envelope("relay", "", message_line(detail if isinstance(detail, str) else str(detail)))
    envelope = read_envelope(value)
    if envelope.style != "relay":
        return envelope
    listed = _listed(value)
    if listed and all(_is_unknown(one) for one in listed):
        return Envelope("relay", "task_not_exist", "the server does not know the task")
    return Envelope("relay", envelope.code, message_line(value.get("error")))


def _read_ids(value: object) -> Ids:
    data = value.get("data") if isinstance(value, dict) else None
    return Ids(id_or_none(data.get("task_id"))) if isinstance(data, dict) else Ids()


def _listed(value: object) -> list[Mapping[str, Any]]:
    """The tasks in the answer to a query."""
    data = value.get("data") if isinstance(value, dict) else None
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def _is_unknown(task: Mapping[str, Any]) -> bool:
    return str(task.get("status")) == "0" and task.get("result") in (None, [], *_NOTHING_KNOWN)


def _read_report(value: object, question: Question) -> ReportContent | None:
    """The report on the task that was asked for. A task that failed may have no more than its status."""
    task = next((one for one in _listed(value) if one.get("task_id") in question.ids), None)
    if task is None or _is_unknown(task):
        return None
    items = list(_items(task.get("result")))
    first = items[0] if items else {}
    word, inner = text_or_none(task.get("status")), text_or_none(first.get("status"))
    stated = read_word(word, _WORDS)
    if stated is ReportStatus.FAILED and inner == "0":
        # acestep/api_server.py (TASK_TIMEOUT_SECONDS): after an hour a task is called failed, but it goes on.
        stated = ReportStatus.UNCLEAR
    ended = stated in (ReportStatus.SUCCEEDED, ReportStatus.FAILED)
    failed = stated is ReportStatus.FAILED
    return ReportContent(
        word=word,
        stated=stated,
        takes=tuple(_read_song(one, question.base_url) for one in items if ended and _is_song(one, failed)),
        failure=_failure(first) if failed else None,
        progress=None if ended else progress_or_none(first.get("progress")),
        submit_time=seconds_or_none(first.get("create_time")),
    )


def _items(result: object) -> Iterator[Mapping[str, Any]]:
    """What a task has made: its result is JSON in a text."""
    try:
        listed = parse_json(result) if isinstance(result, str) else result
    except ValueError:
        return
    if isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, dict))


def _is_song(item: Mapping[str, Any], failed: bool) -> bool:
    """A task that failed has one item without a file, which stands for the task itself."""
    return not failed or text_or_none(item.get("file")) is not None


def _failure(item: Mapping[str, Any]) -> str | None:
    """The last line of an error, which is a Python traceback."""
    lines = (text_or_none(item.get("error")) or "").strip().splitlines()
    return lines[-1].strip()[:MAX_ERROR] if lines else None


def _read_song(song: Mapping[str, Any], base_url: str) -> TakeReport:
    """One song, called by its prompt: the server gives no titles. `metas.prompt` is as sent (acestep/api_server.py)."""
    given = song.get("metas")
    metas = given if isinstance(given, dict) else {}
    file = text_or_none(song.get("file"))
    prompt = text_or_none(metas.get("prompt")) or text_or_none(song.get("prompt"))
    return TakeReport(
        song_id=_path_of(file),
        title=shorten(prompt, _LONGEST_TITLE, placeholder=" ...") or None if prompt else None,
        duration=length_or_none(metas.get("duration")),
        song_path=address_or_none(file, base_url),
        finished=file is not None,
        error=None if file is not None else _failure(song) or "the server made no file",
        payload=song,
        prompt=prompt,
        lyrics=text_or_none(song.get("lyrics")),
        created_at=_moment(seconds_or_none(song.get("create_time"))),
    )


def _moment(seconds: float | None) -> str | None:
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def _path_of(file: str | None) -> str | None:
    """The path of a file on the server, from the address that it is downloaded from; else the address."""
    try:
        paths = parse_qs(urlsplit(file or "").query).get("path", [])
    except ValueError:
        paths = []
    return id_or_none(paths[0] if paths else file)


def _tasks(value: object) -> Iterator[tuple[str, object]]:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise ValueError("no list of tasks")
    for task in _listed(value):
        if (task_id := text_or_none(task.get("task_id"))) is not None and not _is_unknown(task):
            yield task_id, task


def _as_one_task(tasks: Sequence[object]) -> object | None:
    return {"data": [tasks[0]], "code": 200, "error": None} if tasks else None


def _fetch_body(ids: Sequence[str]) -> dict[str, Any]:
    return {"task_id_list": list(ids)}


ACE_STEP = Dialect(
    name="ace-step",
    # docs/en/API.md: its examples, and ACESTEP_API_HOST and ACESTEP_API_PORT.
    base_url="http://127.0.0.1:8001",
    key_variable="ACESTEP_KEY",
    services={
        FAMILY: Service(
            submit_path="/release_task",
            fetch_path="/query_result",
            read_report=_read_report,
            wire_body=_wire_body,
            read_ids=_read_ids,
            read_envelope=_read_envelope,
            fetch_body=_fetch_body,
            batch=Batch(
                path="/query_result",
                most=_MOST_AT_ONCE,
                elements=_tasks,
                single=_as_one_task,
                body=_fetch_body,
            ),
            # acestep/api_server.py: /v1/audio asks for the key, where the server has one.
            key_for_files=True,
        )
    },
    key_required=False,
    address_variable="ACESTEP_URL",
)
