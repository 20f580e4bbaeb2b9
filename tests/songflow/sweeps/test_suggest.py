"""Suggestions from ratings: near well-rated songs, within the spec, and reproducible by their seed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from songflow.catalog.manifest import COLUMNS
from songflow.errors import InputError
from songflow.families.udio import SongRequest
from songflow.sweeps.spec import parse_sweep
from songflow.sweeps.suggest import Seen, next_spec, seen_in, suggest

SPEC = """
prompt: a waltz
generation_quality: 1
grid:
  model_type: [udio32-v1.5, udio130-v1.5]
sobol: {n: 4, seed: 1, fields: {prompt_strength: {from: 0, to: 1}, clarity_strength: {from: 0.2, to: 0.6}}}
"""


def sweep(text: str = SPEC):
    return parse_sweep(text, Path())


def manifest(*rows: dict[str, Any]) -> pd.DataFrame:
    """Two takes of each generation, with these fields of its request, and `rating` of the first."""
    records = []
    for number, given in enumerate(rows):
        fields = {name: value for name, value in given.items() if name != "rating"}
        request = SongRequest.parse({"prompt": "a waltz", "generation_quality": 1.0, **fields})
        record = {f"request.{name}": getattr(request, name) for name in SongRequest.model_fields}
        record |= {
            "request.lyrics_type": request.lyrics_type.value,
            "key": f"k{number}",
            "mode": request.mode.value,
        }
        record["parent_song_id"] = request.source_song_id
        records += [record | {"rating": given.get("rating")}, record]
    return pd.DataFrame(
        {name: pd.Series([one.get(name) for one in records], dtype=dtype) for name, dtype in COLUMNS.items()}
    )


def rated(liked: Callable[[float], float]) -> list[Seen]:
    """Twenty ratings of strengths, over both models."""
    return [
        Seen(
            {"model_type": place % 2, "prompt_strength": place / 20, "clarity_strength": 0.4},
            liked(place / 20),
        )
        for place in range(20)
    ]


def test_only_songs_inside_the_search_space_count() -> None:
    """Fixed fields and ranges decide; a seed does not. Ratings of takes are averaged."""
    frame = manifest(
        {"prompt_strength": 0.5, "clarity_strength": 0.25, "rating": 4.0},
        {"prompt_strength": 0.123456789, "clarity_strength": 0.6, "model_type": "udio130-v1.5", "seed": 7},
        {"prompt_strength": 0.5, "clarity_strength": 0.1, "rating": 5.0},
        {"prompt_strength": 0.5, "clarity_strength": 0.25, "generation_quality": 0.5, "rating": 5.0},
        {"prompt_strength": 0.5, "clarity_strength": 0.25, "prompt": "a polka", "rating": 5.0},
        {"prompt_strength": 0.5, "clarity_strength": 0.25, "lyrics_strength": 0.1, "rating": 5.0},
    )
    assert seen_in(sweep(), frame) == [
        Seen({"model_type": 0, "prompt_strength": 0.5, "clarity_strength": 0.25}, 4.0),
        Seen({"model_type": 1, "prompt_strength": 0.123456789, "clarity_strength": 0.6}, None),
    ]


@pytest.mark.parametrize("best", [0.15, 0.85])
def test_suggestions_are_near_well_rated_songs(best: float) -> None:
    """Most are closer to the best than random ones would be."""
    rows = suggest(sweep(), rated(lambda strength: 5 - 5 * abs(strength - best)), 20, seed=3)
    near = [row for row in rows if abs(row["prompt_strength"] - best) < 0.25]
    assert len(near) >= 14


def test_suggestions_are_reproducible_and_inside_the_space() -> None:
    """Numbers are as short as those of a sample, so that the suggested spec is exact."""
    history = rated(lambda strength: 5 * strength)
    first, again, other = (suggest(sweep(), history, 5, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    for row in first:
        assert row.keys() == {"model_type", "prompt_strength", "clarity_strength"}
        assert 0.2 <= row["clarity_strength"] <= 0.6
        assert row["clarity_strength"] == round(row["clarity_strength"], 6)


def test_without_rated_songs_suggestions_are_random() -> None:
    """As a random sample does."""
    assert len(suggest(sweep(), [], 8)) == 8


def test_existing_and_excluded_combinations_are_not_suggested() -> None:
    """If combinations run out, fewer are suggested: of six cells one exists and two break a constraint."""
    spec = sweep(
        "prompt: a waltz\ngeneration_quality: 1\n"
        "grid: {prompt_strength: [0.1, 0.5, 0.9], model_type: [udio32-v1.5, udio130-v1.5]}\n"
        "constraints: ['prompt_strength < 0.8']\n"
    )
    seen = seen_in(spec, manifest({"prompt_strength": 0.5}))
    rows = suggest(spec, seen, 10)
    assert sorted((row["prompt_strength"], row["model_type"]) for row in rows) == [
        (0.1, "udio130-v1.5"),
        (0.1, "udio32-v1.5"),
        (0.5, "udio130-v1.5"),
    ]


def test_rows_of_a_list_are_one_choice_and_seeds_are_not_searched() -> None:
    """So are zips; an invalid combination is left out."""
    spec = sweep(
        "grid: {seed: [1, 2], lyrics_type: [generate, user]}\n"
        "zip: {prompt: [a, b, c], negative_prompt: [x, y, z]}\n"
        "replicates: 2\n"
    )
    rows = suggest(spec, [], 9)
    assert sorted((row["prompt"], row["negative_prompt"]) for row in rows) == [
        ("a", "x"),
        ("b", "y"),
        ("c", "z"),
    ]
    assert all("seed" not in row for row in rows)


def test_places_of_extensions_can_be_searched() -> None:
    """A place is a mode and a start; songs of the search space are recognised by both."""
    spec = sweep(
        "prompt: a waltz\ngeneration_quality: 1\nsource_song_id: s1\ngrid: {place: [intro, outro]}\n"
    )
    intro = {"mode": "precede", "source_song_id": "s1", "song_section_start": 0.0, "rating": 2.0}
    seen = seen_in(spec, manifest(intro, intro | {"source_song_id": "s2"}))
    assert seen == [Seen({"place": 0}, 2.0)]
    assert suggest(spec, seen, 3) == [{"place": "outro"}]


def test_suggestions_are_written_as_a_valid_spec() -> None:
    """With all fixed fields, and texts that a YAML reader could take for numbers."""
    texts = ["010", "1e3", "12:30", "yes", "la\n010", "🎻"]
    odd = sweep(f"prompt: '1e3'\ngrid: {{negative_prompt: {json.dumps(texts)}}}\n")
    every = [{"negative_prompt": text} for text in texts]
    written = parse_sweep(next_spec(odd, every), Path())
    assert (written.factors, written.fixed) == ((every,), {"prompt": "1e3"})
    rows = suggest(sweep(), [], 3, seed=5)
    again = parse_sweep(next_spec(sweep(), rows), Path())
    assert again.factors == (rows,)
    assert again.fixed == sweep().fixed


@pytest.mark.parametrize(
    ("text", "count", "words"), [("prompt: x", 3, "nothing to search"), (SPEC, 0, "1 to 1000")]
)
def test_an_unusable_search_is_refused_with_a_reason(text: str, count: int, words: str) -> None:
    """Bad input, and nothing else."""
    with pytest.raises(InputError, match=words):
        suggest(sweep(text), [], count)


def test_without_optuna_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra has a name."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(InputError, match="Optuna, which is not installed") as caught:
        suggest(sweep(), [], 3)
    assert "songflow[search]" in (caught.value.next or "")


def test_the_written_spec_keeps_texts_of_files_and_the_review(tmp_path: Path) -> None:
    """A text that was cleaned is a plain text in the new spec."""
    (tmp_path / "words.txt").write_text("\ufeffla la  \n\n")
    text = "prompt: a waltz\nlyrics: {file: words.txt}\ngrid: {prompt_strength: [0.1, 0.9]}\n"
    review = "review: {discard: 'seconds < 1', again: 1}\n"
    odd = parse_sweep(text + review, tmp_path)
    written = parse_sweep(next_spec(odd, suggest(odd, [], 2)), tmp_path)
    assert written.fixed["lyrics"] == odd.fixed["lyrics"]
    assert written.review == odd.review


def test_an_extension_whose_song_is_not_known_is_no_finished_sweep() -> None:
    """Its prompt would be the song's."""
    odd = sweep("source_song_id: s-1\nplace: outro\ngrid: {prompt_strength: [0.1, 0.9]}\n")
    with pytest.raises(InputError, match="valid request without what an extension inherits"):
        suggest(odd, [], 1)
