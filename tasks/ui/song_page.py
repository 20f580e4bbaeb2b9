"""The page of a whole song in Prefect's UI, and the page that asks which take to continue from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from songflow.documents.text import counted
from songflow.ledger.rows import Song
from songflow.recipes.answers import Question
from songflow.recipes.results import Piece, WholeSong
from songflow.settings import amount
from tasks.ui.links import NO_LINKS, FormLinks
from tasks.ui.markdown import escape, table, web_link
from tasks.ui.players import Players
from tasks.ui.takes import length_of, length_text, stored_at, take_block

__all__ = ["question_page", "song_page", "songs_of"]


def song_page(
    whole: WholeSong,
    takes: Mapping[str, Sequence[Song]],
    players: Players,
    unit: str,
    links: FormLinks = NO_LINKS,
) -> str:
    """The whole songs, the tree of the generations that led to them, and their takes.

    Args:
        whole: The result.
        takes: The ledger's rows of each request key in it.
        players: Those of `songs_of`.
        unit: The library's, for prices.
        links: The forms to link to.
    """
    ends, others = _songs_of(whole, takes)
    parts = [
        f"# {escape(whole.recipe)}",
        f"{counted(len(whole.stored), 'whole song')}, {counted(len(whole.steps), 'generation')}, "
        f"{amount(whole.price, unit)}. "
        f"Key: {escape(whole.key)}.",
        *filter(None, (links.more(),)),
    ]
    if ends:
        parts += ["## The songs", *(_take(*one, players, links) for one in ends)]
    rows = [row for piece in whole.steps for row in _piece_rows(piece)]
    parts += ["## How it was made", table(("step", "take", "title", "length", "goes on", "note"), rows)]
    if others:
        parts += ["## The other takes", *(_take(*one, players, links) for one in others)]
    return "\n\n".join(parts)


def songs_of(whole: WholeSong, takes: Mapping[str, Sequence[Song]]) -> list[Song]:
    """The songs of a page, whole songs first."""
    ends, others = _songs_of(whole, takes)
    return [song for _, _, song in (*ends, *others)]


_Placed = tuple[Piece, int, Song]


def _songs_of(whole: WholeSong, takes: Mapping[str, Sequence[Song]]) -> tuple[list[_Placed], list[_Placed]]:
    """The whole songs and all other stored takes, each with its generation and its number there."""
    placed = [
        (piece, number, song)
        for piece in whole.steps
        for number, song in enumerate(takes.get(piece.key, ()), start=1)
        if song.path is not None
    ]
    paths = {song.path for song in whole.songs}
    return [one for one in placed if one[2].path in paths], [
        one for one in placed if one[2].path not in paths
    ]


def _take(piece: Piece, number: int, song: Song, players: Players, links: FormLinks) -> str:
    heading = f"{escape(song.title or 'untitled')} ({escape(piece.path)}, take {number})"
    return take_block(heading, song, players, links=links)


def question_page(question: Question, players: Players) -> str:
    """The takes to choose from, with title, length, measures and a link to each, and their players."""
    lines = [f"Which take of **{escape(question.path)}** shall the song go on with?"]
    if question.trouble is not None:
        lines.append(f"The last answer could not be carried out: {escape(question.trouble.message)}")
    rows = [(str(take.number), *_measured(take.song)) for take in question.takes]
    heads = ("take", "title", "length", "loudness", "holds its source", "hear it")
    # The form is narrow: leave out empty columns.
    filled = [column for column in range(len(heads)) if any(row[column] for row in rows)]
    blocks = [(take.number, players.of(take.song)) for take in question.takes]
    lines += [
        table([heads[column] for column in filled], ([row[column] for column in filled] for row in rows)),
        *(f"**Take {number}**\n\n{block}" for number, block in blocks if block),
        f"Without an answer within {question.timeout:g} s it goes on with take {question.fallback.number}.",
    ]
    return "\n\n".join(lines)


def _measured(song: Song) -> tuple[str, ...]:
    return (
        escape(song.title or "untitled"),
        length_of(song),
        f"{song.rms_db:.1f} dBFS" if song.rms_db is not None else "",
        f"{song.source_score:.2f}" if song.source_score is not None else "",
        web_link("listen", song.song_url) or stored_at(song.path) or "nowhere",
    )


def _piece_rows(piece: Piece) -> Sequence[Sequence[str]]:
    by = escape(piece.chosen_by or "")
    if not piece.songs:
        return [(escape(piece.path), "", escape(piece.state), "", "", "")]
    return [
        (
            escape(piece.path),
            str(number),
            escape(song.title or "untitled"),
            length_text(song.duration),
            by if song.song_id in piece.chosen else "",
            escape(song.error or ""),
        )
        for number, song in enumerate(piece.songs, start=1)
    ]
