"""The manifest's columns: their dtypes, meanings and units, and where their values come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from songflow.families.field_types import FieldKind
from songflow.families.registry import field_kinds, song_families

__all__ = [
    "BOOL",
    "CATEGORY",
    "COLUMNS",
    "DESCRIBED",
    "FLOAT",
    "FROM_MEASURES",
    "FROM_SONG",
    "FROM_SUBMISSION",
    "INT",
    "REQUEST_COLUMNS",
    "STRING",
    "TIME",
    "Column",
]

STRING, FLOAT, INT, CATEGORY, TIME, BOOL = (
    "string", "Float64", "Int64", "category", "datetime64[us, UTC]", "boolean"
)  # fmt: skip

_DTYPES: Mapping[FieldKind, str] = {
    FieldKind.TEXT: STRING,
    FieldKind.CHOICE: CATEGORY,
    FieldKind.SWITCH: BOOL,
    FieldKind.LEVEL: FLOAT,
    FieldKind.NUMBER: FLOAT,
    FieldKind.WHOLE: INT,
    FieldKind.SEED: INT,
}
# The mode and the source have columns of their own.
REQUEST_COLUMNS: Mapping[str, str] = {
    name: _DTYPES[kind] for name, kind in field_kinds().items() if name not in {"mode", "source_song_id"}
}
"""The fields of a request of any family, and their dtypes; as a column, each has the prefix `request.`."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the manifest: its dtype, its meaning, and the unit of its numbers."""

    dtype: str
    meaning: str
    unit: str = ""


_OF_ALL_FAMILIES = {"model_type": "The model; it belongs to one family."}


def _request_column(name: str, dtype: str) -> Column:
    """The column of a request's field, described as the first family that has the field does."""
    family = next(one for one in song_families() if name in one.request.model_fields)
    described = _OF_ALL_FAMILIES.get(name) or family.request.model_fields[name].description
    return Column(dtype, described or "")


