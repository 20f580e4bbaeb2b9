"""The names of all families' models, as a type for forms and as a text for help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from songflow.families.registry import family_of_fields, models, song_families

__all__ = ["DEFAULT_MODEL", "ModelName", "models_text"]

if TYPE_CHECKING:
    ModelName = str
else:
    ModelName = Literal[tuple(models())]

DEFAULT_MODEL: str = family_of_fields({}).request.model_fields["model_type"].default
"""The model of a request that names none."""


def models_text() -> str:
    """Every model with the most seconds of new music that it makes, by family."""
    parts = [
        f"{family.name}: {', '.join(f'{name} ({model.seconds:g} s)' for name, model in family.models.items())}"
        for family in song_families()
    ]
    return "; ".join(parts)
