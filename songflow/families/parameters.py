"""The parameter groups of all families' requests, for flows, the command line and Python."""

from pydantic import ConfigDict

from songflow.families import suno_parameters
from songflow.families.ace_step_parameters import ExtensionMusic, Music
from songflow.families.udio_parameters import (
    ExtensionPlacement,
    ExtensionSound,
    Placement,
    Sound,
    inherited_text,
    request_text,
)

__all__ = [
    "Details",
    "ExtensionDetails",
    "ExtensionPlacement",
    "ExtensionSound",
    "Placement",
    "Sound",
    "inherited_text",
    "request_text",
]


class Details(Music, suno_parameters.Details):
    """What only some models take."""

    model_config = ConfigDict(title="Details")


class ExtensionDetails(ExtensionMusic, suno_parameters.ExtensionDetails):
    """What only some models take of an extension: most of all, where a song is continued."""

    model_config = ConfigDict(title="Details")
