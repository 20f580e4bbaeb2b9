"""`songflow rate`, as a person types it."""

from __future__ import annotations

from typing import Any

import pytest


def ratings(shell: Any) -> list[float | None]:
    """The manifest's column."""
    return [row["rating"] for row in shell.run("songs", "--json").json["songs"]]


def test_a_rating_is_in_the_manifest(shell: Any, gateways: Any, to: Any) -> None:
    """By id and by file, reported as a sentence or as JSON; --clear removes it."""
    made = shell.run("generate", "a waltz", *to(gateways())).json["songs"]
    first, second = (song["song_id"] for song in made)
    rated = shell.run("rate", first, "4", "--json")
    assert (rated.code, rated.json["song_id"], rated.json["rating"]) == (0, first, 4)
    assert shell.run("rate", made[1]["path"], "2.5").out.endswith("(simulated): 2.5 of 5\n")
    assert ratings(shell) == [4, 2.5]
    assert shell.run("songs", "--where", "rating > 3", "--json").json["songs"][0]["song_id"] == first
    assert shell.run("rate", second, "--clear").out.endswith(": no rating\n")
    assert ratings(shell) == [4, None]
    wrong = shell.run("rate", first, "7", "--json")
    assert (wrong.code, ratings(shell)) == (2, [4, None])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x"], "The rating is missing"),
        (["x", "3", "--clear"], "both given"),
        (["x", "many"], "many"),
        (["x", "3"], "There is no library at"),
        ([], "SONG"),
    ],
)
def test_an_invalid_rating_is_bad_input(shell: Any, arguments: list[str], words: str) -> None:
    """Exit 2, and no library is created."""
    run = shell.run("rate", *arguments, "--json")
    assert run.code == 2
    assert words in run.json["error"]
    assert not shell.library.exists()
