"""The parameter groups of all families' requests, for flows, the command line and Python."""

from songflow.families.suno_parameters import Details, ExtensionDetails
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
