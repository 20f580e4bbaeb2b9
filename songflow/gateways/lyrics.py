"""What the gateways' lyrics have in common: a body with a prompt, and texts in place of songs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from songflow.gateways.report import MAX_ERROR, ReportStatus, TakeReport, read_word, text_or_none

__all__ = ["LYRICS", "SUNO_LYRICS", "UDIO_LYRICS", "prompt_body", "read_text"]

LYRICS, SUNO_LYRICS, UDIO_LYRICS = "lyrics", "suno-lyrics", "udio-lyrics"


def prompt_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt of a canonical body, which is all that most gateways take."""
    return {"prompt": body[LYRICS]["prompt"]}


def read_text(given: Mapping[str, Any], stated: ReportStatus | None) -> TakeReport:
    """One text, as `{"id", "title", "text", "status"}`; it is finished when its own status says so, or its task's."""
    word = text_or_none(given.get("status"))
    status = read_word(word) or stated
    text = text_or_none(given.get("text"))
    ended = ReportStatus.SUCCEEDED in (status, stated)
    failed = status is ReportStatus.FAILED
    reason = text_or_none(given.get("errorMessage") or given.get("error_message"))
    error = (reason or ("the gateway reports an error" if failed else "the gateway gave no words"))[
        :MAX_ERROR
    ]
    return TakeReport(
        song_id=text_or_none(given.get("id")),
        title=text_or_none(given.get("title")),
        duration=None,
        song_path=None,
        finished=text is not None and ended and not failed,
        error=error if failed or (ended and text is None) else None,
        payload=given,
        lyrics=text,
        is_text=True,
    )
