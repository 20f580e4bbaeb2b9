"""Parameter groups of a Suno request: what only these models take, and how a song is continued."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from songflow.families.parameter_group import ParameterGroup
from songflow.families.suno import SunoRequest

__all__ = ["Details", "ExtensionDetails"]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


def _text(name: str) -> str:
    text = SunoRequest.model_fields[name].description
    assert text, f"every field of a request is described: {name}"
    return text


class Details(ParameterGroup):
    """What only some models take."""

    model_config = ConfigDict(title="Details")

    title: str | None = Field(
        default=None, title="Title", description=f"{_text('title')} Only for models that take one."
    )


class ExtensionDetails(ParameterGroup):
    """How a song is continued by models that begin at a second of it."""

    model_config = ConfigDict(title="Details")

    continue_at: Seconds | None = Field(default=None, title="Continue at", description=_text("continue_at"))
    title: str | None = Field(
        default=None, title="Title", description="The title of the new songs. Empty: as for the song itself."
    )
    source_generation_id: str | None = Field(
        default=None,
        title="Generation",
        description=f"{_text('source_generation_id')} Only for a song that is not in this library.",
    )
    join: Literal["local", "none"] = Field(
        default="local",
        title="Join",
        description="What to do with the new part: join it with the song in a further file, or not.",
    )

    def fields(self) -> dict[str, Any]:
        """The request's fields that are given."""
        return {name: value for name, value in self.given().items() if name != "join"}
