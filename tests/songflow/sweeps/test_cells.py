"""Keys of cells: they depend on the request and the account only, so the same cell has the same key in every sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from songflow.accounts import Access
from songflow.families.udio import UDIO, SongRequest
from songflow.sweeps.cells import cells_of, key_stem, keyed_fields
from songflow.sweeps.spec import parse_sweep

URL = "http://127.0.0.1:9"


def keys(access: Access, folder: Path = Path(), /, **data: Any) -> list[str]:
    return [cell.key for cell in cells_of(parse_sweep({"prompt": "a waltz", **data}, folder), access)]


def test_the_same_cell_has_the_same_key_in_every_sweep(access) -> None:
    """However the spec is written, and whatever other cells it has."""
    grid = keys(access(URL), grid={"prompt_strength": [0.25, 0.5], "seed": [1, 2]})
    listed = keys(
        access(URL), list=[{"seed": 2, "prompt_strength": 0.5}], lyrics_type="generate", name="another"
    )
    assert listed == [grid[3]]
    assert keys(access(URL), grid={"clarity_strength": [0, 0.0]}, seed=1) == keys(
        access(URL), clarity_strength=0, seed=1
    )


def test_another_gateway_address_account_or_replicate_is_another_cell(access) -> None:
    one = keys(access(URL), seed=1, replicates=2)
    others = [
        keys(access("http://127.0.0.1:10"), seed=1, replicates=2),
        keys(access(URL, "openai-hk", key="sk-1234567890"), seed=1, replicates=2),
        keys(access(URL, alias="block:x/y"), seed=1, replicates=2),
    ]
    assert len({*one, *(key for other in others for key in other)}) == 8


def test_a_rotated_key_is_the_same_account(access) -> None:
    assert keys(access(URL, "openai-hk", key="sk-1234567890")) == keys(
        access(URL, "openai-hk", key="sk-0987654321")
    )


def test_random_seeds_become_replicates_and_equal_cells_with_a_seed_are_one(access) -> None:
    random = keys(access(URL), grid={"seed": [-1, -1, -1]})
    assert [key.rsplit("-", 1)[1] for key in random] == ["1", "2", "3"]
    assert random == keys(access(URL), seed=-1, replicates=3)
    assert len(keys(access(URL), grid={"seed": [7, 7, 8]})) == 2
    assert len(keys(access(URL), grid={"seed": [7, 7]}, replicates=2)) == 2


def test_the_marks_of_an_editor_make_no_other_cells(access, tmp_path) -> None:
    """Lines, whole files and CSV cells have the keys of the same texts without marks and blanks at line ends."""

    def of(folder: str, **texts: str) -> list[list[str]]:
        place = tmp_path / folder
        place.mkdir()
        for name, text in texts.items():
            (place / name).write_bytes(text.encode())
        axes = [
            {"negative_prompt": {"lines": "lines"}},
            {"lyrics": {"files": "words"}},
            {"lyrics": [{"file": "words"}]},
            {"negative_prompt": {"csv": "table"}},
        ]
        specs = [{"grid": axis} for axis in axes] + [{"list": {"csv": "table"}}]
        return [keys(access(URL), place, **spec) for spec in specs]

    plain = of("plain", lines="drums\nbells\n", words="la\n\nla\n", table="negative_prompt\ndrums\n")
    marked = of(
        "marked",
        lines="\ufeffdrums \r\nbells\t\r\n\ufeff",
        words="\ufeffla\r\n \r\nla\r\n",
        table="\ufeffnegative_prompt\r\ndrums  \r\n",
    )
    assert marked == plain
    assert plain[0] == keys(access(URL), grid={"negative_prompt": ["drums", "bells"]})
    assert plain[1] == keys(access(URL), lyrics="la\n\nla\n")


def test_a_place_sets_mode_and_start(access) -> None:
    placed = keys(access(URL), source_song_id="s1", grid={"place": ["intro", "outro"]})
    named = keys(
        access(URL),
        source_song_id="s1",
        list=[
            {"mode": "precede", "song_section_start": 0},
            {"mode": "continuation", "song_section_start": 0.9},
        ],
    )
    assert placed == named


def test_keyed_fields_are_the_varied_fields_by_key(access) -> None:
    sweep = parse_sweep({"prompt": "a waltz", "grid": {"seed": [1, 2]}}, Path())
    found = keyed_fields(sweep, access(URL))
    assert [fields for _, fields in found] == [{"seed": 1, "replicate": 1}, {"seed": 2, "replicate": 1}]
    stem = key_stem(SongRequest(prompt="a waltz", seed=1))
    assert found[0][0].startswith(stem)


class TestLaterFields:
    """A field that Songflow learns later bills no cell again."""

    @pytest.fixture
    def before(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """As if the negative prompt had come with a second version: back to the time before it."""
        new = UDIO.hashed_fields[1]
        old = tuple(name for name in new if name != "negative_prompt")

        def now() -> None:
            monkeypatch.setitem(UDIO.hashed_fields, 2, new)

        monkeypatch.setitem(UDIO.hashed_fields, 1, old)
        return now

    def test_a_cell_with_the_new_fields_default_keeps_its_key(self, access, before) -> None:
        old = keys(access(URL), seed=1)
        before()
        assert keys(access(URL), seed=1) == old
        assert keys(access(URL), seed=1, negative_prompt="drums") != old

    def test_a_cell_that_uses_the_new_field_is_hashed_by_the_new_version(self, before) -> None:
        before()
        plain, more = (SongRequest(prompt="a", negative_prompt=text).body() for text in ("", "drums"))
        assert (UDIO.oldest_version(plain), UDIO.oldest_version(more)) == (1, 2)
        assert UDIO.body_hash(more, 2) != UDIO.body_hash(plain, 2)
