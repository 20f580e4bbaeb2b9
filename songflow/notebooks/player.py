"""Players for HTML: the sound of a stored file, embedded up to a number of bytes.

A file that is larger is embedded from its beginning, cut in its frames without decoding it.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from urllib.parse import urlsplit

from songflow.audio.mpeg import find_frames

__all__ = ["MOST_EMBEDDED_BYTES", "has_player", "player"]

MOST_EMBEDDED_BYTES = 2 * 1024 * 1024
"""Sound in one output of a notebook: in base64 2.8 MB, since Jupyter holds back more than 3 MB within 3 s."""

_TYPES = {
    ".mp3": "audio/mpeg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
}


def has_player(path: str | None) -> bool:
    """True if a stored song can be played from a notebook: a file on this machine, or an http(s) address."""
    return path is not None and ("://" not in path or _is_web(path))


def player(path: str, most_bytes: int = MOST_EMBEDDED_BYTES) -> str:
    """An audio element for a stored song, and a sentence where it is not the whole song. Never raises.

    Args:
        path: A file, whose sound is embedded, or an http(s) address, which the browser loads when it is played.
        most_bytes: The most bytes of sound to embed.
    """
    if _is_web(path):
        return f'<audio controls preload="none" src="{escape(path)}"></audio>'
    if not has_player(path):
        return "<small>This store's songs cannot be played here.</small>"
    try:
        data, note = _sound(Path(path), most_bytes)
    except (OSError, ValueError) as error:  # ValueError: no file can have this name
        reason = getattr(error, "strerror", None) or str(error)
        return f"<small>The file cannot be read ({escape(reason)}).</small>"
    if data is None:
        return f"<small>{note}</small>"
    kind = _TYPES.get(Path(path).suffix.lower(), "audio/mpeg")
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    small = f"<br><small>{note}</small>" if note else ""
    return f'<audio controls preload="metadata" src="{source}"></audio>{small}'


def _sound(path: Path, most_bytes: int) -> tuple[bytes | None, str]:
    """The bytes to embed (None: none can be), and what a person should know of them."""
    if path.stat().st_size <= most_bytes:
        return path.read_bytes(), ""
    with path.open("rb") as file:
        frames = find_frames(file)
        if frames is None:
            return None, "The file is too large to embed."
        start, end = frames.runs[0]
        file.seek(start)
        data = file.read(min(end - start, most_bytes))
    seconds = frames.seconds * len(data) / sum(last - first for first, last in frames.runs)
    return data, f"The first {seconds:.0f} s of {frames.seconds:.0f} s; the file has all of it."


def _is_web(path: str) -> bool:
    try:
        return urlsplit(path).scheme in ("http", "https")
    except ValueError:
        return False
