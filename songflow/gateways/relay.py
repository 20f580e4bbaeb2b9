"""The ids in a submit's answer, as the open relay behind several gateways writes it.

Udio: `{"generation_id", "track_ids"}`, at the top or in `data`. Other families: `{"code": "success", "data": "<id>"}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from songflow.gateways.envelope import parse_json, read_envelope

__all__ = ["Ids", "candidate_ids", "id_or_none", "relay_ids"]


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids in the answer to a submit: the generation's own, and those of its takes."""

    generation_id: str | None = None
    track_ids: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.generation_id or self.track_ids)


def relay_ids(value: object) -> Ids:
    """Find the ids in a relay's answer."""
    top = value if isinstance(value, dict) else {}
    data = top.get("data")
    inner = data if isinstance(data, dict) else {}
    generation_id = id_or_none(top.get("generation_id")) or id_or_none(inner.get("generation_id"))
    if generation_id is None and read_envelope(value).says_success:
        generation_id = id_or_none(data)
    return Ids(generation_id, _ids(top.get("track_ids")) or _ids(inner.get("track_ids")))


_ID_NAMES = (
    "generation_id", "generationId", "task_id", "taskId", "job_id", "jobId", "id", "uuid",
)  # fmt: skip
_DEEPEST, _MOST_VALUES = 4, 200
_LONGEST_ID = 255
_MOST_DOCUMENTS = 4
_BLANK = "\ufeff \t\r\n"


def candidate_ids(text: str) -> tuple[str, ...]:
    """Every id in an answer to a submit that may name its generation, each once; the raw answer is kept for this.

    Wherever it stands, also as a number; those near the top come first. Only a gateway, or a person, can tell which it
    is.
    """
    found: list[object] = []
    for value in _documents(text):
        found += [holder.get(name) for holder in _dicts(value) for name in _ID_NAMES]
        if isinstance(value, dict) and _may_be_success(value):
            found.append(value.get("data"))
    ids = (_as_text(one) for one in found)
    return tuple(dict.fromkeys(one for one in ids if one is not None))


def _documents(text: str) -> Iterator[object]:
    """The JSON of a text; of several documents one after the other, each.

    The open relay writes its error behind a success that it has written already, if it cannot store the task.
    """
    try:
        yield parse_json(text)
        return
    except ValueError:
        rest, scan = text.lstrip(_BLANK), json.JSONDecoder().raw_decode
    for _ in range(_MOST_DOCUMENTS):
        try:
            end = scan(rest)[1]
            value = parse_json(rest[:end])
        except (ValueError, RecursionError):
            return
        yield value
        rest = rest[end:].lstrip(_BLANK)


def _may_be_success(answer: dict[str, Any]) -> bool:
    return read_envelope(answer).says_success or answer.get("code") in (None, 0, "0", "", "ok", "OK")


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    """The dicts in a value, from the outside in, up to a depth and a number; not those of an error."""
    layer, seen = [value], 0
    for _ in range(_DEEPEST):
        inner: list[object] = []
        for one in layer:
            seen += 1
            if seen > _MOST_VALUES:
                return
            if isinstance(one, dict):
                yield one
                inner += [child for name, child in one.items() if name != "error"]
            elif isinstance(one, list):
                inner += one
        layer = [one for one in inner if isinstance(one, dict | list)]


def _as_text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    given = id_or_none(value)
    return given if given is not None and len(given) <= _LONGEST_ID and given.split() == [given] else None


def id_or_none(value: object) -> str | None:
    """An opaque id exactly as given; None for anything that cannot be one, such as text damaged by decoding."""
    return value if isinstance(value, str) and value.strip() and "\ufffd" not in value else None


def _ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(one for item in value if (one := id_or_none(item)) is not None)
