"""`songflow sweep report` and `suggest`: in real processes after a sweep, without sending anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

SPEC = """
name: Waltzes
clarity_strength: 0.5
grid:
  prompt: [slow waltz, fast waltz]
random: {n: 2, seed: 1, fields: {prompt_strength: {from: 0, to: 1}}}
"""


@pytest.fixture
def swept(shell: Any, gateways: Any, to: Any, posts: Any) -> Any:
    """A completed sweep of four cells and another song; checks at the end that nothing was sent."""
    server = gateways(takes=1)
    (shell.folder / "waltzes.yaml").write_text(SPEC)
    options = to(server)
    assert shell.run("sweep", "run", "waltzes.yaml", *options).code == 0
    assert shell.run("generate", "no cell of it", *options).code == 0
    before = posts(server)
    yield shell
    assert posts(server) == before


def test_a_sweep_is_reported_on(swept: Any) -> None:
    """A page, pictures and a table: of its cells, of all songs without a spec, or of those that meet a condition."""
    run = swept.run("sweep", "report", "waltzes.yaml", "--output", "out", "--json")
    assert run.code == 0, run.err
    assert (run.json["generations"], run.json["songs"]) == (4, 4)
    assert sorted(run.json["fields"]) == ["prompt", "prompt_strength"]
    page = Path(run.json["report"])
    assert page == swept.folder.resolve() / "out" / "report.html"
    assert "<h1>Waltzes</h1>" in page.read_text()
    assert [Path(picture).read_bytes()[:4] for picture in run.json["pictures"]] == [b"\x89PNG"] * 4
    every = swept.run("sweep", "report", "-o", "all", "--no-measure", "--field", "prompt")
    assert (every.code, every.out) == (0, "all/report.html: 5 generations, 5 songs; varied: prompt.\n")
    part = swept.run(
        "sweep",
        "report",
        "-o",
        "part",
        "--no-measure",
        "--where",
        "`request.prompt` == 'slow waltz'",
        "--json",
    )
    assert (part.json["generations"], part.json["fields"]) == (2, ["prompt_strength"])


def test_the_next_cells_are_suggested_from_ratings(swept: Any) -> None:
    """As a spec that `plan` accepts; the same for the same ratings and seed."""
    songs = swept.run("songs", "--where", "`request.clarity_strength` == 0.5", "--json").json["songs"]
    for song in songs:
        stars = "5" if song["request.prompt"] == "slow waltz" else "1"
        assert swept.run("rate", song["song_id"], stars).code == 0
    run = swept.run("sweep", "suggest", "waltzes.yaml", "--count", "3", "-o", "next.yaml", "--json")
    assert run.code == 0, run.err
    assert (run.json["rated"], run.json["made"], len(run.json["cells"])) == (4, 4, 3)
    said = swept.run("sweep", "suggest", "waltzes.yaml", "--count", "3")
    assert said.out == run.json["spec"] == (swept.folder / "next.yaml").read_text()
    assert "3 cells to try next, from 4 rated of 4 made." in said.err
    assert yaml.safe_load(said.out)["list"] == run.json["cells"]
    plan = swept.run("sweep", "plan", "next.yaml", "--json").json
    assert (plan["cells"], plan["posts"]) == (3, 3)


@pytest.mark.parametrize("command", ["report", "suggest"])
def test_without_songs_there_is_no_report(shell: Any, command: str) -> None:
    """Exit 2, and no library is created; faults of a spec are reported first."""
    (shell.folder / "waltzes.yaml").write_text(SPEC)
    run = shell.run("sweep", command, "waltzes.yaml", "--json")
    assert (run.code, shell.library.exists()) == (2, False)
    assert "There is no library" in run.json["error"]
    (shell.folder / "bad.yaml").write_text("prompt: x\nspeed: 3\n")
    bad = shell.run("sweep", command, "bad.yaml", "--json")
    assert bad.code == 2
    assert "line 2: speed" in bad.json["error"]
