"""Tables and trees at a terminal's width, and songs and requests named by the beginnings of their ids and keys."""

from __future__ import annotations

from typing import Any

import pandas
import pytest
from rich.cells import cell_len
from rich.console import Console

from cli.tables import id_length, manifest_table, squeezed, tree_lines
from songflow.catalog.lineage import trees
from songflow.catalog.manifest import empty_manifest

CORE = "7dfaad40-f500-50d0-96cf-55f6f84d76ba"
LIKE_IT = "7dfaad40-f5aa-50d0-96cf-55f6f84d76ba"


def row(**facts: Any) -> dict[str, Any]:
    """A row of the manifest; what is not given is missing."""
    usual = {
        "song_id": CORE,
        "title": "Lanterns before Silence (simulated)",
        "song_state": "stored",
        "state": "succeeded",
        "seconds": 32.81,
        "mode": "regular",
        "key": "song-1",
        "gateway": "simulator",
        "base_url": "http://simulator.invalid",
        "price": 1.0,
        "path": "/music/songs/audio/Lanterns before Silence simulated-e9fb1eb86d.mp3",
        "request.model_type": "udio32-v1.5",
        "request.prompt": "a waltz",
    }
    return {**dict.fromkeys(empty_manifest().columns), **usual, **facts}


ROWS = (
    row(rating=4.5),
    row(song_id="b1e2", title="夜の歌" * 20, mode="precede", parent_song_id=CORE, seconds=65.6),
    row(song_id=None, title=None, song_state=None, state="failed", seconds=None, path=None, error="no " * 60),
    row(
        song_id="c0ffee00-1", title="\x1b[31mred\u202e\n" + "x" * 90, song_state="failed", parent_song_id=CORE
    ),
    row(
        song_id="d15c", title="Part", mode="precede", parent_song_id="b1e2", source_score=0.99, source_at=32.8
    ),
)


def printed(width: int | None, rows: tuple[dict[str, Any], ...] = ROWS) -> list[str]:
    """The table's lines."""
    console = Console(width=10_000, soft_wrap=True)
    with console.capture() as capture:
        console.print(manifest_table(pandas.DataFrame(list(rows)), width))
    return capture.get().splitlines()


@pytest.mark.parametrize("width", [66, 80, 100, 160, 240])
def test_what_a_person_chooses_by_fits_every_terminal(width: int) -> None:
    """Title, length, model, rating, state and short id are on each line, whole but for the title."""
    heading, *lines = printed(width)
    assert all(cell_len(line.rstrip()) <= width for line in (heading, *lines))
    assert [
        name for name in ("title", "length", "model", "rating", "state", "id") if name not in heading
    ] == []
    assert ["32.8 s", "udio32-v1.5", "4.5", "succeeded", CORE[:8]] == [
        word for word in ("32.8 s", "udio32-v1.5", "4.5", "succeeded", CORE[:8]) if word in lines[0]
    ]
    assert lines[0].startswith("Lanterns")
    assert lines[2].startswith("(no song) a ")
    assert ("failed" in lines[2], "failed" in lines[3]) == (True, True)
    assert not {"\x1b", "\u202e"}.intersection("".join(lines))


def test_more_is_shown_where_it_fits_whole() -> None:
    """The file first; a cut path would be of no use."""
    [narrow, *_], [wider, line, *_] = printed(80), printed(180)
    assert ("file" in narrow, "file" in wider) == (False, True)
    assert ROWS[0]["path"] in line


def test_a_pipe_gets_every_column_in_full() -> None:
    """As `--wide` does in a terminal."""
    heading, *lines = printed(None)
    assert heading.split()[-5:] == ["model", "rating", "song", "id", "file"]
    assert all(word in lines[0] for word in (CORE, ROWS[0]["path"], ROWS[0]["title"], "32.81", "4.5"))
    assert "夜の歌" * 20 in lines[1]


def test_short_ids_tell_songs_apart() -> None:
    """They grow where two songs begin alike."""
    assert id_length([CORE, "b1e2", None]) == 8
    assert id_length([CORE, LIKE_IT]) == 12
    assert id_length([]) == 8


def test_a_plan_cuts_its_widest_fields_first() -> None:
    """And leaves out the last ones where even that is too wide."""
    columns = {"cell": ["1"], "prompt": ["p" * 40], "generation_quality": ["0.5"], "price": ["2"]}
    assert squeezed(columns, None, ("cell", "price")) == columns
    fitting = squeezed(columns, 60, ("cell", "price"))
    assert [*fitting] == ["cell", "prompt", "generation_quality", "price"]
    assert fitting["prompt"] == ["p" * 26 + "…"]
    fitting = squeezed(columns, 35, ("cell", "price"))
    assert sum(max(map(len, [name, *cells])) for name, cells in fitting.items()) == 29
    fitting = squeezed(
        {"cell": ["1"], **{f"field{n}": ["x"] for n in range(30)}, "price": ["2"]}, 40, ("cell", "price")
    )
    assert [*fitting] == ["cell", "field0", "field1", "field2", "price"]


@pytest.mark.parametrize("width", [60, 80, 160, None])
def test_a_tree_fits_with_its_ids(width: int | None) -> None:
    """Remarks and titles are cut, ids and placements are not."""
    lines = [line for root in trees(pandas.DataFrame(list(ROWS))) for line in tree_lines(root, width, 8)]
    texts = [
        f"{one.branch}{one.title}" + "".join(f"  {part}" for part in (one.text, one.song_id) if part)
        for one in lines
    ]
    assert width is None or max(map(cell_len, texts)) <= width
    assert lines[0].song_id == (CORE if width is None else CORE[:8])
    [part] = [line for line in lines if line.title.startswith("Part")]
    assert part.branch == "│   └── "
    assert part.text.startswith("precede, 32.8 s")


def test_the_beginning_of_an_id_names_a_song(shell: Any, gateways: Any, to: Any) -> None:
    """Where a song is named: rated, extended and joined; several matches are listed, with their titles."""
    made = shell.run("generate", "a waltz", *to(gateways(clip_seconds=0.25))).json["songs"]
    first, second = (song["song_id"] for song in made)
    rated = shell.run("rate", first[:8], "4", "--json").json
    assert (rated["song_id"], rated["rating"]) == (first, 4)
    extended = shell.run("extend", second[:6], "--prompt", "more", "--json", "--poll-interval", "0.1")
    assert extended.code == 0, extended.err
    rows = shell.run("songs", "--where", "depth == 1", "--json").json["songs"]
    assert {one["parent_song_id"] for one in rows} == {second}
    joined = shell.run("stitch", rows[0]["song_id"][:8], "--json")
    assert "contains its source already" in joined.json["error"]
    assert (
        shell.run("rate", first[:3], "4", "--json").json["error"]
        == f"This library has no song {first[:3]!r}."
    )
    unknown = shell.run("extend", "ffff0000", "--json")
    assert (unknown.code, "There is no song 'ffff0000'" in unknown.json["error"]) == (2, True)
