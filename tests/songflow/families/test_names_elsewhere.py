"""Names of families, models and gateways stand in their own rooms, and what others have of them does not grow.

The rooms are songflow/families, songflow/gateways, songflow/simulator and blocks/. What is elsewhere today is a choice
on the command line or in a form, an example in a text, or a migration.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from songflow.families.registry import FAMILIES, models
from songflow.gateways import DIALECTS

ROOT = Path(__file__).parents[3]
FOLDERS = ("songflow", "tasks", "flows", "deployments", "cli")
ROOMS = ("songflow/families", "songflow/gateways", "songflow/simulator")
COMMON = {"simulator"}  # a word of its own

ELSEWHERE = {
    "cli/demo.py": 1,
    "cli/options.py": 6,
    "cli/rebuild.py": 1,
    "cli/report.py": 1,
    "cli/setup.py": 1,
    "cli/simulate.py": 1,
    "songflow/__init__.py": 2,
    "songflow/api.py": 1,
    "songflow/ledger/migrations/versions/0003_song_metadata.py": 1,
    "songflow/parameters.py": 3,
    "songflow/settings.py": 1,
    "songflow/sweeps/spec.py": 1,
}
"""The most lines that name one, by file."""


def test_no_further_line_names_a_family_a_model_or_a_gateway() -> None:
    """A new one is added in its own rooms."""
    names = [*FAMILIES, *models(), *(family.envelope for family in FAMILIES.values())]
    names += [name for name in DIALECTS if name not in COMMON]
    spelled = "|".join(re.escape(name).replace(r"\-", "[-_]?") for name in names)
    pattern = re.compile(rf"(?<![a-z])(?:{spelled})", re.IGNORECASE)
    found: Counter[str] = Counter()
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(ROOMS):
                lines = path.read_text(encoding="utf-8").splitlines()
                found[name] += sum(pattern.search(line) is not None for line in lines)
    assert {name: count for name, count in found.items() if count > ELSEWHERE.get(name, 0)} == {}
    assert found["songflow/settings.py"] == 1, "the search finds what is there"
