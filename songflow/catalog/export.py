"""Export the manifest and its songs to a folder, in formats of other tools.

    csv, parquet, jsonl   manifest.<form> with every column, and optionally the songs in audio/
    audiofolder           metadata.jsonl for Hugging Face's `load_dataset("audiofolder")`, and the songs under names
                          that it does not take for those of a split
    nemo                  manifest.jsonl with audio_filepath, duration and text for NVIDIA NeMo

The same library gives the same bytes. Nothing is overwritten unless `force` is set.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from songflow.documents.csv_table import csv_bytes
from songflow.errors import InputError
from songflow.runtime.remote_files import as_os_error, is_remote, local_path, open_file

if TYPE_CHECKING:
    import pandas

__all__ = ["FORMATS", "Audio", "Exported", "Format", "export"]

Format = Literal["csv", "parquet", "jsonl", "audiofolder", "nemo"]
FORMATS: tuple[str, ...] = get_args(Format)

Audio = Literal["none", "copy", "link"]
"""How songs are exported: not at all, as copies, or as links (a hard link, else a symbolic one)."""

AUDIO_FOLDER = "audio"
# Forms that name songs by files in the export.
_NEEDS_AUDIO = frozenset({"audiofolder"})
# `load_dataset` divides files into splits by these words in their names, whatever metadata.jsonl says, and leaves out
# the rest. It skips hidden files, reads `::` as a chain of addresses, and some characters as patterns.
_NOT_NEUTRAL = re.compile(r"train|test|val|dev|^[._]|::|[*?\[\]\x00-\x1f\x7f]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Exported:
    """The result of an export: the table's path, and the number of rows and files."""

    table: Path
    rows: int
    files: int


def export(
    frame: pandas.DataFrame,
    folder: Path,
    form: Format,
    *,
    audio: Audio = "none",
    force: bool = False,
    formula_guard: bool = True,
) -> Exported:
    """Write a manifest, and optionally its songs, to a folder.

    Args:
        force: Replace files of an earlier export; other files in the folder are not touched.
        formula_guard: In CSV, put an apostrophe before texts that a spreadsheet would run.

    Raises:
        InputError: a file exists already (checked before anything is written), cannot be read or written, or the
            form needs the songs' files.
    """
    if form in _NEEDS_AUDIO and audio == "none":
        raise InputError(f"The form {form} needs the songs' files.", next="add --audio copy or --audio link.")
    with_songs = form in _NEEDS_AUDIO or form == "nemo"
    rows = frame[frame["path"].notna()] if with_songs else frame
    if rows.empty:
        raise InputError("There is nothing to export.", next="choose other rows, or make some songs.")
    names = _names(rows, neutral=form == "audiofolder") if audio != "none" else {}
    table = folder / _TABLES[form]
    _refuse_existing([table, *(folder / name for name in names.values())], force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, name in names.items():
            _place(path, folder / name, audio)
        placed = rows.assign(path=[names.get(str(path), path) for path in rows["path"]]) if names else rows
        table.write_bytes(csv_bytes(placed, guard=formula_guard) if form == "csv" else _WRITERS[form](placed))
    except OSError as error:
        raise InputError(
            f"{getattr(error, 'filename', None) or folder} cannot be exported: {error.strerror or error}.",
            next="choose another --output, or check that the files exist.",
        ) from None
    return Exported(table, len(rows), len(names))


def _names(rows: pandas.DataFrame, *, neutral: bool) -> dict[str, str]:
    """Each stored song's file name in the export, by its path; equal names get a number.

    With `neutral`, a name that a dataset loader would not take as that of one more song becomes a plain one.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in dict.fromkeys(str(path) for path in rows["path"].dropna()):
        stem, dot, ending = path.replace("\\", "/").rpartition("/")[2].rpartition(".")
        if neutral and _NOT_NEUTRAL.search(stem):
            stem = f"song-{hashlib.sha256(stem.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
        name, number = f"{stem}{dot}{ending}", 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}{dot}{ending}", number + 1
        taken.add(name.casefold())
        names[path] = f"{AUDIO_FOLDER}/{name}"
    return names


def _refuse_existing(targets: Sequence[Path], force: bool) -> None:
    existing = [target for target in targets if target.exists() or target.is_symlink()]
    if existing and not force:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise InputError(
            f"{existing[0]}{more} exists already.", next="choose another --output, or add --force."
        )


def _place(path: str, target: Path, audio: Audio) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if is_remote(path):  # cannot be linked
        with as_os_error("the download failed", path), open_file(path) as remote, target.open("wb") as copy:
            shutil.copyfileobj(remote, copy)
        return
    source = local_path(path)
    if audio == "copy":
        shutil.copyfile(source, target)
        return
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
            raise
        target.symlink_to(source.resolve(strict=True))


# --- the tables ---


def _parquet(rows: pandas.DataFrame) -> bytes:
    data: bytes = rows.reset_index(drop=True).to_parquet(None, index=False)
    return data


def _jsonl(rows: pandas.DataFrame) -> bytes:
    return _lines(_records(rows))


def _audiofolder(rows: pandas.DataFrame) -> bytes:
    """`file_name`, relative to the folder, and every other column."""
    return _lines([{"file_name": row.pop("path"), **row} for row in _records(rows)])


def _nemo(rows: pandas.DataFrame) -> bytes:
    """Lyrics as the text, seconds as the duration, and fields for prompt and ids."""
    return _lines(
        [
            {
                "audio_filepath": row["path"],
                "duration": row["seconds"] if row["seconds"] is not None else row["announced_seconds"],
                "text": row["song_lyrics"] or "",
                "prompt": row["request.prompt"],
                "song_id": row["song_id"],
                "key": row["key"],
                "sha256": row["sha256"],
            }
            for row in _records(rows)
        ]
    )


def _records(rows: pandas.DataFrame) -> list[dict[str, Any]]:
    text = rows.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15)
    records: list[dict[str, Any]] = json.loads(text or "[]")
    return records


def _lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode(
        "utf-8", "replace"
    )


_TABLES: Mapping[str, str] = {
    "csv": "manifest.csv",
    "parquet": "manifest.parquet",
    "jsonl": "manifest.jsonl",
    "audiofolder": "metadata.jsonl",
    "nemo": "manifest.jsonl",
}
_WRITERS: Mapping[str, Callable[[pandas.DataFrame], bytes]] = {
    "parquet": _parquet,
    "jsonl": _jsonl,
    "audiofolder": _audiofolder,
    "nemo": _nemo,
}
