"""The parameters of several flows, as types that Prefect's forms show with texts and limits.

Texts are those of `SongRequest`, so a parameter means the same everywhere. Numbers are strict: a text is not a number,
and true is not 1. A parameter of a single flow is defined beside that flow; groups are in `songflow.parameters`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from blocks.credentials import GatewayBlock
from blocks.library import SongLibrary
from songflow import parameters
from songflow.accounts import Access
from songflow.families.model_names import ModelName, models_text
from songflow.families.parameters import request_text
from songflow.sweeps.run import MAX_CONCURRENCY


def described(title: str, text: str, **limits: Any) -> Any:
    """A parameter's title and description in a form, with pydantic's limits."""
    # Prefect overwrites `title` and `description` of a parameter, even with nothing; `json_schema_extra` it keeps.
    extra: dict[str, JsonValue] = {"title": title, "description": text}
    return Field(title=title, description=text, json_schema_extra=extra, **limits)


def of_request(name: str, title: str, **limits: Any) -> Any:
    """A field of the request, with the request's own text."""
    return described(title, request_text(name), **limits)


Prompt = Annotated[str, of_request("prompt", "Prompt", min_length=1)]
Lyrics = Annotated[str, of_request("lyrics", "Lyrics")]
LyricsType = Annotated[
    Literal["user", "instrumental", "generate"] | None,
    described(
        "Lyrics type",
        f"{request_text('lyrics_type')} Empty: 'user' if there are lyrics, else 'generate'.",
    ),
]
ModelType = Annotated[
    ModelName, described("Model", f"The model decides what a request takes. {models_text()}.")
]
NegativePrompt = Annotated[str, of_request("negative_prompt", "Negative prompt")]
Seed = Annotated[int, of_request("seed", "Seed", ge=-1, strict=True)]
Credentials = Annotated[
    GatewayBlock | None,
    described(
        "Credentials",
        "The account that pays, as a saved block. None: the gateway without a block, below; without either, the "
        "built-in simulator makes the songs, which costs nothing.",
    ),
]
Library = Annotated[
    SongLibrary | None,
    described("Library", "Where songs are stored. Empty: SONGFLOW_LIBRARY in the environment, else ./songs."),
]
Budget = Annotated[
    float | None, described("Budget", parameters.BUDGET_TEXT, ge=0, allow_inf_nan=False, strict=True)
]
Concurrency = Annotated[
    int,
    described(
        "Concurrency",
        "Generations at the gateway at once, in all shards together; fewer if it answers that these are too many.",
        ge=1,
        le=MAX_CONCURRENCY,
        strict=True,
    ),
]


class _BlockFallbacks(parameters.Safety):
    """Fallback accounts as blocks, which only a flow can have, before those in the environment."""

    fallbacks: list[GatewayBlock] = Field(
        default=[],
        title="Fallbacks",
        description="Accounts to try next, each only if the one before has certainly not billed. They come before "
        "the fallback gateways.",
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_plain(cls, value: Any) -> Any:
        """The same group without blocks is accepted, too."""
        return (
            value.model_dump()
            if isinstance(value, parameters.Safety) and not isinstance(value, cls)
            else value
        )

    def fallback_accounts(self) -> tuple[Access, ...]:
        return (*(block.get_access() for block in self.fallbacks), *super().fallback_accounts())


class SongSafety(_BlockFallbacks, parameters.KeyedSafety):
    """What is sent or paid for again, and under which key."""


class SweepSafety(_BlockFallbacks, parameters.SweepSafety):
    """What is sent or paid for again, and when a sweep stops."""


Account = Annotated[
    parameters.EnvironmentAccount | None,
    described(
        "Gateway without a block",
        "Instead of credentials: a gateway whose key is in the environment of the worker. Defaults: that of "
        "the deployment, if it has one, else the built-in simulator.",
    ),
]
Wait = Annotated[
    parameters.Waiting | None,
    described("Waiting", "How often to poll the gateway, and for how long. Defaults: chosen by Songflow."),
]
PaySafely = Annotated[
    SongSafety | None,
    described(
        "Safety",
        "The request key, and what is sent or paid for again. The defaults never pay twice.",
    ),
]
SweepSafely = Annotated[
    SweepSafety | None,
    described(
        "Safety",
        "What is sent or paid for again, and when the sweep stops. The defaults never pay twice.",
    ),
]
