"""File names of songs from a template: one safe path segment each, unique to the take."""

from __future__ import annotations

import string
import unicodedata

from songflow.errors import LibraryError

__all__ = ["check_template", "file_name"]

_MAX_NAME_BYTES = 180
# A field's name, format and conversion: plain ones only, so that a template cannot ask for 10**9 spaces.
_TEMPLATE_FIELDS = {(name, "", None) for name in ("title", "song_id", "uid")}
# Devices on Windows, whatever ending follows.
_RESERVED_NAMES = {"CON", "PRN", "AUX", "NUL"} | {f"{port}{n}" for port in ("COM", "LPT") for n in range(10)}


def file_name(
    template: str, *, title: str | None, song_id: str | None, uid: str, ending: str = ".mp3"
) -> str:
    """A song's file name from a template of `{title}`, `{song_id}` and `{uid}`.

    The result is one path segment that every file system takes: it cannot leave its folder. `uid` is unique
    to the take and is added where the template leaves it out, so that two songs cannot meet in one name.

    Raises:
        LibraryError: the template names something else.
    """
    check_template(template)
    fields = {"title": _slug(title) or "untitled", "song_id": _slug(song_id) or "unknown", "uid": uid}
    stem = _slug(template.removesuffix(".mp3").format(**fields))
    if stem.partition(".")[0].rstrip().upper() in _RESERVED_NAMES:
        stem = f"_{stem}"
    if uid not in stem:
        stem = f"{stem}-{uid}" if stem else uid
    if len(stem.encode()) > _MAX_NAME_BYTES:
        head = stem.encode()[: _MAX_NAME_BYTES - len(uid) - 1].decode("utf-8", "ignore")
        stem = f"{head}-{uid}"
    return f"{stem}{ending}"


def check_template(template: str) -> None:
    """See that a name template can be used, before any money is spent on what it is to name.

    Raises:
        LibraryError: it names something else than `{title}`, `{song_id}` and `{uid}`.
    """
    try:
        fields = {place[1:] for place in string.Formatter().parse(template) if place[1] is not None}
    except ValueError:
        fields = {("", "", None)}
    if not fields <= _TEMPLATE_FIELDS:
        raise LibraryError(
            f"The name template {template!r} cannot be used.",
            next="write SONGFLOW_NAME_TEMPLATE with {title}, {song_id} and {uid} only.",
        )


def _slug(text: str | None) -> str:
    """Letters with their marks, digits, underscores, dashes, and dots inside; all else becomes single spaces."""
    plain = unicodedata.normalize("NFKC", text or "").encode("utf-8", "ignore").decode("utf-8")
    kept = (char if _is_kept(char) else " " for char in plain)
    return " ".join("".join(kept).split())[:120].strip(" .-")


def _is_kept(char: str) -> bool:
    # Many scripts write vowels as combining marks, which are no letters by themselves.
    return char.isalnum() or char in "_-." or unicodedata.category(char) in {"Mn", "Mc"}
