"""The statistics of reports: means over generations, honest intervals, effect sizes."""

from __future__ import annotations

import math

import numpy as np
import pandas
import pytest

from songflow.reports.effects import effect_of, interval
from songflow.reports.facts import OUTCOMES, VariedField, facts_of, varied_fields
from songflow.reports.heat_maps import draw_heat_map

BY_NAME = {outcome.name: outcome for outcome in OUTCOMES}


def effect(frame, field: str, outcome: str):
    facts = facts_of(frame)
    (varied,) = varied_fields(facts, [field])
    return effect_of(facts, varied, BY_NAME[outcome])


def test_takes_are_averaged_before_generations_are_compared(manifest) -> None:
    """Two equal takes are not two independent observations: the interval rests on generations."""
    rows = [{"request.prompt": "a", "rating": rating} for rating in (2.0, 4.0, 5.0, 5.0)]
    found = effect(manifest(*rows), "prompt", "rating")
    (mean,) = found.means
    assert (mean.label, mean.mean, mean.count, found.count) == ("a", 4.0, 2, 2)
    assert interval([3.0, 5.0]) == pytest.approx((4 - 12.706, 4 + 12.706), abs=0.01)


@pytest.mark.parametrize(
    ("outcome", "column", "values", "wanted"),
    [
        ("rating", "rating", (3.0, 3.0, 5.0, 5.0), (0.0, 5.0)),
        ("seconds", "seconds", (1.0, 1.0, 60.0, 60.0), (0.0, None)),
        ("rms_db", "rms_db", (-1.0, -1.0, -9.0, -9.0), (None, 0.0)),
        ("cost", "price", (1.0, 1.0, 9.0, 9.0), (0.0, None)),
        ("crest_db", "rms_db", (-6.5, -6.5, -14.0, -14.0), (0.0, None)),
    ],
)
def test_intervals_stay_inside_what_is_possible(manifest, outcome, column, values, wanted) -> None:
    """No rating of 17, no negative length or cost; the mean is always inside."""
    (mean,) = effect(manifest(*({column: value} for value in values)), "prompt", outcome).means
    for bound, limit in zip((mean.low, mean.high), wanted, strict=True):
        assert limit is None or bound == limit
    assert mean.low < mean.mean < mean.high


def test_a_value_beyond_the_possible_is_not_cut_off(manifest) -> None:
    """A decoder may overshoot: the interval still holds its mean."""
    (mean,) = effect(
        manifest(*({"rms_db": value} for value in (0.5, 0.5, 0.7, 0.7))), "prompt", "rms_db"
    ).means
    assert mean.low <= mean.mean == mean.high


def test_how_long_a_generation_took_is_no_effect(manifest) -> None:
    """It depends on when it was started; rating comes first, length and cost last."""
    assert "wait_seconds" not in BY_NAME
    assert next(iter(BY_NAME)) == "rating"
    assert list(BY_NAME)[-2:] == ["seconds", "cost"]
    assert facts_of(manifest({}, {}))["wait_seconds"].tolist()[0] == 50


def test_a_rising_number_has_a_rank_correlation_of_one(manifest) -> None:
    """A falling one has -1; a few distinct values are not binned."""
    rows = [
        {"request.prompt_strength": strength, "seconds": 10 * strength**3, "rms_db": -strength}
        for strength in (0.1, 0.1, 0.4, 0.4, 0.9, 0.9)
    ]
    rising = effect(manifest(*rows), "prompt_strength", "seconds")
    falling = effect(manifest(*rows), "prompt_strength", "rms_db")
    assert (rising.strength, rising.direction) == (pytest.approx(1), 1)
    assert (falling.strength, falling.direction) == (pytest.approx(1), -1)
    assert [(mean.at, mean.label) for mean in rising.means] == [(0.1, "0.1"), (0.4, "0.4"), (0.9, "0.9")]


def test_many_numbers_are_grouped_into_bins_of_equal_size(manifest) -> None:
    """Every generation is in exactly one."""
    luck = np.random.default_rng(1)
    rows = [
        {"key": f"k{n}", "request.prompt_strength": float(luck.random()), "rating": 3.0} for n in range(80)
    ]
    found = effect(manifest(*rows), "prompt_strength", "rating")
    assert [mean.count for mean in found.means] == [10] * 8
    assert [mean.at for mean in found.means] == sorted(mean.at for mean in found.means)
    assert found.strength is None  # all ratings are the same


