"""Whose an id is: a gateway may answer two requests with the same one, and then the songs behind it are the first's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, or_, select

from songflow.ledger import schema
from songflow.ledger.engine import Connection
from songflow.ledger.rows import Submission, json_list
from songflow.ledger.states import RULES

__all__ = ["same_id_reason", "with_ids"]

_submissions, _songs = schema.submissions, schema.songs


async def with_ids(
    connection: Connection, submission_id: str, generation_id: str | None, track_ids: Sequence[str]
) -> tuple[Submission | None, Submission | None]:
    """A submission, and another one at the same gateway that has one of these ids."""
    values: dict[str, Any] = {"which": submission_id, "wanted": generation_id}
    if track_ids:
        values |= {
            "tracks": list(track_ids),
            "count": len(set(track_ids)),
            "track_list": json_list(track_ids),
        }
    rows = await connection.execute(_with_any_id(bool(track_ids)), values)
    found = [Submission.from_row(dict(row)) for row in rows.mappings()]
    current = next((one for one in found if one.id == submission_id), None)
    others = (one for one in found if current and one.id != current.id and one.place == current.place)
    return current, next(others, None)


@cache
def _with_any_id(has_tracks: bool) -> Select[Any]:
    """Select a submission and those with the same ids: of the generation, of stored songs, or of open track lists."""
    same = [_submissions.c.id == bindparam("which"), _submissions.c.generation_id == bindparam("wanted")]
    if has_tracks:
        # All of them: an extension's answer may list its source beside the new songs.
        of_songs = (
            select(_songs.c.submission_id)
            .where(_songs.c.song_id.in_(bindparam("tracks", expanding=True)))
            .group_by(_songs.c.submission_id)
            .having(func.count(_songs.c.song_id.distinct()) >= bindparam("count"))
        )
        is_open = _submissions.c.state.in_([state for state, rule in RULES.items() if rule.unsettled])
        same += [
            _submissions.c.id.in_(of_songs),
            is_open & (_submissions.c.track_ids == bindparam("track_list")),
        ]
    return select(_submissions).where(or_(*same))


def same_id_reason(owner: Submission) -> str:
    """Why an answer with this submission's id is no acceptance of another request."""
    return f"the gateway answered with the id {owner.any_id}, which is the generation of the key {owner.key!r} already"
