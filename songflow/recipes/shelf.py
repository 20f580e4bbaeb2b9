"""Find recipes: those shipped with Songflow, and a person's own files."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType
from typing import Any

from songflow.accounts import DEFAULT_PRICES
from songflow.documents.yaml_file import Fault, read_document, read_file, read_source
from songflow.errors import InputError
from songflow.recipes.model import Recipe
from songflow.recipes.reading import plain_document, read_recipe, recipe_of_text
from songflow.recipes.variables import Values

__all__ = ["described_recipe", "find_recipe", "portable", "shipped_names", "shipped_text"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _shelf() -> Traversable:
    return resources.files(__package__) / "shelf"


def shipped_names() -> list[str]:
    """The names of the shipped recipes."""
    return sorted(
        entry.name.removesuffix(".yaml") for entry in _shelf().iterdir() if entry.name.endswith(".yaml")
    )


def shipped_text(name: str) -> str:
    """The YAML of a shipped recipe, to read or to copy."""
    return (_shelf() / f"{name}.yaml").read_text(encoding="utf-8")


def described_recipe(name: str) -> dict[str, Any]:
    """A shipped recipe for display: `name`, `title`, `description`, `variables` (None: required)."""
    data = read_document(shipped_text(name), name).data
    return {
        "name": name,
        "title": data["name"],
        "description": data["description"],
        "variables": data.get("variables") or {},
    }


def find_recipe(
    recipe: str | Mapping[str, Any], given: Values = _NOTHING, prices: Mapping[str, float] = DEFAULT_PRICES
) -> Recipe:
    """Find a recipe by a shipped name, a file, YAML text, or plain data.

    Raises:
        InputError: there is no such recipe, or it cannot be read.
        InvalidDocument: with every fault and its line.
    """
    if not isinstance(recipe, str):
        return read_recipe(plain_document(recipe), given, prices)
    if "\n" in recipe:
        return recipe_of_text(recipe, "the recipe", given, prices)
    if recipe in shipped_names():
        return recipe_of_text(shipped_text(recipe), recipe, given, prices)
    twice: list[Fault] = []
    return read_recipe(read_file(_existing(recipe), twice=twice), given, prices, twice)


def portable(recipe: str) -> str:
    """A recipe in a form that another process can use: a shipped one by name, a file by its text."""
    if "\n" in recipe or recipe in shipped_names():
        return recipe
    return f"{read_source(_existing(recipe))}\n"


def _existing(name: str) -> Path:
    """The file of a recipe, also one that is missing but looks like a file: reading it says so.

    Raises:
        InputError: there is neither such a file nor such a name.
    """
    path = Path(name)
    if name.endswith((".yaml", ".yml")) or "/" in name or path.is_file():
        return path
    raise InputError(
        f"There is no recipe {name!r}.",
        next=f"give a file, or one of {', '.join(shipped_names())} (`songflow song --list`); nothing was sent.",
    )
