"""Lineage in Prefect: pages that show foreign titles as text, and asset keys from any id."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from prefect.assets import Asset

from songflow.catalog.lineage import Node
from songflow.families.family import Mode
from songflow.ledger.rows import Song
from tasks.ui.lineage import lineage_page, show_lineage, song_assets, source_assets
from tasks.ui.players import MOST_PAGE_BYTES


def song(**fields):
    """A song's row, of which only what matters is said."""
    empty = dict.fromkeys(field.name for field in dataclasses.fields(Song))
    return Song(**{**empty, "mode": Mode.PRECEDE, "path": "/songs/a.mp3", "title": "A", **fields})


SUBMISSION = SimpleNamespace(gateway="cometapi")


def test_a_page_shows_every_song_as_text_under_the_one_that_it_extends():
    child = Node("id-2", "<b>child</b> | `x`", place="intro")
    page = lineage_page([Node("id-1", "[a](javascript:b)", seconds=32.8, children=[child])])
    assert "- **\\[a\\]\\(javascript\\:b\\)** 32\\.8 s id\\-1" in page
    assert "\n  - **&lt;b&gt;child&lt;/b&gt; \\| \\`x\\`** intro id\\-2" in page


class Links:
    """Links to a form, in place of those of a deployment."""

    def extend(self, song_id):
        return f"**[extend this](../../form?{song_id}{'x' * 4000})**"


def test_only_a_song_that_can_be_extended_has_a_link_to_the_form():
    page = lineage_page([Node("elsewhere", "b", children=[Node("here", "c", extendable=True)])], Links())
    assert ("form?elsewhere" in page, "form?here" in page) == (False, True)


def test_a_page_of_long_links_has_the_size_of_others():
    """Prefect sends a page with every list of artifacts."""
    page = lineage_page([Node(str(one), "b", extendable=True) for one in range(290)], Links())
    assert MOST_PAGE_BYTES - 5000 < len(page.encode()) <= MOST_PAGE_BYTES
    listed = page.count("\n- ")
    assert 0 < listed < 290
    assert page.endswith(f"\n\nThe first {listed} of 290 songs are listed.")


def test_a_page_of_a_great_many_songs_has_an_end():
    page = lineage_page([Node("a", "a", children=[Node(str(one), "b") for one in range(1000)])])
    assert page.endswith("\n\nThe first 300 of 1001 songs are listed.")


@pytest.mark.parametrize("odd", ["a b", "100%", "a/b?c#d&e", "歌", "x" * 900, "\x00", "\ud800"])
def test_any_id_makes_an_asset_key_of_its_own(odd):
    [asset] = song_assets(SUBMISSION, [song(song_id=odd)])
    [other] = source_assets(SUBMISSION, [song(song_id="n", parent_song_id=f"{odd}.")])
    assert isinstance(asset, Asset)
    assert asset.key.startswith("songflow://cometapi/")
    assert asset.key != other.key


def test_only_stored_songs_are_assets_and_each_source_stands_once():
    songs = [
        song(song_id="a", parent_song_id="core"),
        song(song_id="b", parent_song_id="core"),
        song(song_id="c", path=None),
        song(song_id=None),
    ]
    assert [one.key for one in song_assets(SUBMISSION, songs)] == [
        "songflow://cometapi/a",
        "songflow://cometapi/b",
    ]
    assert [one.key for one in source_assets(SUBMISSION, songs)] == ["songflow://cometapi/core"]


async def test_trouble_with_the_page_harms_no_song(caplog):
    await show_lineage(SimpleNamespace(), SimpleNamespace(key="k"))
    assert "cannot be shown in Prefect" in caplog.text
