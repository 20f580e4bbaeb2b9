"""Names of families, models and gateways stand in their own rooms only, so that a new one touches no other file.

The rooms are songflow/families, songflow/gateways, songflow/simulator and blocks/. Recipes of the shelf are not
searched: each chooses a model, as a user's own recipe does. Neither are migrations, which never change.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from songflow.families.registry import FAMILIES, models
from songflow.gateways import DIALECTS

ROOT = Path(__file__).parents[3]
FOLDERS = ("songflow", "tasks", "flows", "deployments", "cli")
ROOMS = (
    "songflow/families",
    "songflow/gateways",
    "songflow/simulator",
    "songflow/recipes/shelf",
    "songflow/ledger/migrations/versions",
)
ENDINGS = {".py", ".yaml", ".html", ".js", ".css", ""}
COMMON = {"simulator", "lyrics"}  # words of their own


def pattern() -> re.Pattern[str]:
    """Finds every name as a word, or as a word of an identifier: `songs_of_suno`, `SunoRequest`, `KIE_KEY`."""
    names = {*FAMILIES, *models(), *(family.envelope for family in FAMILIES.values()), *DIALECTS} - COMMON
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    spelled = "|".join(re.escape(name).replace(r"\-", "[-_]?") for name in longest_first)
    return re.compile(rf"(?<![a-zA-Z])(?i:{spelled})(?![a-z])|(?<=[a-z])(?:{spelled.title()})(?![a-z])")


def test_no_line_elsewhere_names_a_family_a_model_or_a_gateway() -> None:
    """Texts, examples and lists are built from the registries."""
    searched, found = pattern(), []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in ENDINGS and path.is_file() and not name.startswith(ROOMS):
                lines = path.read_text(encoding="utf-8").splitlines()
                found += [f"{name}:{number}" for number, line in enumerate(lines, 1) if searched.search(line)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("from songflow.families import udio", True),
        ("SongRequest of SunoRequest", True),
        ("MyUdioRequest", True),
        ('variable = "OPENAI_HK_KEY"', True),
        ("/udio/fetch/{id}", True),
        ("model_type: [udio32-v1.5]", True),
        ("audio, AUDIO_URL and studio", False),
        ("a cookie for kiesel", False),
    ],
)
def test_the_search_finds_names_and_no_other_words(text: str, is_named: bool) -> None:
    """Words that contain a name are no names."""
    assert (pattern().search(text) is not None) == is_named
