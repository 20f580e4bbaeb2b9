"""Udio as relays sell it: the canonical body is the wire body, and reports come in one of four shapes.

A  {"songs": [..]}                        B  {"data": {"status", .., "data": {"songs": [..]}}}
C  {"data": {"songs": [..]}}              D  {"data": {"status", "data": [{"songs": [..]}, ..]}}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, get_args

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

__all__ = ["FETCH_PATH", "SHAPE", "SHAPES", "SUBMIT_PATH", "UDIO", "Shape", "read_song", "relay_udio"]

Shape = Literal["A", "B", "C", "D"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

UDIO = "udio"
SUBMIT_PATH, FETCH_PATH = "/udio/submit/music", "/udio/fetch/{id}"
SHAPE: Shape = "B"
# No document names a limit; the address stays below the 8 KiB that most servers take.
_MOST_AT_ONCE = 200
_BETWEEN_TAGS = re.compile("[,;\\uff0c\\u3001\\uff1b\\n]")  # also those of Chinese


def relay_udio(
    submit_path: str = SUBMIT_PATH, fetch_path: str = FETCH_PATH, shape: Shape = SHAPE
) -> dict[str, Service]:
    """The Udio service of a relay, by its family; `shape` decides only where an answer fits several.

    A path that takes several ids and answers with bare songs (shape A) reports on several generations at once.
    """
    several = "{ids}" in fetch_path and shape == "A"
    service = Service(
        submit_path=submit_path,
        fetch_path=fetch_path,
        read_report=partial(_read_report, shape),
        batch=Batch(path=fetch_path, most=_MOST_AT_ONCE, elements=_songs_by_id, single=_as_songs)
        if several
        else None,
        settings={"submit_path": submit_path, "fetch_path": fetch_path, "shape": shape},
    )
    return {UDIO: service}


def _read_report(shape: Shape, value: object, question: Question) -> ReportContent:
    about = _about(value)
    word = _word(value)
    stated = read_word(word)
    songs = _choose(_find_songs(value), shape)
    return ReportContent(
        word=word,
        stated=stated,
        takes=tuple(read_song(song, question.base_url, stated) for song in songs),
        failure=_failure(about.get("fail_reason")),
        progress=progress_or_none(about.get("progress")),
        submit_time=seconds_or_none(about.get("submit_time")),
        start_time=seconds_or_none(about.get("start_time")),
        finish_time=seconds_or_none(about.get("finish_time")),
    )


def _songs_by_id(value: object) -> Iterator[tuple[str, object]]:
    """Each song of a bare list under its own id and under its generation's, which are what is asked for."""
    songs = value.get("songs") if isinstance(value, dict) else None
    if not isinstance(songs, list):
        raise ValueError("no list of songs")
    for song in _songs(songs):
        for name in ("generation_id", "id"):
            if (found := text_or_none(song.get(name))) is not None:
                yield found, song


def _as_songs(songs: Sequence[object]) -> object | None:
    # A generation without songs may be one whose songs name it by another id than the gateway's: ask for it alone.
    return {"songs": list(songs)} if songs else None


def _failure(reason: object) -> str | None:
    """A fail_reason as text; null, empty and blank ones are no failure."""
    return text_or_none(reason if isinstance(reason, str) or not reason else str(reason))


def _about(value: object) -> Mapping[str, Any]:
    """The dict that describes the generation: the envelope's `data` if it is one, else the whole answer."""
    top = value if isinstance(value, dict) else {}
    data = top.get("data")
    return data if isinstance(data, dict) else top


def _word(value: object) -> str | None:
    """The status word: the generation's own, else the only status that its elements have."""
    about = _about(value)
    data = about.get("data")
    found = [_status(about), _status(value)]
    found += {_status(element) for element in (data if isinstance(data, list) else [data])}
    words = [word for word in found if word is not None]
    ambiguous = found[:2] == [None, None] and len(words) > 1
    return words[0] if words and not ambiguous else None


def _status(holder: object) -> str | None:
    word = holder.get("status") if isinstance(holder, dict) else None
    return word if isinstance(word, str) and word.strip() else None


def _find_songs(value: object) -> dict[Shape, list[dict[str, Any]]]:
    """The songs in each place where songs can be."""
    top = value if isinstance(value, dict) else {"songs": value}
    data = top.get("data")
    inner = data.get("data") if isinstance(data, dict) else data
    return {
        "A": _songs(top.get("songs")),
        "B": _songs(inner.get("songs")) if isinstance(inner, dict) else [],
        "C": _songs(data.get("songs")) if isinstance(data, dict) else [],
        "D": _songs(inner),
    }


def _choose(found: Mapping[Shape, list[dict[str, Any]]], expected: Shape) -> list[dict[str, Any]]:
    return next((found[shape] for shape in (expected, *SHAPES) if found[shape]), [])


def _songs(items: object) -> list[dict[str, Any]]:
    """The songs of a list and of the lists inside it, in order; a song that is listed twice stays twice."""
    songs: list[dict[str, Any]] = []
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict):
            nested = item.get("songs", [item])
            songs += [song for song in nested if isinstance(song, dict)] if isinstance(nested, list) else []
    return songs


def read_song(song: Mapping[str, Any], base_url: str, stated: ReportStatus | None) -> TakeReport:
    """One song's dict as a take.

    An address makes up for a missing `finished` unless the generation is under way, and for a false one if it
    succeeded: some relays pass the upstream's first list on with the addresses filled in.
    """
    song_path, error = address_or_none(song.get("song_path"), base_url), _error_text(song)
    told = song.get("finished")
    finished, presumed = _is_true(told), False
    if song_path is not None and not finished:
        presumed = told is not None and error is None and stated is ReportStatus.SUCCEEDED
        finished = presumed or (told is None and stated not in (ReportStatus.QUEUED, ReportStatus.RUNNING))
    return TakeReport(
        song_id=text_or_none(song.get("id")),
        title=text_or_none(song.get("title")),
        duration=length_or_none(song.get("duration")),
        song_path=song_path,
        finished=finished,
        error=error,
        payload=song,
        prompt=text_or_none(song.get("prompt")),
        lyrics=text_or_none(song.get("lyrics")),
        tags=_tags(song.get("tags")),
        image_path=address_or_none(song.get("image_path"), base_url),
        created_at=text_or_none(song.get("created_at")),
        conditioning=text_or_none(song.get("audio_conditioning_type")),
        presumed=presumed,
    )


def _is_true(value: object) -> bool:
    return value in (True, 1) or (isinstance(value, str) and value.strip().lower() in ("true", "1"))


def _tags(value: object) -> tuple[str, ...]:
    """Tags from a list, or from a text: JSON, or words with commas between."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            with suppress(ValueError, RecursionError):
                return _tags(json.loads(value))
        return tuple(tag for part in _BETWEEN_TAGS.split(value) if (tag := part.strip()))
    return tuple(tag for tag in value if isinstance(tag, str)) if isinstance(value, list) else ()


def _error_text(song: Mapping[str, Any]) -> str | None:
    """The song's error fields in one line; None if all of them are null or empty."""
    errors = {
        name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name in ("error_type", "error_detail", "error_code", "error_id")
        if (value := song.get(name))
    }
    text = ", ".join(f"{name} {' '.join(value.split())}" for name, value in errors.items() if value.strip())
    return text[:MAX_ERROR] or None
