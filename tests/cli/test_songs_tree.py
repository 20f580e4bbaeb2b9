"""`songflow songs --tree`: the lineage of songs as text, as JSON and as a picture."""

from __future__ import annotations

from typing import Any

import pytest


def test_the_tree_as_text_as_json_and_as_a_picture(shell: Any, gateways: Any, to: Any) -> None:
    """Each song under the one that it extends."""
    server = gateways(clip_seconds=2.0)  # an extension is searched for its source
    core = shell.run("generate", "a core", *to(server)).json["songs"][0]
    intro = shell.run("extend", core["song_id"], "--place", "intro", "--json", "--poll-interval", "0.1").json
    table = shell.run("songs", "--tree")
    assert table.code == 0, table.err
    lines = table.out.splitlines()
    assert [line[:4] for line in lines[:3]] == [core["title"][:4], "├── ", "└── "]
    assert all("intro, 4.0 s, holds its source from 2.0 s" in line for line in lines[1:3])
    run = shell.run("songs", "--tree", "--picture", "tree.png", "--json")
    family, alone = run.json["trees"]
    assert [child["song_id"] for child in family["children"]] == [song["song_id"] for song in intro["songs"]]
    assert alone["children"] == []
    assert (shell.folder / "tree.png").read_bytes().startswith(b"\x89PNG")
    assert run.json["picture"] == str(shell.folder / "tree.png")
    assert (
        "Drew 3 songs" in shell.run("songs", "--picture", "tree.png").err
    )  # not the second core, which is alone
    some = shell.run("songs", "--tree", "--where", "depth == 1", "--json").json["trees"]
    assert [(root["known"], len(root["children"])) for root in some] == [(False, 2)]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--tree", "--format", "csv"), "show songs, not columns"),
        (("--picture", "tree.jpg"), "writes a PNG"),
        (("--picture", "nowhere/tree.png"), "cannot be written"),
        (("--tree", "--cost"), "--cost shows sums"),
    ],
)
def test_contradicting_options_are_bad_input(shell: Any, options: tuple[str, ...], text: str) -> None:
    """With what to do instead."""
    run = shell.run("songs", *options, "--json")
    assert run.code == 2
    assert text in run.json["error"]


def test_a_library_without_songs_has_no_trees(shell: Any) -> None:
    """And is not created."""
    run = shell.run("songs", "--tree", "--json")
    assert (run.code, run.json) == (0, {"trees": []})
    assert not shell.library.exists()
