"""Lyrics as the gateways sell them apart from songs: texts from a prompt, the same for one task."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from songflow.simulator.answers import Report
from songflow.simulator.requests import Order, Strict
from songflow.simulator.synth.words import sung_lyrics

_LONGEST_TITLE = 40


class PromptBody(Strict):
    """The body of a submit at a relay."""

    prompt: str = Field(min_length=1)


def ordered(prompt: str, model_type: str) -> Order:
    """An order of texts, which have no takes to render."""
    return Order(prompt, model_type, takes=0)


def plain_params(prompt: str) -> dict[str, Any]:
    """The parameters that the texts are made from."""
    return {"prompt": prompt, "lyrics": "", "lyrics_type": "generate", "seed": -1}


def texts(report: Report, prompt: str, count: int = 1) -> list[Mapping[str, str]]:
    """The texts of a task that has succeeded, as `{"id", "title", "text", "status"}`; none before."""
    if report.status != "SUCCESS":
        return []
    title = f"{' '.join(prompt.split())[:_LONGEST_TITLE]} (simulated)"
    return [
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{report.task_id}/{number}")),
            "title": title,
            "text": sung_lyrics(plain_params(prompt), f"{report.task_id}/{number}"),
            "status": "complete",
        }
        for number in range(count)
    ]
