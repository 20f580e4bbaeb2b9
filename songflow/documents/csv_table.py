"""Write a frame as CSV: every reader finds the same rows, and no spreadsheet runs a text.

Every text is quoted: an unquoted carriage return ends a row for some readers. Titles, lyrics and prompts come from
strangers, too, and spreadsheets run a cell that begins with `=`, `+`, `-` or `@`: a leading apostrophe prevents that.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

__all__ = ["csv_bytes", "guarded_text"]

# The signs and their full-width forms, behind blanks that a spreadsheet may skip; also a leading tab or line end.
_RUNS = re.compile(r"[\t\r\n]|[\s\ufeff\u200b]*'*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_PLAIN_NAME = re.compile(r"[\w.]+")
_MISSING = "missing"


def csv_bytes(frame: pandas.DataFrame, *, guard: bool = True) -> bytes:
    """A frame as CSV in UTF-8 with line feeds: texts quoted, numbers and times plain, missing values empty.

    Args:
        guard: Put an apostrophe before texts that a spreadsheet would run.
    """
    columns = [_cells(frame[name], guard) for name in frame.columns]
    head = [str(name) if _PLAIN_NAME.fullmatch(str(name)) else _quoted(str(name)) for name in frame.columns]
    lines = [",".join(head), *map(",".join, zip(*columns, strict=True))]
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def guarded_text(text: str) -> str:
    """A text with an apostrophe before what a spreadsheet would run; without that apostrophe it is the text again."""
    return f"'{text}" if _RUNS.match(text) else text


def _cells(column: pandas.Series[Any], guard: bool) -> list[str]:
    from pandas.api.types import is_datetime64_any_dtype, is_numeric_dtype

    if is_numeric_dtype(column.dtype) or is_datetime64_any_dtype(column.dtype):
        # A row with a single empty cell would be quoted.
        plain = column.to_csv(index=False, header=False, na_rep=_MISSING, lineterminator="\n").split("\n")
        return ["" if cell == _MISSING else cell for cell in plain[: len(column)]]
    texts = column.astype(object)
    return [
        "" if missing else _quoted(guarded_text(str(text)) if guard else str(text))
        for text, missing in zip(texts, texts.isna(), strict=True)
    ]


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
