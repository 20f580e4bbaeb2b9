"""docs/recipes.md is correct: its recipe is valid and it names every measure (tests/docs runs its commands)."""

from __future__ import annotations

import re
from pathlib import Path

from songflow.library.review import MEASURES
from songflow.recipes.model import Rule
from songflow.recipes.reading import recipe_of_text

TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
BLOCKS = [
    "\n".join(line[4:] for line in block.splitlines()) for block in re.findall(r"(?:^    .*\n)+", TEXT, re.M)
]


def yaml_block() -> str:
    """The document's recipe; an empty line ends an indented block, so its parts are put together."""
    [block] = [block for block in BLOCKS if block.startswith("name:")]
    return block


def test_the_recipe_of_the_document_is_valid():
    recipe = recipe_of_text(yaml_block(), "docs/recipes.md", {"prompt": "a waltz"})
    assert [(step.name, step.source) for step in recipe.steps] == [
        ("core", None),
        ("intro", "core"),
        ("middle", "intro"),
        ("ending", "intro"),
    ]
    assert recipe.steps[0].take.rule is Rule.ASK


def test_every_measure_is_named():
    assert ", ".join(MEASURES) in TEXT
