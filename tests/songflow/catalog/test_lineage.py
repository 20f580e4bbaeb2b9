"""Lineage trees of a manifest: which song extends which, for any ids."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from songflow.catalog.lineage import Node, families, family_of, one_line, trees
from songflow.catalog.lineage_picture import MOST_SONGS, lineage_png
from songflow.catalog.manifest import COLUMNS, empty_manifest

Manifest = Callable[..., pd.DataFrame]


@pytest.fixture
def manifest() -> Manifest:
    """A manifest of these rows; missing columns are those of a stored core."""

    def frame(*rows: dict[str, Any]) -> pd.DataFrame:
        usual = {
            **dict.fromkeys(COLUMNS),
            **{"mode": "regular", "song_state": "stored", "state": "succeeded", "seconds": 32.8},
            **{"gateway": "cometapi", "base_url": "http://g", "request.song_section_start": 0.0, "key": "k"},
        }
        full = [{**usual, "title": row.get("song_id"), **row} for row in rows]
        columns = {name: [row[name] for row in full] for name in COLUMNS}
        return pd.DataFrame({name: pd.Series(columns[name], dtype=dtype) for name, dtype in COLUMNS.items()})

    return frame


def extends(song_id: str | None, parent: str, place: str = "intro", **more: Any) -> dict[str, Any]:
    """The row of an extension."""
    mode, start = {"intro": ("precede", 0.0), "outro": ("continuation", 0.9), "odd": ("precede", 0.2)}[place]
    return {
        "song_id": song_id,
        "parent_song_id": parent,
        "mode": mode,
        "request.song_section_start": start,
        **more,
    }


def drawn(roots: list[Node]) -> list[str]:
    """One line per song, indented by its depth."""
    return [f"{'  ' * depth}{node.title} [{node.text}]" for root in roots for depth, node in root.walk()]


def test_songs_are_children_of_the_song_they_extend(manifest: Manifest) -> None:
    """In any order of rows; a core alone is a tree, too."""
    frame = manifest(
        extends("c", "b", "outro", seconds=98.4, source_score=1.0, source_at=0.0),
        {"song_id": "a"},
        extends("b", "a", seconds=65.6, source_score=0.97, source_at=32.8),
        extends("d", "b", "odd", source_score=0.3),
        {"song_id": "alone"},
    )
    found = trees(frame)
    assert drawn(found) == [
        "a [32.8 s]",
        "  b [intro, 65.6 s, holds its source from 32.8 s]",
        "    c [outro, 98.4 s, holds its source from 0.0 s]",
        "    d [precede at 0.2, 32.8 s, source found: 30%]",
        "alone [32.8 s]",
    ]
    assert [root.title for root in families(found)] == ["a"]
    assert [root.title for root in family_of(found, ["c", None])] == ["a"]
    assert family_of(found, [None]) == []
    assert found[0].as_dict()["children"][0]["children"][0]["song_id"] == "c"


def test_a_missing_source_has_one_placeholder(manifest: Manifest) -> None:
    """One for all songs that extend it."""
    found = trees(manifest(extends("b", "gone"), extends("c", "gone", "outro")))
    assert drawn(found) == [
        "song gone [not in this library]",
        "  b [intro, 32.8 s]",
        "  c [outro, 32.8 s]",
    ]
    assert not found[0].known


def test_ids_of_two_gateways_are_two_songs(manifest: Manifest) -> None:
    """A chain stays at its gateway."""
    there = {"gateway": "openai-hk"}
    found = trees(
        manifest(
            {"song_id": "a", "title": "mine"},
            {"song_id": "a", "title": "theirs", **there},
            extends("b", "a", **there),
        )
    )
    assert [(root.title, len(root.children)) for root in found] == [("mine", 0), ("theirs", 1)]


def test_malformed_ids_do_not_form_a_cycle(manifest: Manifest) -> None:
    """A song that extends itself, two that extend each other, and two with one id."""
    found = trees(
        manifest(extends("a", "a"), extends("b", "c"), extends("c", "b"), {"song_id": "d"}, {"song_id": "d"})
    )
    shown = [node.title for root in found for _, node in root.walk() if node.known]
    assert sorted(shown) == ["a", "b", "c", "d", "d"]


def test_a_generation_without_a_song_shows_the_reason(manifest: Manifest) -> None:
    """A failed take, one not stored yet, a generation without songs, which its prompt names (else its key)."""
    found = trees(
        manifest(
            {"song_id": "a"},
            extends("b", "a", song_state="failed", error="out of tune", seconds=None),
            extends("c", "a", song_state="announced", seconds=None, announced_seconds=65.6),
            extends(
                None,
                "a",
                **{"request.prompt": "a coda"},
                song_state=None,
                state="failed",
                error="moderated",
                seconds=None,
            ),
            extends(None, "a", song_state=None, state="running", seconds=None),
        )
    )
    assert drawn(found)[1:] == [
        "  b [intro, failed: out of tune]",
        "  c [intro, 65.6 s, not stored]",
        "  (no song) a coda [intro, failed: moderated]",
        "  (no song) k [intro, running]",
    ]


def test_what_failed_or_is_elsewhere_cannot_be_extended(manifest: Manifest) -> None:
    found = trees(
        manifest(
            {"song_id": "good"},
            {"song_id": "bad", "song_state": "failed", "error": "moderated"},
            {"song_id": None, "song_state": None},
            extends("child", "elsewhere"),
        )
    )
    assert [node.song_id for root in found for _, node in root.walk() if node.extendable] == ["good", "child"]


def test_an_empty_manifest_has_no_trees() -> None:
    """And its picture is drawn without an error."""
    assert trees(empty_manifest()) == []
    assert _size(lineage_png([]))[0] > 0


def test_titles_are_one_line() -> None:
    """Without control characters or marks that reorder text."""
    assert one_line("a\nb\t\x1b[31m\u202egnp  c") == "a b [31m gnp c"
    assert one_line("x" * 80, 10) == f"{'x' * 9}…"


def _size(png: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(png)) as image:
        assert image.format == "PNG"
        return image.size


def test_a_picture_has_a_row_for_each_leaf_and_a_column_for_each_depth() -> None:
    """For any branching."""
    core = Node(
        "a", "a", children=[Node("b", "b", children=[Node("c", "c"), Node("d", "d")]), Node("e", "e")]
    )
    one, whole = _size(lineage_png([Node("a", "a")])), _size(lineage_png([core]))
    chain = _size(lineage_png([Node("a", "a", children=[Node("b", "b")])]))
    assert chain[1] == one[1]
    assert (whole[0] - one[0]) == pytest.approx(2 * (chain[0] - one[0]), abs=2)
    assert whole[1] > 2 * one[1]


def test_a_picture_shows_titles_literally() -> None:
    """Formulas, markup, and scripts without an installed font; without a warning."""
    titles = ["$x_1^{", "<b>bold</b>", "\\frac{1}{0}$", "歌🎸", "a\nb", "%s {x}", ""]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _size(lineage_png([Node("a", title) for title in titles]))[1] > 300


def test_a_picture_shows_a_limited_number_of_songs() -> None:
    """Of ten thousand songs it shows some, and the number of the others."""
    many = [Node(str(number), str(number)) for number in range(10_000)]
    one = _size(lineage_png(many[:1]))[1]
    assert _size(lineage_png(many))[1] <= one * MOST_SONGS
    assert _size(lineage_png([Node("a", "a", children=many)]))[1] <= one * MOST_SONGS
