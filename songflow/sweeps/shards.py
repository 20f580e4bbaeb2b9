"""Shards: groups of a sweep's cells for one run each, as plain data that can be sent to another machine.

The receiving process computes each cell's key again for its own account. If the keys differ, the accounts differ, and
nothing is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from songflow.accounts import Access
from songflow.errors import InputError
from songflow.families.registry import parse_request
from songflow.sweeps.cells import Cell, cell_key

__all__ = ["DEFAULT_SHARD_SIZE", "MAX_SHARD_CELLS", "packed", "shards_of", "unpacked"]

DEFAULT_SHARD_SIZE = 250
MAX_SHARD_CELLS = 1000
# Prefect accepts half a megabyte of parameters.
_MAX_BYTES = 300_000


def shards_of(cells: Sequence[Cell], size: int) -> list[list[Cell]]:
    """Divide cells into shards in order: at most `size` cells each, fewer if their texts are long."""
    return list(_shards(cells, size))


def _shards(cells: Sequence[Cell], size: int) -> Iterator[list[Cell]]:
    shard: list[Cell] = []
    weight = 0
    for cell in cells:
        more = sum(map(len, cell.request.texts))
        if shard and (len(shard) >= size or 4 * (weight + more) > _MAX_BYTES):
            yield shard
            shard, weight = [], 0
        shard.append(cell)
        weight += more
    if shard:
        yield shard


def packed(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """Convert cells to plain data."""
    return [
        {
            "key": cell.own_key or cell.key,
            "replicate": cell.replicate,
            # The model decides the family, of which only one is that of a request without a model.
            "request": cell.request.model_dump(mode="json", exclude_defaults=True)
            | {"model_type": cell.request.model_type},
        }
        for cell in cells
    ]


def unpacked(data: Sequence[Mapping[str, Any]], access: Access) -> list[Cell]:
    """Rebuild cells from plain data, for the account that pays.

    Raises:
        InputError: they are not cells, or belong to another account.
    """
    cells = []
    for one in data:
        try:
            request = parse_request(one["request"])
            key, replicate = cell_key(request, access, int(one["replicate"])), int(one["replicate"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"This is no cell of a sweep: {json.dumps(one, default=str)[:80]} ({error!r}).",
                next="let the flow `sweep` make the shards; nothing was sent.",
            ) from None
        if key != one.get("key"):
            raise InputError(
                f"The cell {one.get('key')} belongs to another account than {access.account.alias!r} at "
                f"{access.place_text}.",
                next="give workers and the sweep the same saved credentials block, or the same gateway, base URL and "
                "key variable; nothing was sent.",
            )
        cells.append(Cell(key, request, {}, replicate))
    return cells
