"""Lineage of songs, as a page of Prefect's UI and as Prefect assets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from collections.abc import Sequence

from prefect.artifacts import acreate_markdown_artifact
from prefect.assets import Asset, AssetProperties

from songflow.catalog.lineage import Node, family_of, trees
from songflow.catalog.lineage_picture import lineage_png
from songflow.catalog.manifest import read_manifest
from songflow.documents.text import one_line
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.ledger.rows import Song, Submission
from tasks.ui.links import EXTEND, NO_LINKS, FormLinks, form_links
from tasks.ui.markdown import artifact_key, escape
from tasks.ui.pages import shown
from tasks.ui.players import MOST_PAGE_BYTES

__all__ = ["lineage_page", "show_lineage", "song_assets", "source_assets"]

_MOST_LINES = 300
# Half of a page: a page of Prefect has less room than a file.
_MOST_PICTURED = 50
# For the line that counts what is not listed.
_LAST_LINE_BYTES = 100
_LONGEST_ID = 200


async def show_lineage(session: Session, result: GenerationResult) -> None:
    """Draw the family of a generation's songs as a Markdown artifact; the ledger already has the data.

    Failures of Prefect or of the drawing are logged as warnings.
    """
    async with shown("The lineage", "the songs are stored"):
        ledger = session.library.ledger
        songs = await ledger.songs.of_key(result.key)
        root = next((song.root_song_id for song in songs if song.root_song_id), None)
        if root is None:
            return
        frame = await read_manifest(ledger, root_song_id=root)
        family = family_of(trees(frame), (song.song_id for song in songs))
        title = family[0].title if family else root
        page = await asyncio.to_thread(lineage_page, family, await form_links(EXTEND))
        await acreate_markdown_artifact(
            page,
            key=artifact_key(root, title, "lineage"),
            description=f"Where the songs of {escape(title, length=60)} come from.",
        )


def lineage_page(roots: Sequence[Node], links: FormLinks = NO_LINKS) -> str:
    """A family as Markdown: the picture embedded in the page, and its first songs as list items."""
    picture = base64.b64encode(lineage_png(roots, _MOST_PICTURED)).decode("ascii")
    page = [
        f"# {escape(roots[0].title if roots else 'Lineage')}",
        "",
        f"![The songs as a tree](data:image/png;base64,{picture})",
        "",
    ]
    room = MOST_PAGE_BYTES - len("\n".join(page).encode()) - _LAST_LINE_BYTES
    nodes = [step for root in roots for step in root.walk()]
    lines: list[str] = []
    for depth, node in nodes[:_MOST_LINES]:
        line = _line(depth, node, links)
        room -= len(line.encode()) + 1
        if room < 0:
            break
        lines.append(line)
    page += lines
    if len(lines) < len(nodes):
        page += ["", f"The first {len(lines)} of {len(nodes)} songs are listed."]
    return "\n".join(page)


def _line(depth: int, node: Node, links: FormLinks) -> str:
    parts = (
        f"**{escape(node.title)}**",
        escape(node.text),
        escape(node.song_id or ""),
        links.extend(node.song_id) if node.extendable else None,
    )
    return f"{'  ' * depth}- {' '.join(part for part in parts if part)}"


def song_assets(submission: Submission, songs: Sequence[Song]) -> list[Asset]:
    """The stored songs of a generation as Prefect assets: `songflow://GATEWAY/SONG_ID`."""
    return [
        _asset(
            submission,
            song.song_id,
            AssetProperties(
                name=one_line(song.title or song.song_id),
                description=one_line(f"{song.mode}, {song.seconds or 0:.1f} s: {song.path}", 500),
            ),
        )
        for song in songs
        if song.song_id is not None and song.path is not None
    ]


def source_assets(submission: Submission, songs: Sequence[Song]) -> list[Asset | str]:
    """The source songs of these songs, as the assets they depend on."""
    sources = {song.parent_song_id for song in songs if song.parent_song_id is not None}
    return [_asset(submission, source) for source in sorted(sources)]


def _asset(submission: Submission, song_id: str, properties: AssetProperties | None = None) -> Asset:
    """An id as part of an asset key; an id with characters that a key cannot contain is replaced by its hash."""
    plain = re.sub(r"[^A-Za-z0-9._~-]+", "-", song_id)[:_LONGEST_ID]
    if plain != song_id:
        plain = f"{plain}-{hashlib.sha256(song_id.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"
    return Asset(key=f"songflow://{submission.gateway}/{plain}", properties=properties)
