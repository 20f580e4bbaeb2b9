"""`songflow export`, as a person types it."""

from __future__ import annotations

from typing import Any

import pandas as pd


def test_songs_are_exported_without_overwriting(shell: Any, gateways: Any, to: Any) -> None:
    """A table and its files; a second time only with --force; a condition chooses."""
    made = shell.run("generate", "a waltz", *to(gateways())).json["songs"]
    shell.run("rate", made[0]["song_id"], "5")
    options = ("export", "--format", "audiofolder", "--audio", "copy", "-o", "out", "--where", "rating >= 4")
    run = shell.run(*options, "--json")
    assert (run.code, run.json["rows"], run.json["files"]) == (0, 1, 1)
    [row] = pd.read_json(run.json["table"], lines=True).to_dict("records")
    assert row["song_id"] == made[0]["song_id"]
    assert (shell.folder / "out" / row["file_name"]).read_bytes()[:3] == b"ID3"
    again = shell.run(*options, "--json")
    assert (again.code, "exists already" in again.json["error"]) == (2, True)
    forced = shell.run(*options, "--force")
    assert (forced.code, forced.out) == (0, "out/metadata.jsonl: 1 rows, 1 songs beside it.\n")
    own = ("--audio", "copy", "-o", str(shell.library), "--where", "rating == 5", "--force")
    inside = shell.run("export", *own, "--json")
    assert (inside.code, "has songs of the library" in inside.json["error"]) == (2, True)
    page = shell.run("export", "--format", "page", "-o", "page", "--where", "rating >= 4", "--json")
    assert (page.code, page.json["rows"], page.json["files"]) == (0, 1, 1)
    assert (shell.folder / "page" / "audio" / "0001.mp3").read_bytes()[:3] != b"ID3"
    linked = shell.run("export", "--format", "page", "-o", "linked", "--audio", "link", "--json")
    assert (linked.code, (shell.folder / "linked").exists()) == (2, False)


def test_an_export_of_nothing_is_bad_input(shell: Any) -> None:
    """And creates no library."""
    run = shell.run("export", "-o", "out", "--json")
    assert (run.code, shell.library.exists()) == (2, False)
