"""`songflow rate`, `keep`, `discard`, `finish` and `import`, as a person types them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
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


def test_songs_are_kept_and_discarded_with_notes(shell: Any, gateways: Any, to: Any) -> None:
    """Under the person's name; each can be undone, and a file of somebody else's judgements is taken in once."""
    made = shell.run("generate", "a waltz", *to(gateways())).json["songs"]
    first, second = (song["song_id"] for song in made)
    assert shell.run("keep", first, second).out.count(": keep\n") == 2
    assert " keep " in shell.run("songs").out
    [kept] = shell.run("discard", first, "--json", env={"SONGFLOW_USER": "Ann"}).json["songs"]
    assert (kept["decision"], kept["decided_by"]) == ("discard", "Ann")
    assert shell.run("discard", first, "--undo").out.endswith(": keep\n")
    assert shell.run("discard", first, "--trash").out.endswith(": discard, in the trash\n")
    assert shell.run("songs", "--where", "trashed_at > '2020'", "--json").json["songs"][0]["song_id"] == first
    assert shell.run("discard", first, "--undo").out.endswith(": keep\n")
    long = shell.run("rate", first, "4", "--notes", "x" * 10_001, "--json")
    assert (long.code, "nothing was changed" in long.json["next"]) == (2, True)
    assert shell.run("rate", first, "--notes", "soft").out.endswith(": no rating, with notes\n")
    shown = shell.run("songs", "--where", "'soft' in notes and decision == 'keep'", "--json").json["songs"]
    assert [(row["song_id"], row["notes"]) for row in shown] == [(first, "soft")]
    finish = ("finish", first, "--format", "wav", "--fade-out", "0.2", "--json")
    assert shell.run(*finish).json["finished"] == shell.run(*finish).json["finished"]
    assert [file.suffix for file in (shell.library / "audio" / "finished").iterdir()] == [".wav"]
    assert shell.run("finish", first, "--loudness", "3", "--json").code == 2
    assert shell.run("discard", second, "--trash").out.endswith(": discard, in the trash\n")
    song = {"gateway": shown[0]["gateway"], "song_id": second}
    one = {"id": "0f8c6a52", "at": "2026-05-01T12:00:00Z", "kind": "rating", "value": 4, "song": song}
    later = datetime.now(UTC).isoformat()
    two = {**one, "id": "77aa01bd", "at": later, "kind": "decision", "value": "keep"}
    (shell.folder / "ann.json").write_text(
        json.dumps({"songflow_judgements": 1, "by": "Ann", "judgements": [one, two]})
    )
    assert shell.run("import", "ann.json", "--json").json == {"recorded": 2, "known": 0, "unknown": {}}
    assert shell.run("songs", "--where", "trashed_at > '2020'", "--json").json["songs"] == []
    assert shell.run("import", "ann.json").out == "0 judgements taken in, 2 known before.\n"
    assert ratings(shell) == [None, 4]
    assert shell.run("rate", second, "--undo").out.endswith(": no rating\n")
    for wrong in (["keep"], ["discard", first, "x"], ["import", "none.json"], ["rate", first, "3", "--undo"]):
        assert shell.run(*wrong, "--json").code == 2
