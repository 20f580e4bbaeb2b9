"""The ids in a submit's answer, as the open relay behind several gateways writes it.

Udio: `{"generation_id", "track_ids"}`, at the top or in `data`. Other families: `{"code": "success", "data": "<id>"}`.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def candidate_ids(text: str) -> tuple[str, ...]:
    """Every id in an answer to a submit that may name its generation, each once; the raw answer is kept for this."""
    try:
        value = parse_json(text)
    except ValueError:
        return ()
    top = value if isinstance(value, dict) else {}
    data = top.get("data")
    inner = data if isinstance(data, dict) else {}
    own = data if read_envelope(value).says_success else None
    named = [place.get(name) for place in (top, inner) for name in _ID_NAMES]
    found = (id_or_none(one) for one in (*named, own))
    return tuple(dict.fromkeys(one for one in found if one is not None))


_ID_NAMES = ("generation_id", "task_id", "taskId", "id")


def id_or_none(value: object) -> str | None:
    """An opaque id exactly as given; None for anything that cannot be one, such as text damaged by decoding."""
    return value if isinstance(value, str) and value.strip() and "\ufffd" not in value else None


def _ids(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(one for item in value if (one := id_or_none(item)) is not None)
