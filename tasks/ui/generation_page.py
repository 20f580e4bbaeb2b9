"""The page of one generation in Prefect's UI."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from songflow.accounts import place_text
from songflow.ledger.rows import Song, Submission
from songflow.settings import amount
from tasks.ui.links import NO_LINKS, FormLinks
from tasks.ui.markdown import escape, table
from tasks.ui.players import Players
from tasks.ui.takes import take_block

__all__ = ["generation_page"]


def generation_page(
    submission: Submission,
    params: Mapping[str, Any],
    songs: Sequence[Song],
    players: Players,
    unit: str,
    links: FormLinks = NO_LINKS,
) -> str:
    """Its takes with players and links, the price in the library's unit, and the request."""
    stored = [song for song in songs if song.path is not None]
    more = links.more() if links.flow in ("generate-song", "extend-song") else None
    facts = {
        "state": submission.state,
        "billed": f"{submission.billed}, {amount(submission.price, unit)}",
        "gateway": place_text(submission.gateway, submission.base_url),
        "account": submission.account,
        "generation id": submission.any_id or "none",
        "request key": submission.key,
        "flow run": submission.runs.flow_run_id or "none",
    }
    return "\n\n".join(
        [
            f"# {escape(songs[0].title if songs and songs[0].title else 'Generation')}",
            " ".join(filter(None, (f"{len(stored)} of {len(songs)} takes are stored.", more))),
            *(
                take_block(
                    f"Take {song.take + 1}: {escape(song.title or 'untitled')}", song, players, links=links
                )
                for song in songs
            ),
            "## What it cost",
            table(("", ""), ((escape(name), escape(value)) for name, value in facts.items())),
            "## How it was asked for",
            table(("field", "value"), _param_rows(params)),
        ]
    )


def _param_rows(params: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in params.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        yield escape(name), escape(text)
