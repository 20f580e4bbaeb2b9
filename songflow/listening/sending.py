"""Songs as a page to send to somebody: a folder with index.html that needs no server and no network.

    index.html            the page, with its script, colours and the songs' texts
    audio/0001.mp3 ..     the songs without their tags, in the page's order
    covers/0001.jpg ..    their covers

What the person says is kept in their browser and saved as a file of judgements (`songflow.catalog.judgement_file`).
Nothing tells who made the songs and where: no account, address, path, price, note, nor what others said of them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from songflow.audio.checksums import hash_range
from songflow.audio.id3 import audio_span
from songflow.catalog.columns import FROM_MEASURES, REQUEST_COLUMNS
from songflow.catalog.export import AUDIO_FOLDER, Exported, refuse_existing, refuse_own_folder, replacing
from songflow.errors import InputError
from songflow.families.registry import FAMILIES
from songflow.ledger import schema
from songflow.ledger.ledger import Ledger
from songflow.listening.bundle import asset, bundle
from songflow.listening.listed import chosen_fields
from songflow.runtime.remote_files import as_os_error, open_file

if TYPE_CHECKING:
    import pandas

__all__ = ["export_page", "page_of", "songs_to_send", "waveforms_of"]

PAGE, AUDIO, COVERS = "index.html", AUDIO_FOLDER, "covers"
_JUDGED = ("rating", "decision", "notes")
_PLAIN = (
    "title",
    "take",
    "seconds",
    "mode",
    "parent_song_id",
    "gateway",
    "song_id",
    "audio_sha256",
    "rms_db",
)


def export_page(
    frame: pandas.DataFrame,
    folder: Path,
    *,
    waveforms: Mapping[str, str] | None = None,
    judged: bool = False,
    force: bool = False,
) -> Exported:
    """Write the stored songs of a manifest as a page into a folder.

    Args:
        waveforms: The pictures of songs, by the hash of their audio.
        judged: Show the ratings, decisions and notes that stand, too.
        force: Replace the files of an earlier page.

    Raises:
        InputError: there are no songs, a file exists already or cannot be read or written, or the songs would be
            written among those of the library.
    """
    rows = _rows(frame)
    if not rows:
        raise InputError("There is nothing to export.", next="choose other rows, or make some songs.")
    songs = songs_to_send(rows, waveforms or {}, judged=judged)
    audio = {song["audio"]: row["whole_path"] or row["path"] for song, row in zip(songs, rows, strict=True)}
    covers = {
        song["cover"]: row["cover_path"] for song, row in zip(songs, rows, strict=True) if song["cover"]
    }
    for name in (AUDIO, COVERS):
        refuse_own_folder(frame, folder / name)
    refuse_existing([folder / name for name in (PAGE, *audio, *covers)], force)
    try:
        for name, path in {**audio, **covers}.items():
            _copy(path, folder / name)
        (folder / PAGE).write_text(page_of(songs), encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(
            f"{getattr(error, 'filename', None) or folder} cannot be exported: {error.strerror or error}.",
            next="choose another --output, or check that the files exist.",
        ) from None
    return Exported(folder / PAGE, len(songs), len(audio))


async def waveforms_of(ledger: Ledger) -> dict[str, str]:
    """The pictures of all measured songs (base64, a byte for each peak), by the hash of their audio."""
    songs, measures = schema.songs, schema.measures
    statement = (
        select(songs.c.audio_sha256, measures.c.waveform)
        .join(measures, measures.c.song == songs.c.id)
        .where(songs.c.audio_sha256.is_not(None), measures.c.waveform.is_not(None))
    )
    async with ledger.database.read() as connection:
        return {row.audio_sha256: row.waveform for row in await connection.execute(statement)}


def _rows(frame: pandas.DataFrame) -> list[dict[str, Any]]:
    """The songs that can be heard, newest generation first, as plain values."""
    stored = frame[frame["path"].notna() & frame["trashed_at"].isna()]
    order = ["intended_at", "key", "submission", "take"]
    ordered = stored.sort_values(order, ascending=[False, True, True, True])
    text = ordered.to_json(orient="records", date_format="iso", double_precision=15)
    found: list[dict[str, Any]] = json.loads(text or "[]")
    return found


def songs_to_send(
    rows: Sequence[Mapping[str, Any]], waveforms: Mapping[str, str], *, judged: bool
) -> list[dict[str, Any]]:
    """What the page knows of each song: a card as the room has it, and its files."""
    songs: list[dict[str, Any]] = []
    covers: dict[str, str] = {}
    groups: dict[tuple[str, int], int] = {}
    for number, row in enumerate(rows, 1):
        cover = row["cover_path"]
        if cover is not None:
            covers.setdefault(cover, f"{COVERS}/{number:04}{_ending(cover, '.jpg')}")
        fields = {name: row[f"request.{name}"] for name in REQUEST_COLUMNS}
        family = FAMILIES.get(row["family"] or "")
        compared = {name: fields.get(name) for name in (() if family is None else family.compared_fields)}
        songs.append(
            {
                "id": number,
                **{name: row[name] for name in _PLAIN},
                **{name: row[name] if judged else None for name in _JUDGED},
                "song_id": _public(row["song_id"]) if row["audio_sha256"] else row["song_id"],
                "parent_song_id": _public(row["parent_song_id"]),
                "group": groups.setdefault((row["key"], row["submission"]), len(groups)),
                "state": "stored",
                "stored": True,
                "joined": row["whole_path"] is not None,
                "error": None,
                "note": None,
                "cost": None,
                "model": fields["model_type"],
                "tags": [tag for tag in (row["tags"] or "").split(", ") if tag],
                "lyrics": row["song_lyrics"],
                "request": {"prompt": fields["prompt"]},
                "chosen": chosen_fields({"family": row["family"], **fields}, compared),
                "loudness": row["loudness_lufs"],
                "measures": {
                    **{name: row[name] for name in FROM_MEASURES},
                    "waveform": waveforms.get(row["audio_sha256"] or "", ""),
                },
                "audio": f"{AUDIO}/{number:04}{_ending(row['whole_path'] or row['path'], '.mp3')}",
                "cover": None if cover is None else covers[cover],
            }
        )
    by_id = {row["song_id"]: song for song, row in zip(songs, rows, strict=True)}
    for song, row in zip(songs, rows, strict=True):
        parent = by_id.get(row["parent_song_id"]) if row["parent_song_id"] else None
        song["parent"] = parent and {"id": parent["id"], "title": parent["title"]}
    return songs


def page_of(songs: list[dict[str, Any]]) -> str:
    """The page with everything in it but the songs' sound and pictures.

    Texts come from strangers: they are data of a script that does not run, in which no `<` is left, and a policy lets
    only the page's own script run.
    """
    named = [[song["audio_sha256"], song["gateway"], song["song_id"], song["take"]] for song in songs]
    page = hashlib.sha256(json.dumps(named).encode("utf-8", "replace")).hexdigest()[:32]
    script = "\n" + bundle("sent/page.js", {"api.js": "sent/api.js"})
    style = "\n" + "".join(asset(name) for name in ("room.css", "desk.css", "sent/sent.css"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src 'self' file:; "
        "media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    data = json.dumps({"page": page, "songs": songs}, ensure_ascii=False, separators=(",", ":"))
    parts = {
        "policy": policy,
        "style": style,
        "data": data.replace("<", "\\u003c"),
        "script": script,
    }
    text = asset("sent/page.html")
    before, *rest = text.split("{{ ")
    return before + "".join(parts[name] + after for name, _, after in (one.partition(" }}") for one in rest))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _public(song_id: str | None) -> str | None:
    """A song's id at its gateway, unless it is the path of a file there."""
    return None if song_id is None or re.search(r"[/\\]", song_id) else song_id


def _ending(path: str, otherwise: str) -> str:
    """The ending of a stored file's name; only a plain one is taken over."""
    ending = path.rpartition(".")[2].lower()
    return f".{ending}" if ending.isascii() and ending.isalnum() and len(ending) <= 4 else otherwise


def _copy(path: str, target: Path) -> None:
    """Copy a stored file; a song without its tags, which name the account and the gateway's address."""
    with (
        replacing(target) as draft,
        as_os_error("the copy failed", path),
        open_file(path) as source,
        draft.open("wb") as copy,
    ):
        if target.parent.name == AUDIO:
            hash_range(source, *audio_span(source), copy_to=copy)
        else:
            shutil.copyfileobj(source, copy)
