"""Render a report as one HTML file with embedded plots, links to the songs by relative path, and no network access.

Titles and prompts are untrusted input: the template escapes all text, and a content security policy allows only the
page's own script.
"""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from songflow.reports.best import BestCell, best_cells
from songflow.reports.effects import Effect, Mean
from songflow.reports.report import Report
from songflow.reports.sheet import number, short

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["effect_rows", "player_url", "render_page", "song_rows"]

MOST_SONGS = 500
"""Maximum number of rows in the page's table; the CSV has all of them."""

MOST_FIELDS = 5
"""Maximum number of varied fields that are columns of the page's table, which is as wide as the page."""


# A prompt may be a page long; the CSV has all of it.
_MOST_LETTERS = 120


def render_page(report: Report, folder: Path) -> str:
    """Render the page; links to songs are relative to `folder`."""
    script = _asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    songs = song_rows(report, folder)
    return _template().render(
        report=report,
        style=_asset("report.css"),
        script=script,
        policy=f"default-src 'none'; img-src data:; media-src 'self' file: http: https:; "
        f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        pictures=[(one.title, base64.b64encode(one.data).decode()) for one in report.pictures],
        effects=list(effect_rows(report.effects)),
        best=[_best(cell, folder) for cell in best_cells(report)],
        is_rated=bool(report.facts["rating"].notna().any()),
        headings=[
            *(field.name for field in report.fields[:MOST_FIELDS]),
            *(one.label for one in report.outcomes),
        ],
        left_out=len(report.fields[MOST_FIELDS:]),
        same=[one.phrase(number(value), value) for one, value in report.same],
        songs=songs[:MOST_SONGS],
        all_songs=len(songs),
    )


def effect_rows(effects: Iterable[Effect]) -> Iterable[dict[str, str]]:
    """Effects as table rows of text: field, outcome, strength, p-value, and where the mean is lowest and highest."""
    for effect in effects:
        if effect.strength is None:
            continue
        low, high = (choose(effect.means, key=lambda mean: mean.mean) for choose in (min, max))
        sign = {1: "+", -1: "\N{MINUS SIGN}", 0: ""}[effect.direction]
        yield {
            "field": effect.field.name,
            "outcome": effect.outcome.label,
            "strength": f"{sign}{effect.strength:.2f}",
            "p": "" if effect.p_value is None else f"{effect.p_value:.2g}",
            "lowest": _at(low),
            "highest": _at(high),
            "generations": str(effect.count),
        }


def _at(mean: Mean) -> str:
    spread = "" if math.isnan(mean.low) else f" ({number(mean.low)} to {number(mean.high)})"
    return f"{number(mean.mean)}{spread} at {short(mean.label)}"


def song_rows(report: Report, folder: Path) -> list[dict[str, Any]]:
    """One table row per take, or per generation without takes, best rated first."""
    import pandas

    facts = report.facts.sort_values("rating", ascending=False, na_position="last", kind="stable")
    columns = [field.values(facts).tolist() for field in report.fields[:MOST_FIELDS]]
    columns += [facts[outcome.name].tolist() for outcome in report.outcomes]
    rows = []
    for place, row in enumerate(facts.to_dict("records")):
        values = [column[place] for column in columns]
        path = None if pandas.isna(row["path"]) else str(row["path"])
        rows.append(
            {
                "title": short(str(row["title"]), 80)
                if pandas.notna(row["title"])
                else f"no song: {row['state']}",
                "error": short(str(row["error"]), 120) if pandas.notna(row["error"]) else "",
                "url": player_url(path, folder),
                "song_id": str(row["song_id"]) if pandas.notna(row["song_id"]) else "",
                "key": str(row["key"]),
                "cells": [
                    (_cell(value), _sortable(value), isinstance(value, int | float)) for value in values
                ],
            }
        )
    return rows


def _best(cell: BestCell, folder: Path) -> dict[str, Any]:
    """A cell as texts: its rating, its varied fields, and its songs with players."""
    import pandas

    takes = "1 take" if cell.rated == 1 else f"{cell.rated} takes"
    return {
        "rating": f"{number(cell.rating)} of 5",
        "rated": takes,
        "key": cell.key,
        "fields": [(name, _cell(value)) for name, value in cell.fields if pandas.notna(value)],
        "songs": [
            {
                "title": short(str(song["title"]), 80) if pandas.notna(song["title"]) else "untitled",
                "stars": f"{number(song['rating'])} of 5" if pandas.notna(song["rating"]) else "not rated",
                "length": f"{song['seconds']:.1f} s" if pandas.notna(song["seconds"]) else "",
                "url": player_url(str(song["path"]), folder),
            }
            for song in cell.songs
        ],
    }


def player_url(path: str | None, folder: Path) -> str | None:
    """The link from a page in `folder` to a stored song: a relative path or http(s) URL; None for other stores."""
    if path is None or urlsplit(path).scheme in ("http", "https"):
        return path
    if "://" in path:
        return None
    relative = os.path.relpath(path, folder.resolve())
    return quote(Path(relative).as_posix())


def _cell(value: Any) -> str:
    import pandas

    if pandas.isna(value):
        return ""
    return number(float(value)) if isinstance(value, int | float) else short(str(value), _MOST_LETTERS)


def _sortable(value: Any) -> str:
    import pandas

    return "" if pandas.isna(value) else str(value)


def _asset(name: str) -> str:
    return files("songflow.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("report.html.j2"))
