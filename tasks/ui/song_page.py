"""The page of a whole song in Prefect's UI, and the page that asks which take to continue from."""

from __future__ import annotations

from collections.abc import Sequence

from songflow.documents.text import counted
from songflow.generation.results import SongResult
from songflow.ledger.rows import Song
from songflow.recipes.answers import Question
from songflow.recipes.results import Piece, WholeSong
from songflow.settings import amount
from tasks.ui.links import NO_LINKS, FormLinks
from tasks.ui.markdown import escape, table, web_link

__all__ = ["question_page", "song_page"]


def song_page(whole: WholeSong, unit: str, links: FormLinks = NO_LINKS) -> str:
    """The whole songs, and the tree of the generations that led to them; prices are in the library's unit."""
    parts = [
        f"# {escape(whole.recipe)}",
        f"{counted(len(whole.stored), 'whole song')}, {counted(len(whole.steps), 'generation')}, "
        f"{amount(whole.price, unit)}. "
        f"Key: {escape(whole.key)}.",
        *filter(None, (links.more(),)),
    ]
    if whole.songs:
        parts += [
            "## The songs",
            table(("title", "length", "hear it"), (_song_row(song, links) for song in whole.songs)),
        ]
    rows = [row for piece in whole.steps for row in _piece_rows(piece)]
    parts += [
        "## How it was made",
        table(("step", "take", "title", "length", "goes on", "hear it", "note"), rows),
    ]
    return "\n\n".join(parts)


def question_page(question: Question) -> str:
    """The takes to choose from, with title, length, measures and a link to each."""
    lines = [f"Which take of **{escape(question.path)}** shall the song go on with?"]
    if question.trouble is not None:
        lines.append(f"The last answer could not be carried out: {escape(question.trouble.message)}")
    rows = [(str(take.number), *_measured(take.song)) for take in question.takes]
    heads = ("take", "title", "length", "loudness", "holds its source", "hear it")
    # The form is narrow: leave out empty columns.
    filled = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    lines += [
        table([heads[column] for column in filled], ([row[column] for column in filled] for row in rows)),
        f"Without an answer within {question.timeout:g} s it goes on with take {question.fallback.number}.",
    ]
    return "\n\n".join(lines)


def _measured(song: Song) -> tuple[str, ...]:
    return (
        escape(song.title or "untitled"),
        _seconds(song.seconds if song.seconds is not None else song.announced_seconds),
        f"{song.rms_db:.1f} dBFS" if song.rms_db is not None else "",
        f"{song.source_score:.2f}" if song.source_score is not None else "",
        web_link("listen", song.song_url) or _place(song.path) or "nowhere",
    )


def _song_row(song: SongResult, links: FormLinks) -> Sequence[str]:
    places = (_place(song.path), links.extend(song.song_id)) if song.path else ("not stored",)
    return escape(song.title or "untitled"), _seconds(song.duration), " · ".join(filter(None, places))


def _piece_rows(piece: Piece) -> Sequence[Sequence[str]]:
    by = escape(piece.chosen_by or "")
    if not piece.songs:
        return [(escape(piece.path), "", escape(piece.state), "", "", "", "")]
    return [
        (
            escape(piece.path),
            str(number),
            escape(song.title or "untitled"),
            _seconds(song.duration),
            by if song.song_id in piece.chosen else "",
            _place(song.path) or "",
            escape(song.error or ""),
        )
        for number, song in enumerate(piece.songs, start=1)
    ]


def _seconds(value: float | None) -> str:
    return f"{value:.1f} s" if value is not None else "unknown"


def _place(path: str | None) -> str | None:
    """A link if the store has http(s) addresses, else the file's path as text."""
    return (web_link("stored", path) or escape(path)) if path else None
