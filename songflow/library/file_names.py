"""File names of songs from a template: one safe path segment each, unique to the take."""

from __future__ import annotations

import os
import string
import unicodedata

from songflow.errors import LibraryError

__all__ = ["check_template", "file_name"]

_MAX_NAME_BYTES = 180
# A field's name, format and conversion: only plain fields, since a format could pad to 10**9 spaces.
_TEMPLATE_FIELDS = {(name, "", None) for name in ("title", "song_id", "uid")}
# Device names on Windows, with any ending.
_RESERVED_NAMES = {"CON", "PRN", "AUX", "NUL"} | {f"{port}{n}" for port in ("COM", "LPT") for n in range(10)}


def file_name(
    template: str, *, title: str | None, song_id: str | None, uid: str, ending: str = ".mp3"
) -> str:
    """Build a song's file name from a template of `{title}`, `{song_id}` and `{uid}`.

    The result is one path segment that is valid on every file system: it cannot leave its folder. `uid` is unique
    to the take and is added if the template lacks it, so that two songs never share a name. Where this process's locale
    has no code for a letter, the name is in ASCII.

    Raises:
        LibraryError: the template has another field.
    """
    check_template(template)
    fields = {
        "title": _encodable(_slug(title)) or "untitled",
        "song_id": _encodable(_slug(song_id)) or "unknown",
        "uid": uid,
    }
    stem = _encodable(_slug(template.removesuffix(".mp3").format(**fields)))
    if stem.partition(".")[0].rstrip().upper() in _RESERVED_NAMES:
        stem = f"_{stem}"
    if uid not in stem:
        stem = f"{stem}-{uid}" if stem else uid
    if len(stem.encode()) > _MAX_NAME_BYTES:
        head = stem.encode()[: _MAX_NAME_BYTES - len(uid) - 1].decode("utf-8", "ignore")
        stem = f"{head}-{uid}"
    return f"{stem}{ending}"


def check_template(template: str) -> None:
    """Check a name template, before any payment for a song that needs a name.

    Raises:
        LibraryError: it has other fields than `{title}`, `{song_id}` and `{uid}`.
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
    """Keep letters with their marks, digits, underscores, dashes and inner dots; replace the rest by single spaces."""
    plain = unicodedata.normalize("NFKC", text or "").encode("utf-8", "ignore").decode("utf-8")
    kept = (char if _is_kept(char) else " " for char in plain)
    return " ".join("".join(kept).split())[:120].strip(" .-")


def _encodable(name: str) -> str:
    """The name itself if the encoding of file names has all of its letters, else what ASCII has of it."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return _slug(unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode())
    return name


def _is_kept(char: str) -> bool:
    # Many scripts write vowels as combining marks, which are not letters themselves.
    return char.isalnum() or char in "_-." or unicodedata.category(char) in {"Mn", "Mc"}
