"""Discard songs by a rule over their measures, such as `loudness_lufs < -30 or seconds < 20`.

A person's decision stands: the rule decides only songs that nobody has decided about.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from songflow.audio.measures import Measures
from songflow.documents.conditions import BadExpression, Condition, read_condition
from songflow.documents.validation import Reader
from songflow.documents.yaml_file import Place
from songflow.ledger.judgements import Decision, Judgement, JudgementKind
from songflow.ledger.ledger import Ledger
from songflow.ledger.rows import Song
from songflow.ledger.states import SongState
from songflow.library.measuring import measure_missing

__all__ = ["MEASURED", "MEASURES", "MOST_AGAIN", "Review", "discarded", "measured_songs", "read_review"]

log = logging.getLogger(__name__)

MEASURES: Mapping[str, str] = {
    "seconds": "length as decoded (s)",
    "announced_seconds": "length as announced (s)",
    "bytes": "size of the file",
    "peak": "peak, 0..1",
    "rms_db": "loudness (dBFS)",
    "source_score": "confidence that an extension contains its source, 0..1",
    "added_seconds": "how much an extension added (s)",
    "rating": "a person's rating, 0..5",
    "loudness_lufs": "integrated loudness (LUFS)",
    "true_peak_db": "true peak (dBTP)",
    "loudness_range": "loudness range (LU)",
    "silence_start": "silence at the beginning (s)",
    "silence_end": "silence at the end (s)",
    "clipped_samples": "samples at full scale",
    "tempo": "beats per minute",
    "centroid_hz": "brightness (Hz)",
}
"""Numbers that the ledger has of a song, by which takes are chosen and discarded."""

MEASURED = frozenset(one.name for one in fields(Measures)) & frozenset(MEASURES)
"""Those of them for which the file is measured."""

MOST_AGAIN = 20
"""The most further pairs of takes."""

_BY = "review: {rule}"


@dataclass(frozen=True, slots=True)
class Review:
    """A rule that discards songs.

    Attributes:
        discard: The condition, as it was written.
        again: How many further pairs may be paid for where every take is discarded.
        holds: The condition.
    """

    discard: str
    again: int
    holds: Condition = field(compare=False, repr=False)


def read_review(reader: Reader, place: Place, given: Any) -> Review | None:
    """Read `{discard: CONDITION, again: N}`; None without one, and after a fault, which the reader has."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        reader.fault(place, "must be a mapping such as {discard: loudness_lufs < -30, again: 1}")
        return None
    data = reader.known(place, given, ("discard", "again"))
    again = reader.whole((*place, "again"), data.get("again", 0), 0, MOST_AGAIN) or 0
    rule = data.get("discard")
    try:
        if not isinstance(rule, str):
            raise BadExpression("needs a condition such as loudness_lufs < -30 or seconds < 20")
        return Review(rule, again, read_condition(rule, {name: name for name in MEASURES}, called="measure"))
    except BadExpression as error:
        reader.fault((*place, "discard"), str(error))
        return None


async def measured_songs(ledger: Ledger, songs: Sequence[Song], *, measure: bool) -> dict[int, Measures]:
    """The measures of songs by their rows; with `measure`, those that have none are measured first."""
    if measure:
        await measure_missing(ledger.measures, keys=list({song.key: None for song in songs}))
    return await ledger.measures.of_songs([song.id for song in songs])


async def discarded(
    ledger: Ledger, review: Review, songs: Sequence[Song], measures: Mapping[int, Measures]
) -> set[int]:
    """Mark the stored songs for which the rule holds as discarded; returns the rows of all that are discarded."""
    by = _BY.format(rule=review.discard)
    judged = []
    for song in songs:
        if song.state is not SongState.STORED or song.decision is not None:
            continue
        found = measures.get(song.id)
        values = {
            name: getattr(found, name, None) if name in MEASURED else getattr(song, name) for name in MEASURES
        }
        try:
            if review.holds(values):
                judged.append(Judgement(song.id, JudgementKind.DECISION, Decision.DISCARD.value, by=by))
        except BadExpression as error:
            log.warning("'%s' was not reviewed: the rule %s.", song.title, error)
    if judged:
        await ledger.judgements.record(judged)
        log.info("Discarded %d takes (%s).", len(judged), review.discard)
    before = {song.id for song in songs if song.decision == Decision.DISCARD}
    return before | {judgement.song for judgement in judged}
