"""The registry of gateways. To add one, write its file beside this one and list it here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from songflow.gateways.cometapi import COMETAPI
from songflow.gateways.dialect import Dialect, canonical_url
from songflow.gateways.openai_hk import OPENAI_HK
from songflow.gateways.simulator import SIMULATOR

__all__ = ["DIALECTS", "Place", "place_of"]

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {dialect.name: dialect for dialect in (COMETAPI, OPENAI_HK, SIMULATOR)}
)

Place = tuple[str, str]
"""Where songs are: a gateway's name and its canonical base URL."""


def place_of(gateway: str, base_url: str) -> Place:
    """Where the songs of a stored row are: all host names of one gateway are one place."""
    known = DIALECTS.get(gateway)
    return gateway, known.canonical_url(base_url) if known else canonical_url(base_url, None, ())