DESCRIBED: Mapping[str, Column] = {
    "key": Column(STRING, "The request key: one paid generation."),
    "song_id": Column(STRING, "The gateway's id of the song."),
    "take": Column(INT, "Which song of its generation it is.", "from 0"),
    "title": Column(STRING, "The title, as the gateway gives it."),
    "song_state": Column(CATEGORY, "announced, stored, failed or missing; empty without a song."),
    "state": Column(CATEGORY, "The state of the generation."),
    "error": Column(STRING, "Why there is no song, or none yet."),
    "seconds": Column(FLOAT, "The length of the stored file.", "s"),
    "announced_seconds": Column(FLOAT, "The length that the gateway announced.", "s"),
    "path": Column(STRING, "The stored file: an absolute path, or a URL."),
    "bytes": Column(INT, "The size of the stored file.", "bytes"),
    "sha256": Column(STRING, "The SHA-256 of the stored file, with its tags."),
    "audio_sha256": Column(STRING, "The SHA-256 of its audio without tags."),
    "cover_path": Column(STRING, "The stored cover."),
    "mode": Column(CATEGORY, "regular, precede or continuation."),
    "parent_song_id": Column(STRING, "The song that it extends."),
    "root_song_id": Column(STRING, "The first song of its line; its own id for a song that extends none."),
    "depth": Column(INT, "How many extensions lie between it and that song."),
    "source_score": Column(FLOAT, "How surely an extension contains its source.", "0..1"),
    "source_at": Column(FLOAT, "Where the source begins in an extension.", "s"),
    "added_seconds": Column(FLOAT, "What an extension added to its source.", "s"),
    "note": Column(STRING, "What could not be verified, and other remarks of Songflow's."),
    "whole_path": Column(STRING, "The whole song, where the extension itself is only its new part."),
    "joined_by": Column(CATEGORY, "Who joined that whole song: local or gateway."),
    "gateway": Column(CATEGORY, "The gateway that took it."),
    "base_url": Column(STRING, "The gateway's address."),
    "account": Column(CATEGORY, "The account's name, never its key."),
    "generation_id": Column(STRING, "The gateway's id of the generation."),
    "submission": Column(INT, "Which POST under this key it was.", "from 1"),
    "price": Column(FLOAT, "The price of the whole generation, on each of its rows.", "the library's unit"),
    "billed": Column(CATEGORY, "no, maybe or yes."),
    "intended_at": Column(TIME, "When the request was written down, before its POST."),
    "sending_at": Column(TIME, "When the POST began."),
    "answered_at": Column(TIME, "When the gateway accepted or refused it."),
    "settled_at": Column(TIME, "When its end was seen."),
    "stored_at": Column(TIME, "When the file was in its place."),
    "sample_rate": Column(INT, "Samples of each channel.", "Hz"),
    "channels": Column(INT, "1 or 2."),
    "peak": Column(FLOAT, "The largest sample.", "1 is full scale"),
    "rms_db": Column(FLOAT, "The mean level.", "dB below full scale"),
    "loudness_lufs": Column(FLOAT, "Integrated loudness (ITU-R BS.1770-4); -70 for silence.", "LUFS"),
    "true_peak_db": Column(FLOAT, "The largest value of the oversampled signal; -120 for silence.", "dBTP"),
    "loudness_range": Column(FLOAT, "Loudness range (EBU Tech 3342); empty below 3 s.", "LU"),
    "silence_start": Column(FLOAT, "Silence (below -60 dBFS) at the beginning.", "s"),
    "silence_end": Column(FLOAT, "Silence at the end.", "s"),
    "clipped_samples": Column(INT, "Samples at full scale or above, over all channels."),
    "tempo": Column(FLOAT, "Tempo; perhaps half or twice what a person would tap.", "beats/min"),
    "centroid_hz": Column(FLOAT, "Spectral centroid: how bright it sounds.", "Hz"),
    "rating": Column(FLOAT, "A person's rating.", "0..5"),
    "rated_at": Column(TIME, "When it was rated."),
    "rated_by": Column(CATEGORY, "Who rated it."),
    "decision": Column(CATEGORY, "A person's decision: keep or discard."),
    "decided_at": Column(TIME, "When that was decided."),
    "decided_by": Column(CATEGORY, "Who decided it."),
    "notes": Column(STRING, "A person's notes."),
    "noted_at": Column(TIME, "When they were written."),
    "noted_by": Column(CATEGORY, "Who wrote them."),
    "trashed_at": Column(TIME, "Since when the file lies in the library's trash."),
    "tags": Column(STRING, "The gateway's tags, with commas between."),
    "song_lyrics": Column(STRING, "The words that are sung, as the gateway gives them."),
    "song_url": Column(STRING, "Where the gateway offered the file."),
    "image_url": Column(STRING, "Where the gateway offered the cover."),
    "flow_run_id": Column(STRING, "The Prefect flow run that asked for it."),
    "root_flow_run_id": Column(STRING, "The flow run that the person started."),
    "task_run_id": Column(STRING, "The Prefect task run that submitted it."),
    "family": Column(CATEGORY, "The model family of the request."),
    "cost_per_song": Column(
        FLOAT,
        "The price less refunds, shared among the stored songs of the generation.",
        "the library's unit",
    ),
    **{f"request.{name}": _request_column(name, dtype) for name, dtype in REQUEST_COLUMNS.items()},
}
"""Every column with its meaning, as docs/manifest.md lists them."""

COLUMNS: Mapping[str, str] = {name: column.dtype for name, column in DESCRIBED.items()}
"""Every column and its dtype."""

FROM_SUBMISSION = (
    "key", "state", "gateway", "base_url", "account", "generation_id", "price", "intended_at", "sending_at",
    "answered_at", "settled_at", "flow_run_id", "root_flow_run_id", "task_run_id",
)  # fmt: skip
FROM_SONG = (
    "song_id", "take", "title", "error", "seconds", "announced_seconds", "path", "bytes", "sha256", "mode",
    "parent_song_id", "root_song_id", "depth", "stored_at", "sample_rate", "channels", "peak", "rms_db",
    "song_url", "image_url", "audio_sha256", "cover_path", "source_score", "source_at", "added_seconds", "note",
    "rating", "rated_at", "rated_by", "decision", "decided_at", "decided_by", "notes", "noted_at", "noted_by",
    "trashed_at", "whole_path", "joined_by",
)  # fmt: skip
FROM_MEASURES = (
    "loudness_lufs", "true_peak_db", "loudness_range", "silence_start", "silence_end", "clipped_samples", "tempo",
    "centroid_hz",
)  # fmt: skip
