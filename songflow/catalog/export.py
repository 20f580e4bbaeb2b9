"""Export the manifest and its songs to a folder, in formats of other tools.

    csv, parquet, jsonl   manifest.<form> with every column, and optionally the songs in audio/
    audiofolder           metadata.jsonl for Hugging Face's `load_dataset("audiofolder")` with a dataset card, and the
                          songs under names that it does not take for those of a split
    nemo                  manifest.jsonl with audio_filepath, duration and text for NVIDIA NeMo
    m3u                   playlist.m3u8 for players

The same library gives the same bytes. Nothing is overwritten unless `force` is set, and a file of the library never.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from songflow.catalog.export_tables import TABLES, table_bytes
from songflow.catalog.export_texts import dataset_card, lyrics_files
from songflow.documents.text import counted
from songflow.errors import InputError
from songflow.runtime.remote_files import as_os_error, is_remote, local_path, open_file

if TYPE_CHECKING:
    import pandas

__all__ = [
    "AUDIO_FOLDER",
    "FORMATS",
    "Audio",
    "Exported",
    "Format",
    "export",
    "refuse_existing",
    "refuse_own_folder",
    "replacing",
]

Format = Literal["csv", "parquet", "jsonl", "audiofolder", "nemo", "m3u"]
FORMATS: tuple[str, ...] = get_args(Format)

Audio = Literal["none", "copy", "link"]
"""How songs are exported: not at all, as copies, or as links (a hard link, else a symbolic one)."""

AUDIO_FOLDER = "audio"
# Forms that name songs by files in the export, and forms without rows for what has no song, or one in the trash.
_NEEDS_AUDIO = frozenset({"audiofolder"})
_OF_SONGS = frozenset({"audiofolder", "nemo", "m3u"})
_CARD = "README.md"
# What says who made the songs and where, in an export that is meant for others.
_PRIVATE = (
    "account", "base_url", "cover_path", "whole_path", "notes", "rated_by", "decided_by", "noted_by",
)  # fmt: skip
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
    beside: bool = False,
    private: bool = False,
    force: bool = False,
    formula_guard: bool = True,
) -> Exported:
    """Write a manifest, and optionally its songs, to a folder.

    Args:
        beside: Put each song's cover and lyrics (.txt and .lrc) beside its exported file.
        private: In an audiofolder, keep the columns that name the account, files of this machine and people, and notes.
        force: Replace files of an earlier export; other files in the folder are not touched.
        formula_guard: In CSV, put an apostrophe before texts that a spreadsheet would run.

    Raises:
        InputError: a file exists already, or the songs would be written among those of the library (both checked
            before anything is written); a file cannot be read or written; or the form needs the songs' files.
    """
    if (form in _NEEDS_AUDIO or beside) and audio == "none":
        what = f"The form {form} needs" if form in _NEEDS_AUDIO else "Covers and lyrics need"
        raise InputError(f"{what} the songs' files.", next="add --audio copy or --audio link.")
    rows = frame[frame["path"].notna() & frame["trashed_at"].isna()] if form in _OF_SONGS else frame
    if rows.empty:
        raise InputError("There is nothing to export.", next="choose other rows, or make some songs.")
    if audio != "none":
        refuse_own_folder(frame, folder / AUDIO_FOLDER)
    names = _names(rows, neutral=form == "audiofolder") if audio != "none" else {}
    texts = _texts(rows, names, form, beside=beside)
    covers = _covers(rows, names) if beside else {}
    table = folder / TABLES[form]
    files = (*names.values(), *covers.values(), *texts)
    refuse_existing([table, *(folder / name for name in files)], force)
    _require_there([*names, *covers])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, name in (*names.items(), *covers.items()):
            _place(path, folder / name, audio)
        for name, text in texts.items():
            (folder / name).write_bytes(text.encode("utf-8", "replace"))
        placed = rows.assign(path=[names.get(str(path), path) for path in rows["path"]]) if names else rows
        if form == "audiofolder" and not private:
            placed = placed.drop(columns=list(_PRIVATE))
        table.write_bytes(table_bytes(form, placed, formula_guard=formula_guard))
    except OSError as error:
        raise InputError(
            f"{getattr(error, 'filename', None) or folder} cannot be exported: {error.strerror or error}.",
            next="choose another --output, or check that the files exist.",
        ) from None
    return Exported(table, len(rows), len(names))


def _require_there(paths: Sequence[str]) -> None:
    """Raise InputError for files of this machine that are gone, before anything is written."""
    gone = [path for path in paths if not is_remote(path) and not local_path(path).exists()]
    if gone:
        shown = ", ".join(gone[:3]) + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        raise InputError(
            f"{counted(len(gone), 'file')} of the library cannot be found: {shown}.",
            next="bring them back; or discard those songs, and export with --where 'decision != \"discard\"'.",
        )


def _texts(rows: pandas.DataFrame, names: Mapping[str, str], form: Format, *, beside: bool) -> dict[str, str]:
    """The text files of an export by their names: a dataset's card, and lyrics beside the songs."""
    texts = {_CARD: dataset_card(rows)} if form == "audiofolder" else {}
    return texts | (lyrics_files(rows, names) if beside else {})


def _covers(rows: pandas.DataFrame, names: Mapping[str, str]) -> dict[str, str]:
    """The name in the export of each cover, by its path; songs that share a cover have it beside the first."""
    covers: dict[str, str] = {}
    for song, cover in zip(rows["path"], rows["cover_path"].astype(object), strict=True):
        if isinstance(cover, str) and song in names:
            covers.setdefault(cover, f"{names[song].rpartition('.')[0]}.{cover.rpartition('.')[2]}")
    return covers


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


def refuse_existing(targets: Sequence[Path], force: bool) -> None:
    """Raise InputError if one of an export's files exists already, unless they are to be replaced."""
    existing = [target for target in targets if target.exists() or target.is_symlink()]
    if existing and not force:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise InputError(
            f"{existing[0]}{more} exists already.", next="choose another --output, or add --force."
        )


def refuse_own_folder(frame: pandas.DataFrame, target: Path) -> None:
    """Raise InputError if files of a manifest lie in a folder: what is written there could replace one."""
    if not target.exists():
        return
    columns = (frame[name].dropna() for name in ("path", "cover_path", "whole_path"))
    stored = {local_path(path) for column in columns for path in column if not is_remote(path)}
    # The folder of a link, and the folder of the file that it leads to.
    folders = {path.parent.resolve() for path in stored} | {path.resolve().parent for path in stored}
    if any(folder.exists() and folder.samefile(target) for folder in folders):
        raise InputError(
            f"{target} has songs of the library, which an export could replace.",
            next="choose another --output; nothing was changed.",
        )


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Provide the path of a file to write, which takes the target's place at the end; until then, that is as it was."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{uuid.uuid4().hex}"
    try:
        yield draft
        draft.replace(target)
    finally:
        # Also where both are links to one file: a rename then leaves both.
        draft.unlink(missing_ok=True)


def _place(path: str, target: Path, audio: Audio) -> None:
    with replacing(target) as draft:
        if is_remote(path):  # cannot be linked
            with (
                as_os_error("the download failed", path),
                open_file(path) as remote,
                draft.open("wb") as copy,
            ):
                shutil.copyfileobj(remote, copy)
            return
        source = local_path(path)
        if audio == "copy":
            shutil.copyfile(source, draft)
            return
        try:
            os.link(source, draft)
        except OSError as error:
            if error.errno not in {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP}:
                raise
            draft.symlink_to(source.resolve(strict=True))
