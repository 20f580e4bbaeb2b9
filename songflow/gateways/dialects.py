"""The registry of gateways. To add one, write its file beside this one and list it here.

Other packages add theirs by an entry point of the group `songflow.gateways` (docs/add-a-gateway.md).
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from songflow.entry_points import Registry
from songflow.gateways.ace_step import ACE_STEP
from songflow.gateways.acedata import ACEDATA
from songflow.gateways.cometapi import COMETAPI
from songflow.gateways.custom import custom_dialect
from songflow.gateways.dialect import Dialect, canonical_url, equivalent_urls
from songflow.gateways.kie import KIE
from songflow.gateways.openai_hk import OPENAI_HK
from songflow.gateways.piapi import PIAPI
from songflow.gateways.simulator import SIMULATOR
from songflow.gateways.sunoapi import SUNOAPI

__all__ = [
    "CUSTOM",
    "DIALECTS",
    "Place",
    "address_variables",
    "bills_nothing",
    "key_variables",
    "place_of",
    "place_urls",
    "sellers",
    "stored_dialect",
    "why_unknown",
]

CUSTOM = "custom"
"""The name of every gateway that a user configures."""

DIALECTS: Registry[Dialect] = Registry(
    "songflow.gateways",
    Dialect,
    (COMETAPI, OPENAI_HK, KIE, SUNOAPI, PIAPI, ACEDATA, ACE_STEP, SIMULATOR),
    reserved=(CUSTOM,),
)
"""The gateways that are known by name: Songflow's own, and those of other installed packages."""

Place = tuple[str, str]
"""Where songs are: a gateway's name and its canonical base URL."""


def key_variables(dialects: Iterable[Dialect] | None = None) -> tuple[str, ...]:
    """The environment variables that hold the keys of these gateways (None: of all that are known)."""
    chosen = DIALECTS.values() if dialects is None else dialects
    return tuple(dict.fromkeys(dialect.key_variable for dialect in chosen))


def address_variables() -> tuple[str, ...]:
    """The environment variables that hold addresses of gateways that people host themselves."""
    return tuple(one.address_variable for one in DIALECTS.values() if one.address_variable is not None)


def place_of(gateway: str, base_url: str) -> Place:
    """The place of a stored row: all host names of one gateway are one place."""
    return gateway, canonical_url(base_url, *_names(gateway))


def place_urls(place: Place) -> tuple[str, ...]:
    """Every base URL that belongs to a place; stored rows have the one that they were made with."""
    gateway, canonical = place
    return equivalent_urls(canonical, *_names(gateway))


def bills_nothing(gateway: str) -> bool:
    """True for the simulator, by a gateway's name."""
    return gateway == SIMULATOR.name


def sellers(family: str, model_type: str) -> tuple[str, ...]:
    """The names of the gateways that sell a model of a family."""
    services = {name: dialect.services.get(family) for name, dialect in DIALECTS.items()}
    return tuple(name for name, service in services.items() if service and service.sells(model_type))


def stored_dialect(gateway: str, stored: str) -> Dialect | None:
    """The dialect of a gateway's name and its configuration (`Dialect.stored`); None for an unknown gateway."""
    known = DIALECTS.get(gateway)
    if known is not None or gateway != CUSTOM:
        return known
    values = json.loads(stored)
    return custom_dialect(values["base_url"], values["submit_path"], values["fetch_path"], values["shape"])


def why_unknown(gateway: str) -> str:
    """Why there is no dialect of a gateway's name, for people."""
    fault = DIALECTS.fault(gateway)
    return (
        f"no gateway {gateway!r} is installed here"
        if fault is None
        else f"the gateway {gateway!r} cannot be used: {fault}"
    )


def _names(gateway: str) -> tuple[str | None, tuple[str, ...]]:
    known = DIALECTS.get(gateway)
    return (known.base_url, known.hosts) if known else (None, ())
