"""The text files of an export: the card of a dataset, and lyrics beside songs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

__all__ = ["dataset_card", "lyrics_files"]

_CARD = """---
pretty_name: Songs made with Songflow
task_categories:
- text-to-audio
tags:
- music
- generated
---

# Songs made with Songflow

{songs} songs, {minutes} minutes in all, generated from text by {models}.

`metadata.jsonl` has a row for each song: `file_name`, the title, the lyrics that are sung, and the request that made it
(`request.prompt` and further fields). Load it with `load_dataset("audiofolder", data_dir="this folder")`.

Before you share them, read the terms of the services that made these songs: they say what you may do with them.
"""


def dataset_card(rows: pandas.DataFrame) -> str:
    """The README of a dataset of songs, as Hugging Face shows it."""
    models = sorted(set(rows["request.model_type"].dropna().astype(str)))
    minutes = rows["seconds"].fillna(rows["announced_seconds"]).fillna(0.0).sum() / 60
    return _CARD.format(
        songs=len(rows), minutes=f"{minutes:.1f}", models=", ".join(models) or "models that are not known"
    )


def lyrics_files(rows: pandas.DataFrame, names: Mapping[str, str]) -> dict[str, str]:
    """Each song's lyrics as text and as LRC, by the files' names.

    Gateways give lyrics without times, so the LRC has none; players show it as it is.

    Args:
        names: The name of each song's file in the export, by its path.
    """
    files: dict[str, str] = {}
    for path, title, lyrics in rows[["path", "title", "song_lyrics"]].astype(object).itertuples(index=False):
        if not isinstance(lyrics, str) or not lyrics.strip() or path not in names:
            continue
        stem = names[path].rpartition(".")[0]
        lines = "\n".join(lyrics.splitlines()) + "\n"
        called = f"[ti:{' '.join(title.split())}]\n" if isinstance(title, str) else ""
        files |= {f"{stem}.txt": lines, f"{stem}.lrc": called + lines}
    return files
