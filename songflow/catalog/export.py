"""Exports: the manifest and its songs in a folder of their own, in the forms that other tools read.

    csv, parquet, jsonl   manifest.<form> with every column, and the songs in audio/ where wanted
    audiofolder           metadata.jsonl beside the songs, as Hugging Face's `load_dataset("audiofolder")` reads it
    nemo                  manifest.jsonl with audio_filepath, duration and text, as NVIDIA NeMo reads it

The same library gives the same bytes. Nothing is overwritten unless it is asked for.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from songflow.errors import InputError
from songflow.runtime.remote_files import as_os_error, is_remote, local_path, open_file

if TYPE_CHECKING:
    import pandas

__all__ = ["FORMATS", "Audio", "Exported", "Format", "export"]

Format = Literal["csv", "parquet", "jsonl", "audiofolder", "nemo"]
FORMATS: tuple[str, ...] = get_args(Format)

Audio = Literal["none", "copy", "link"]
"""What becomes of the songs' files: left where they are, copied, or linked (a hard link, else a symbolic one)."""

AUDIO_FOLDER = "audio"
# These name songs by files beside them.
_NEEDS_AUDIO = frozenset({"audiofolder"})


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the table, and how many rows and files."""

    table: Path
    rows: int
    files: int


def export(
    frame: pandas.DataFrame, folder: Path, form: Format, *, audio: Audio = "none", force: bool = False
) -> Exported:
    """Write a manifest, and its songs where wanted, into a folder.

    Args:
        force: Replace files of an earlier export; others in the folder are left alone.

    Raises:
        InputError: a file is in the way, cannot be read or written, or the form needs the songs' files. Files that
            are in the way are found before anything is written.
    """
    if form in _NEEDS_AUDIO and audio == "none":
        raise InputError(f"The form {form} needs the songs' files.", next="add --audio copy or --audio link.")
    with_songs = form in _NEEDS_AUDIO or form == "nemo"
    rows = frame[frame["path"].notna()] if with_songs else frame
    if rows.empty:
        raise InputError("There is nothing to export.", next="choose other rows, or make some songs.")
    names = _names(rows) if audio != "none" else {}
    table = folder / _TABLES[form]
    _refuse_in_the_way([table, *(folder / name for name in names.values())], force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, name in names.items():
            _place(path, folder / name, audio)
        placed = rows.assign(path=[names.get(str(path), path) for path in rows["path"]]) if names else rows
        table.write_bytes(_WRITERS[form](placed))
    except OSError as error:
        raise InputError(
            f"{getattr(error, 'filename', None) or folder} cannot be exported: {error.strerror or error}.",
            next="choose another --output, or see that the files are there.",
        ) from None
    return Exported(table, len(rows), len(names))


def _names(rows: pandas.DataFrame) -> dict[str, str]:
    """Each stored song's name in the export, by its path; two stores may hold files of one name."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for path in dict.fromkeys(str(path) for path in rows["path"].dropna()):
        stem, dot, ending = path.replace("\\", "/").rpartition("/")[2].rpartition(".")
        name, number = f"{stem}{dot}{ending}", 2
        while name.casefold() in taken:
            name, number = f"{stem}-{number}{dot}{ending}", number + 1
        taken.add(name.casefold())
        names[path] = f"{AUDIO_FOLDER}/{name}"
    return names


def _refuse_in_the_way(targets: Sequence[Path], force: bool) -> None:
    there = [target for target in targets if target.exists() or target.is_symlink()]
    if there and not force:
        more = f" and {len(there) - 1} more" if len(there) > 1 else ""
        raise InputError(
            f"{there[0]}{more} is there already.", next="choose another --output, or add --force."
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


def _csv(rows: pandas.DataFrame) -> bytes:
    return rows.to_csv(index=False, lineterminator="\n").encode()


def _parquet(rows: pandas.DataFrame) -> bytes:
    data: bytes = rows.reset_index(drop=True).to_parquet(None, index=False)
    return data


def _jsonl(rows: pandas.DataFrame) -> bytes:
    return _lines(_records(rows))


def _audiofolder(rows: pandas.DataFrame) -> bytes:
    """`file_name` first, relative to the folder; every other column beside it."""
    return _lines([{"file_name": row.pop("path"), **row} for row in _records(rows)])


def _nemo(rows: pandas.DataFrame) -> bytes:
    """The lyrics as the text, the prompt and ids as fields of their own; seconds as floats."""
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
    "csv": _csv,
    "parquet": _parquet,
    "jsonl": _jsonl,
    "audiofolder": _audiofolder,
    "nemo": _nemo,
}