def test_the_correlation_ratio_detects_differing_groups(manifest) -> None:
    """Near 1 for groups that differ, near 0 for others, and the test agrees."""
    luck = np.random.default_rng(2)
    rows = [
        {
            "key": f"k{n}",
            "request.prompt": "ab"[n % 2],
            "seconds": 30.0 + 5 * (n % 2) + luck.normal(0, 0.1),
            "rms_db": luck.normal(-14, 1),
        }
        for n in range(60)
    ]
    apart = effect(manifest(*rows), "prompt", "seconds")
    alike = effect(manifest(*rows), "prompt", "rms_db")
    assert apart.strength > 0.99
    assert apart.p_value < 1e-6
    assert alike.strength < 0.3
    assert alike.p_value > 0.05
    assert [mean.at for mean in apart.means] == [0, 1]


def test_ties_count_in_both_tests(manifest) -> None:
    """Spearman's and the Kruskal-Wallis test, with the values of scipy 1.17 for these ranks."""
    rows = [
        {"key": f"k{n}", "request.prompt": group, "request.prompt_strength": x, "rating": y, "rms_db": level}
        for n, (group, x, y, level) in enumerate(
            [
                ("a", 0.1, 2.0, -2.0),
                ("a", 0.5, 3.0, -3.0),
                ("a", 0.5, 1.0, -3.0),
                ("b", 0.9, 5.0, -1.0),
                ("b", 0.3, 2.0, -5.0),
                ("b", 0.7, 4.0, -4.0),
                ("b", 0.9, 4.0, -4.0),
                ("c", None, None, -5.0),
                ("c", None, None, -5.0),
            ]
        )
    ]
    numbers = effect(manifest(*rows), "prompt_strength", "rating")
    assert (numbers.strength, numbers.p_value) == (
        pytest.approx(0.8055555555555557),
        pytest.approx(0.028749914011500843),
    )
    groups = effect(manifest(*rows), "prompt", "rms_db")
    assert groups.p_value == pytest.approx(0.12181361383661989)


def test_two_generations_have_a_correlation_without_a_p_value(manifest) -> None:
    """Any two points are on a line."""
    rows = [{"key": f"k{n}", "request.prompt_strength": 0.25 * (1 + n), "rating": 2.0 + n} for n in range(2)]
    found = effect(manifest(*rows), "prompt_strength", "rating")
    assert (found.strength, found.direction, found.p_value) == (pytest.approx(1), 1, None)


def test_a_measure_without_values_has_no_effect(manifest) -> None:
    """No row has a rating."""
    assert effect(manifest({}, {}), "prompt", "rating") is None


@pytest.mark.parametrize(("failed", "of"), [(0, 10), (10, 10), (3, 10), (1, 2)])
def test_the_interval_of_a_share_is_wilsons(failed: int, of: int) -> None:
    """It contains the share, stays within 0..1, and is never a point (0 of 10 may well be one of four)."""
    low, high = interval([1.0] * failed + [0.0] * (of - failed), is_share=True)
    assert 0 <= low <= failed / of <= high <= 1
    assert high - low > 0.2
    if (failed, of) == (0, 10):
        assert high == pytest.approx(0.2775, abs=0.0001)


def test_a_single_generation_has_no_interval() -> None:
    """One value has no spread."""
    assert all(math.isnan(bound) for bound in interval([3.0]))


def test_intervals_contain_the_true_mean_at_their_confidence() -> None:
    """About 95 of 100, for means of normal values from samples of six."""
    luck = np.random.default_rng(3)
    held = sum(low <= 7 <= high for low, high in (interval(luck.normal(7, 2, 6)) for _ in range(1000)))
    assert 930 <= held <= 970


def test_fields_that_no_song_has_both_of_make_an_empty_heat_map() -> None:
    """As in a sweep over two families."""
    facts = pandas.DataFrame(
        {"a": [1.0, 2.0, None, None], "b": [None, None, 3.0, 4.0], OUTCOMES[0].name: [1.0, 2.0, 3.0, 4.0]}
    )
    across, down = (VariedField(name, name, is_number=True) for name in "ab")
    assert draw_heat_map(facts, across, down, OUTCOMES[:1]).startswith(b"\x89PNG")
