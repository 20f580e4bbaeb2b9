"""Parameter groups of a Suno request: what only these models take, and how a song is continued."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from songflow.families.field_types import Join
from songflow.families.parameter_group import ParameterGroup, field_text
from songflow.families.suno import SunoRequest

__all__ = ["Details", "ExtensionDetails"]

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class Details(ParameterGroup):
    """What only some models take."""

    model_config = ConfigDict(title="Details")

    title: str | None = Field(
        default=None,
        title="Title",
        description=f"{field_text(SunoRequest, 'title')} Only for models that take one.",
    )


class ExtensionDetails(ParameterGroup):
    """How a song is continued by models that begin at a second of it."""

    model_config = ConfigDict(title="Details")

    continue_at: Seconds | None = Field(
        default=None, title="Continue at", description=field_text(SunoRequest, "continue_at")
    )
    title: str | None = Field(
        default=None, title="Title", description="The title of the new songs. Empty: as for the song itself."
    )
    source_generation_id: str | None = Field(
        default=None,
        title="Generation",
        description=f"{field_text(SunoRequest, 'source_generation_id')} Only for a song that is not in this library.",
    )
    join: Join = Field(
        default="local",
        title="Join",
        description="Who joins the new part with the song, into a further file: this machine, the gateway (a further "
        "request, which may be billed), or no one.",
    )

    def fields(self) -> dict[str, Any]:
        """The request's fields that are given."""
        return {name: value for name, value in self.given().items() if name != "join"}
