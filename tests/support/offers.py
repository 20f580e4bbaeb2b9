"""What the conformance suite holds to: every family at every gateway, on the simulator or, for one gateway, live.

A live run is asked for by SONGFLOW_LIVE_GATEWAY (a name as for --gateway) with the gateway's key in the environment; it
costs money. SONGFLOW_LIVE_BUDGET agrees to its price, which is stated otherwise. SONGFLOW_LIVE_URL is another address.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from songflow.accounts import Access, access_from_environment
from songflow.errors import SongflowError
from songflow.families.family import Family, Product
from songflow.families.registry import FAMILIES
from songflow.gateways import DIALECTS, Act, Service, bills_nothing
from songflow.settings import amount

SIMULATED_CELLS, LIVE_CELLS = 50, 2
_RECIPE_STEPS = 2
_LYRICS = "Down by the harbour\nThe lights are low"


@dataclass(frozen=True)
class Offer:
    """A family at a gateway."""

    gateway: str
    family_name: str
    live: Access | None = None

    def __str__(self) -> str:
        return f"{self.family_name} at {self.gateway}"

    @property
    def family(self) -> Family:
        """The family itself."""
        return FAMILIES[self.family_name]

    @property
    def service(self) -> Service:
        """How the gateway sells it."""
        return DIALECTS[self.gateway].services[self.family_name]

    @property
    def models(self) -> list[str]:
        """The models that are sold, the cheapest first; of those that its body does not tell apart, only that one."""
        sold = sorted(filter(self.service.sells, self.family.models), key=self._price)
        request = self.family.request
        bodies = [request.parse({"prompt": "a", "model_type": name}).body() for name in sold]
        told = [json.dumps(self.service.wire_body(body), sort_keys=True) for body in bodies]
        return [name for number, name in enumerate(sold) if told[number] not in told[:number]]

    @property
    def cell_models(self) -> list[str]:
        """The models of the sweep's cells: every one that is sold on the simulator, the cheapest in a live run."""
        if self.live is not None:
            return self.models[:1] * LIVE_CELLS
        return [self.models[number % len(self.models)] for number in range(SIMULATED_CELLS)]

    def has(self, field: str) -> bool:
        """True if the family's requests have a field."""
        return field in self.family.request.model_fields

    def can(self, act: Act) -> bool:
        """True if the gateway does it, by its own facts; an extension without words is an extension, too."""
        needed = {act, Act.EXTENSION} if act is Act.INSTRUMENTAL_EXTENSION else {act}
        return not needed & self.service.cannot.keys()

    def fields(self, act: Act) -> dict[str, Any]:
        """The request's fields of an act; None of them for one that the family has no field for."""
        title = {"title": "The Harbour"} if self.has("title") else {}
        return {
            Act.IDEA: {},
            Act.OWN_WORDS: {"lyrics": _LYRICS, **title},
            Act.INSTRUMENTAL: {"lyrics_type": "instrumental"},
            Act.EXTENSION: {"lyrics": _LYRICS},
            Act.INSTRUMENTAL_EXTENSION: {"lyrics_type": "instrumental"},
        }[act]

    def placement(self, seconds: float) -> dict[str, Any]:
        """Where an extension of a song of this length goes: the family's last place, or a second of the song."""
        if self.family.places:
            return {"place": list(self.family.places)[-1]}
        return {"overrides": {self.family.start_field: round(seconds * 0.6, 2)}}

    def _price(self, model: str) -> float:
        prices = self.live.prices if self.live is not None else {}
        return prices.get(model, self.family.models[model].price)

    @property
    def most(self) -> float:
        """The most that the suite costs live: each act, a recipe of two steps, and the cells."""
        return self._price(self.models[0]) * (sum(map(self.can, Act)) + _RECIPE_STEPS + LIVE_CELLS)


def shapes() -> list[Offer]:
    """One offer of each kind of API: of those that are read by the same code, the first."""
    found: dict[tuple[Any, Any], Offer] = {}
    for offer in offers({}):
        read, told = offer.service.read_report, offer.service.wire_body
        found.setdefault((getattr(read, "func", read), getattr(told, "func", told)), offer)
    return list(found.values())


def offers(environment: Mapping[str, str] = os.environ) -> list[Offer]:
    """All families at all gateways of Songflow's own; in a live run, those of the gateway that is named.

    Raises:
        UsageError: a live run that cannot be, or that nobody has agreed to pay for.
    """
    named = environment.get("SONGFLOW_LIVE_GATEWAY")
    if named is None:
        known = [dialect for name, dialect in DIALECTS.ours.items() if not bills_nothing(name)]
        return [
            Offer(dialect.name, family) for dialect in known for family in dialect.services if sings(family)
        ]
    try:
        access = access_from_environment(named, environment.get("SONGFLOW_LIVE_URL"))
    except SongflowError as error:
        raise pytest.UsageError(f"SONGFLOW_LIVE_GATEWAY: {error}") from None
    found = [Offer(named, family, access) for family in access.account.dialect.services if sings(family)]
    price = sum(offer.most for offer in found)
    agreed = environment.get("SONGFLOW_LIVE_BUDGET", "")
    if not agreed.replace(".", "", 1).isdecimal() or float(agreed) < price:
        raise pytest.UsageError(
            f"This makes songs at {access.place_text} and costs up to {amount(price)} "
            f"(prices: SONGFLOW_PRICES). To agree, set SONGFLOW_LIVE_BUDGET={price:g}."
        )
    return found


def sings(family: str) -> bool:
    """True for a family that makes songs."""
    return FAMILIES[family].makes is Product.SONGS
