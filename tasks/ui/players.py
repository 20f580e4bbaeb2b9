"""Players for pages in Prefect's UI: a preview of each take with its waveform and cover, embedded in the page.

Prefect keeps a page in its database, and sends it with every list of artifacts: so a page has at most
`MOST_PAGE_BYTES`, and takes without room get no player. Prefect's V2 UI leaves out `<audio>` and shows what is inside
the element: a link to a page of its V1 UI, where the same page plays.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from songflow.audio.preview import Preview, make_preview
from songflow.audio.waveform import HEIGHT, WIDTH, waveform_svg
from songflow.errors import InvalidEnvironment
from songflow.families.family import Mode
from songflow.ledger.rows import Song
from songflow.library.cover_thumbnails import cover_thumbnail
from songflow.library.source_check import seam_of
from songflow.runtime.remote_files import open_file
from songflow.settings import PageSettings
from tasks.ui.markdown import escape

__all__ = ["MOST_HEARD", "MOST_PAGE_BYTES", "MOST_ROW_BYTES", "Players", "page_settings", "with_players"]

log = logging.getLogger(f"songflow.{__name__}")

MOST_PAGE_BYTES = 1_000_000
"""The most bytes of a page with everything that is embedded in it: eight players of 20 s with covers."""

MOST_HEARD = 8
"""The most songs that a page of many plays."""

MOST_ROW_BYTES = MOST_PAGE_BYTES // 4
"""The most bytes of the table of such a page."""

# A page of a run that is being terminated has 20 s in all.
_MAKING_SECONDS = 12.0
# The part of an extension around its seam: so much of the preview is the new part.
_NEW_SHARE = 0.75
_FULL = "No player: this page has no room for another."
_LATE = "No player: there was no time to make it."


@dataclass(frozen=True, slots=True)
class Players:
    """The players of a page, by the row ids of their songs.

    Attributes:
        settings: What pages embed and link.
        blocks: HTML or text for each song, on one line.
        otherwise: The text for a stored song that has no block.
    """

    settings: PageSettings = field(default_factory=PageSettings)
    blocks: Mapping[int, str] = field(default_factory=dict)
    otherwise: str = ""

    def of(self, song: Song) -> str:
        """A block of Markdown with the player of a song; empty if it is not stored."""
        return self.blocks.get(song.id, self.otherwise) if song.path is not None else ""


def page_settings() -> PageSettings:
    """The settings of pages; the defaults, and a warning, where the environment's cannot be used."""
    try:
        return PageSettings.from_environment()
    except InvalidEnvironment as error:
        log.warning("%s The pages use the default.", error.message)
        return PageSettings()


async def with_players(page: Callable[[Players], str], songs: Iterable[Song], v1_url: str) -> str:
    """Write a page with players for as many songs as it has room for. Never raises because of a song.

    Args:
        page: Writes the page; it may be called several times.
        songs: The songs, the most important ones first.
        v1_url: The same page in Prefect's V1 UI, which plays, for its V2 UI, which does not (see `tasks.ui.links`).
    """
    settings = page_settings()
    if not settings.preview_seconds:
        return page(Players(settings))
    room = MOST_PAGE_BYTES - len(page(Players(settings, otherwise=_FULL)).encode())
    stored = {song.id: song for song in songs if song.path is not None}
    blocks: dict[int, str] = {}
    otherwise = _FULL
    try:
        async with asyncio.timeout(_MAKING_SECONDS):
            for song in stored.values():
                block = await asyncio.to_thread(_block, song, settings.preview_seconds, v1_url)
                room -= len(block)
                if room < 0:
                    break
                blocks[song.id] = block
    except TimeoutError:
        log.warning(
            "There was no time for the players of %d songs; they are stored.", len(stored) - len(blocks)
        )
        otherwise = _LATE
    return page(Players(settings, blocks, otherwise))


def _block(song: Song, seconds: float, v1_url: str) -> str:
    """The player of a stored song, or why it has none."""
    try:
        with open_file(song.path or "") as file:
            preview = make_preview(file, seconds=seconds, start=_start(song, seconds))
    except Exception as error:  # the song is stored, and its page is only for looking at
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        log.warning("'%s' has no player in Prefect (%s); it is stored.", song.title, reason)
        return f"No player: {escape(reason, 120)}."
    return _html(preview, _cover(song), v1_url)


def _html(preview: Preview, cover: bytes | None, v1_url: str) -> str:
    """One line of HTML: Prefect's UIs read it as a whole, so that it needs no blank line inside."""
    waveform = _data_uri("image/svg+xml", waveform_svg(preview).encode())
    picture = _data_uri("image/jpeg", cover) if cover is not None else None
    end = preview.start + preview.seconds
    part = f"{_clock(preview.start)} to {_clock(end)} of {_clock(preview.song_seconds)}"
    sound = (
        f'<img alt="Waveform" width="{WIDTH}" height="{HEIGHT}" src="{waveform}"><br>'
        f'<audio controls preload="metadata" src="{_data_uri("audio/mpeg", preview.mp3)}">'
        f'<a href="{v1_url}">To play it, open this in Prefect\'s V1 UI</a></audio>'
    )
    if preview.seconds < preview.song_seconds:
        sound += f" {part}"
    left = f'<td><img alt="Cover" width="{HEIGHT}" height="{HEIGHT}" src="{picture}"></td>' if picture else ""
    return f"<table><tr>{left}<td>{sound}</td></tr></table>"


def _start(song: Song, seconds: float) -> float:
    """Where a preview begins: an extension's is around its seam, most of it in the new part."""
    seam = seam_of(song)
    if seam is None:
        return 0.0
    return seam - seconds * (_NEW_SHARE if song.mode == Mode.PRECEDE else 1 - _NEW_SHARE)


def _cover(song: Song) -> bytes | None:
    if song.cover_path is None:
        return None
    try:
        return cover_thumbnail(song.cover_path)
    except Exception as error:
        log.info("A cover is not shown in Prefect (%s).", getattr(error, "strerror", None) or error)
        return None


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
