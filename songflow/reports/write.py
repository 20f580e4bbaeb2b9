"""Write a report as a self-contained HTML page, a CSV table and PNG files."""

from __future__ import annotations

from pathlib import Path

from songflow.documents.csv_table import csv_bytes
from songflow.errors import InputError
from songflow.reports.page import render_page
from songflow.reports.report import Report

__all__ = ["write_report"]

HTML_NAME, TABLE_NAME = "report.html", "songs.csv"


def write_report(report: Report, folder: Path, *, formula_guard: bool = True) -> Path:
    """Write `report.html`, `songs.csv` and `plots/*.png` into a folder and return the path of the page.

    Files of an earlier report in the same folder are replaced.

    Args:
        formula_guard: In the table, put an apostrophe before texts that a spreadsheet would run.

    Raises:
        InputError: the folder cannot be written.
    """
    plots = folder / "plots"
    try:
        plots.mkdir(parents=True, exist_ok=True)
        for old in (*plots.glob("effect-*.png"), *plots.glob("heat-*.png"), *plots.glob("parallel.png")):
            old.unlink()
        for picture in report.pictures:
            (plots / f"{picture.name}.png").write_bytes(picture.data)
        (folder / TABLE_NAME).write_bytes(csv_bytes(report.facts, guard=formula_guard))
        page = folder / HTML_NAME
        page.write_text(render_page(report, folder), encoding="utf-8", newline="\n")
    except OSError as error:
        raise InputError(
            f"The report cannot be written to {folder}: {error.strerror or error}.",
            next="choose another --output.",
        ) from None
    return page
