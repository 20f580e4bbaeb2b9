"""`songflow stitch`, with a gateway that returns only the new part."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import soundfile

from songflow.audio.alignment import find_source

QUICK = ("--poll-interval", "0.1", "--json")


@pytest.fixture
def parts(shell: Any, gateways: Any, to: Any) -> Any:
    """A core and its extension, of which the gateway returned only the new part; returns their songs."""

    def make(place: str, *, whole: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        server = gateways(whole_extensions=whole, clip_seconds=4.0)
        core = shell.run("generate", "a core", "--seed", "1", *to(server)).json["songs"][0]
        new = shell.run("extend", core["song_id"], "--place", place, *QUICK)
        assert new.code == 0, new.err
        return core, new.json["songs"][0]

    return make


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.mp3")}


@pytest.mark.parametrize(("place", "starts"), [("intro", 3.5), ("outro", 0.0)])
def test_a_new_part_and_its_source_become_a_whole_song(
    shell: Any, parts: Any, place: str, starts: float
) -> None:
    """It contains both; its parts are unchanged; the note names its file, and no row is added."""
    core, new = parts(place)
    before = shell.run("songs", "--json").json["songs"]
    [row] = [row for row in before if row["song_id"] == new["song_id"]]
    assert "it is not longer than its source" in row["note"]
    assert "`songflow stitch` joins them" in row["note"]
    assert row["source_score"] < 0.8
    sums = _sums(shell.library / "audio")
    run = shell.run("stitch", new["song_id"], "--json")
    assert run.code == 0, run.err
    made = run.json
    assert list(made) == ["song_id", "source", "path", "seconds", "seam", "overlap", "crossfade"]
    assert (made["song_id"], made["source"], made["overlap"]) == (new["song_id"], core["song_id"], 0)
    assert Path(made["path"]).parent == shell.library / "stitched"
    assert soundfile.info(made["path"]).duration == pytest.approx(7.5, abs=0.05)
    assert made["seconds"] == pytest.approx(7.5, abs=0.01)
    assert made["seam"] == pytest.approx(3.75, abs=0.01)
    match = find_source(Path(core["path"]), Path(made["path"]))
    assert match.share >= 0.75
    assert match.at == pytest.approx(starts, abs=0.1)
    assert _sums(shell.library / "audio") == sums
    after = shell.run("songs", "--json").json["songs"]
    assert len(after) == len(before)
    [row] = [row for row in after if row["song_id"] == new["song_id"]]
    assert row["note"].endswith(f"joined with {core['song_id']} by songflow stitch: {made['path']}")
    with soundfile.SoundFile(made["path"]) as file:
        assert file.title.endswith("(stitched)")
        assert "no gateway made this file" in file.comment
    again = shell.run("stitch", new["song_id"], "--json")
    assert again.json == made
    assert len(list((shell.library / "stitched").iterdir())) == 1
    [row] = [row for row in shell.run("songs", "--json").json["songs"] if row["song_id"] == new["song_id"]]
    assert row["note"].count("joined with") == 1


def test_source_and_output_files_can_be_given(shell: Any, parts: Any) -> None:
    """With another crossfade; an existing file is never overwritten."""
    core, new = parts("outro")
    options = ("--source", core["path"], "--crossfade", "1", "-o", "mine.mp3")
    made = shell.run("stitch", new["song_id"], *options, "--json")
    assert (made.code, made.json["path"]) == (0, str(shell.folder / "mine.mp3"))
    assert made.json["seconds"] == pytest.approx(7.0, abs=0.01)
    again = shell.run("stitch", new["song_id"], *options, "--json")
    assert again.code == 2
    assert "exists already" in again.json["error"]


def test_complete_songs_and_songs_that_cannot_be_joined_are_refused(shell: Any, parts: Any) -> None:
    """Exit 2 and one sentence, each time."""
    core, new = parts("intro", whole=True)
    for arguments, text in (
        ((new["song_id"],), "contains its source already"),
        ((core["song_id"],), "is not an extension"),
        (("nowhere",), "No stored song of this library has the id 'nowhere'"),
        ((new["song_id"], "--crossfade", "11"), "allowed are 0 to 10 s"),
        ((new["song_id"], "-o", "x.wav"), "The output is an mp3"),
        ((new["song_id"], "--source", "absent.mp3"), "cannot be joined: it cannot be decoded"),
        ((new["song_id"], "--library", str(shell.folder / "none")), "There is no library"),
    ):
        run = shell.run("stitch", *arguments, "--json")
        assert run.code == 2, arguments
        assert text in run.json["error"]
