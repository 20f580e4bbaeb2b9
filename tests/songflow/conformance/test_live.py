"""The same suite live: only for the gateway that is named, at a price that somebody has agreed to."""

from __future__ import annotations

import pytest
from support.offers import offers, sings

from songflow.gateways import DIALECTS


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment."""
    monkeypatch.setenv("KIE_KEY", "sk-0123456789abcdef")
    monkeypatch.setenv("SONGFLOW_PRICES", "chirp-v4=0.5")


def test_without_a_name_it_is_every_family_at_every_gateway() -> None:
    """But for the simulator, whose dialect is another's, and what makes no songs."""
    found = [(offer.gateway, offer.family_name, offer.live) for offer in offers({})]
    assert found == [
        (name, family, None)
        for name, one in DIALECTS.ours.items()
        if name != "simulator"
        for family in one.services
        if sings(family)
    ]


@pytest.mark.parametrize("agreed", ["", "3.9", "-5", "all"])
@pytest.mark.usefixtures("key")
def test_a_live_run_states_its_price_and_needs_that_amount(agreed: str) -> None:
    """Four acts, two steps and two cells of the cheapest model; nothing is sent without."""
    with pytest.raises(
        pytest.UsageError, match=r"costs up to 4 units .* set SONGFLOW_LIVE_BUDGET=4\."
    ) as caught:
        offers({"SONGFLOW_LIVE_GATEWAY": "kie", "SONGFLOW_LIVE_BUDGET": agreed})
    assert "makes songs at kie (https://api.kie.ai)" in str(caught.value)


@pytest.mark.usefixtures("key")
def test_a_live_run_that_is_agreed_to_is_capped_at_its_price() -> None:
    """It uses the account of the environment, at another address if one is given."""
    given = {
        "SONGFLOW_LIVE_GATEWAY": "kie",
        "SONGFLOW_LIVE_BUDGET": "4",
        "SONGFLOW_LIVE_URL": "http://127.0.0.1:1",
    }
    (offer,) = offers(given)
    assert offer.live is not None
    assert (offer.live.account.base_url, offer.live.account.alias) == ("http://127.0.0.1:1", "env:KIE_KEY")
    assert (offer.most, set(offer.cell_models)) == (4.0, {"chirp-v4"})


def test_a_live_run_without_a_key_says_so() -> None:
    """And for a name that is no gateway's."""
    with pytest.raises(pytest.UsageError, match="There is no key for piapi"):
        offers({"SONGFLOW_LIVE_GATEWAY": "piapi"})
    with pytest.raises(pytest.UsageError, match="There is no gateway 'nobody'"):
        offers({"SONGFLOW_LIVE_GATEWAY": "nobody"})
