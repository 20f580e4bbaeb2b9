"""What docs/recipes.md says is what happens: its recipe is read, its commands are run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from songflow.recipes.model import MEASURES, Rule
from songflow.recipes.reading import recipe_of_text

TEXT = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
BLOCKS = [
    "\n".join(line[4:] for line in block.splitlines()) for block in re.findall(r"(?:^    .*\n)+", TEXT, re.M)
]
COMMANDS = [
    shlex.split(line)[1:] for block in BLOCKS for line in block.splitlines() if line.startswith("songflow ")
]


def yaml_block() -> str:
    """The document's recipe; an empty line ends an indented block, so its parts are put together."""
    [block] = [block for block in BLOCKS if block.startswith("name:")]
    return block


def test_the_recipe_of_the_document_is_one():
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


@pytest.fixture
def document(shell, gateways):
    """A folder with the file that the commands name, and the options of a quick gateway."""
    (shell.folder / "two.yaml").write_text(
        "variables: {prompt: }\n"
        'core: {prompt: "${prompt}", take: ask}\n'
        "steps:\n- {name: outro, place: outro, lyrics_type: instrumental}\n"
    )
    return ["--gateway", "cometapi", "--base-url", gateways().url, "--poll-interval", "0.1", "--json"]


def test_its_commands_do_what_it_says(shell, document):
    """In the order of the text: the shelf, a plan, a song, and a question that is answered in three steps."""
    codes = [
        shell.run(*command, *(document if "--list" not in command else ["--json"])).code
        for command in COMMANDS
    ]
    assert codes == [0, 0, 0, 5, 5, 0]
