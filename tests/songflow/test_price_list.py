"""SONGFLOW_PRICES: the price list of accounts whose keys are in the environment."""

from __future__ import annotations

import pytest

from songflow.accounts import DEFAULT_PRICES, access_from_environment
from songflow.errors import InvalidEnvironment
from songflow.families.udio import SongRequest
from songflow.settings import amount, number_text


@pytest.mark.parametrize(
    "text",
    ['{"udio32-v1.5": 0.07}', "udio32-v1.5=0.07", " udio32-v1.5=7e-2, ", "udio32-v1.5=0.07,udio130-v1.5=2"],
)
def test_prices_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """As JSON or as pairs; a model that is not named keeps its default."""
    monkeypatch.setenv("SONGFLOW_PRICES", text)
    monkeypatch.setenv("COMETAPI_KEY", "k")
    for gateway in ("cometapi", "simulator"):
        access = access_from_environment(gateway)
        assert access.price_of(SongRequest(prompt="a waltz")) == 0.07
        assert access.price_of(SongRequest(prompt="a waltz", model_type="udio130-v1.5")) == 2


def test_without_a_list_the_defaults_apply(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank variable is none."""
    monkeypatch.setenv("SONGFLOW_PRICES", " ")
    assert access_from_environment().prices == DEFAULT_PRICES


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read"),
        ("udio32-v1.5", "cannot be read"),
        ("udio32-v1.5=cheap", "cheap"),
        ("udio32-v1.5=-1", "a price is a number from 0"),
        ("udio32-v1.5=nan", "a price is a number from 0"),
        ('{"udio32-v1.5": [1]}', "cannot be read"),
        ("udio33=1", "'udio33': there is no such model"),
    ],
)
def test_a_faulty_list_is_refused(monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    """Before anything is sent, with the variable's name."""
    monkeypatch.setenv("SONGFLOW_PRICES", text)
    with pytest.raises(InvalidEnvironment, match="SONGFLOW_PRICES") as error:
        access_from_environment()
    assert words in error.value.message


def test_sums_keep_their_digits() -> None:
    """Large ones, and those that binary fractions are slightly off for."""
    assert [number_text(1234567.5), number_text(0.1 + 0.2), number_text(30.0)] == ["1234567.5", "0.3", "30"]


def test_a_unit_is_named() -> None:
    """Other names than the usual one stay as they are."""
    assert [amount(1, "units"), amount(0.5, "units"), amount(1, "credits")] == [
        "1 unit",
        "0.5 units",
        "1 credits",
    ]
