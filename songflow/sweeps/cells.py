"""The cells of a sweep: one request each, under a key that depends only on the request and the account.

    cell-<the body's hash>-<gateway, address and account>-<replicate>

The body's hash uses the oldest hash version that covers all of its fields, so a field that a later version of Songflow
adds does not change the keys of songs that are already paid for. The same cell has the same key in every sweep.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from songflow.accounts import Access
from songflow.documents.conditions import BadExpression
from songflow.documents.yaml_file import Fault, refuse_faults
from songflow.errors import InvalidRequest
from songflow.families.family import Request
from songflow.families.registry import (
    body_hash,
    extension_request,
    family_of_fields,
    oldest_version,
    parse_request,
)
from songflow.sweeps.spec import Parents, Source, Sweep
from songflow.sweeps.values import FIELDS, PLACE, as_read_before

__all__ = ["REPLICATE", "Cell", "cell_key", "cells_of", "key_stem", "keyed_fields", "shuffled"]

REPLICATE = "replicate"
_NOTHING: Parents = MappingProxyType({})
_UNKNOWN = Source()
_ORDER_SEED = 0
_HASH_LENGTH, _PLACE_LENGTH = 40, 12


@dataclass(frozen=True, slots=True)
class Cell:
    """One generation of a sweep.

    Attributes:
        key: Its request key.
        request: What to make.
        fields: The values of the varied fields, and the replicate's number.
        replicate: The number of the replicate, from 1.
        own_key: The key that its own account's name gives, if `key` is another one, under which it was paid for.
        before: The request and replicate that earlier versions made of the same files, if they differ: songs may be
            paid for under their key.
        again: How many times its songs were discarded and it was made again.
    """

    key: str
    request: Request
    fields: Mapping[str, Any]
    replicate: int
    own_key: str | None = None
    before: tuple[Request, int] | None = None
    again: int = 0

    @property
    def mark(self) -> str:
        """The end of the key of a cell that is made again."""
        return f".again{self.again}" if self.again else ""

    def made_again(self, number: int) -> Cell:
        """This cell under the key of its next songs, counted from 1."""
        stem = self.key.removesuffix(self.mark)
        return replace(self, key=f"{stem}.again{number}", own_key=None, before=None, again=number)

    @property
    def kin(self) -> str:
        """The common prefix of the keys of all its replicates."""
        return self.key.rpartition("-")[0] + "-"


def shuffled(cells: Sequence[Cell]) -> list[Cell]:
    """Cells in the order in which they are started: shuffled with a fixed seed.

    In the order of the spec, a field's first values would be made early and its last ones late, and a change at the
    gateway in the meantime would look like an effect of the field. A sweep that is stopped has samples of all values.
    """
    return random.Random(_ORDER_SEED).sample(cells, len(cells))


def cells_of(sweep: Sweep, access: Access, parents: Parents = _NOTHING) -> list[Cell]:
    """Make the cells of a sweep for an account, in the order of the spec, each key once.

    A cell that extends one of the `parents` inherits the fields that it does not set. Equal cells with a fixed seed are
    one cell; with a random seed they are replicates.

    Raises:
        InvalidDocument: combinations are not valid, a constraint cannot be evaluated, or no cell is left.
    """
    account, axes = _account_mark(access), sweep.axes
    faults = _Combinations(sweep)
    replicates: dict[str, int] = {}
    cells: list[Cell] = []
    numbers = _NumbersBefore()
    for number, row in enumerate(_rows(sweep), start=1):
        try:
            request = _request(row, parents)
        except InvalidRequest as error:
            faults.add(number, row, error.message)
            continue
        if not faults.allows(request, row):
            continue
        stem, before = f"{key_stem(request)}-{account}", _request_before(row, parents)
        for replicate in range(1, sweep.replicates + 1):
            if request.is_random:
                replicate = replicates.get(stem, 0) + 1
            elif replicate <= replicates.get(stem, 0):
                continue
            replicates[stem] = replicate
            fields = {name: _value(request, row, name) for name in axes} | {REPLICATE: replicate}
            cells.append(Cell(f"{stem}-{replicate}", request, fields, replicate, before=numbers.of(before)))
    faults.refuse(cells)
    return cells


class _NumbersBefore:
    """Numbers the replicates of what earlier versions read, as they did."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def of(self, request: Request | None) -> tuple[Request, int] | None:
        if request is None:
            return None
        stem = key_stem(request)
        self._last[stem] = self._last.get(stem, 0) + 1
        return request, self._last[stem]


def keyed_fields(
    sweep: Sweep, access: Access, parents: Parents = _NOTHING
) -> list[tuple[str, dict[str, Any]]]:
    """The request key and the varied fields of each cell, to be joined with the `key` column of the manifest."""
    return [(cell.key, dict(cell.fields)) for cell in cells_of(sweep, access, parents)]


def key_stem(request: Request) -> str:
    """The beginning of a cell's key, which depends only on the request."""
    body = request.body()
    return f"cell-{body_hash(body, oldest_version(body))[:_HASH_LENGTH]}"


def cell_key(request: Request, access: Access, replicate: int) -> str:
    """The key of one cell."""
    return f"{key_stem(request)}-{_account_mark(access)}-{replicate}"


def _account_mark(access: Access) -> str:
    """A short hash of the account: another gateway, address or account makes another song."""
    text = json.dumps([access.gateway, access.account.base_url, access.account.alias])
    return hashlib.sha256(text.encode()).hexdigest()[:_PLACE_LENGTH]


def _rows(sweep: Sweep) -> Iterator[dict[str, Any]]:
    for combination in itertools.product(*sweep.factors):
        row = dict(sweep.fixed)
        for part in combination:
            row |= part
        yield row


def _value(request: Request, row: Mapping[str, Any], name: str) -> Any:
    return row.get(PLACE) if name == PLACE else getattr(request, name, None)


def _request(row: Mapping[str, Any], parents: Parents) -> Request:
    """Build the request of a row; a row with a source is an extension, and a place sets mode and start."""
    source = row.get("source_song_id")
    if isinstance(source, str):
        own = {name: value for name, value in row.items() if name not in ("source_song_id", "mode", PLACE)}
        parent = parents.get(source, _UNKNOWN)
        return extension_request(
            parent.request,
            source,
            generation_id=parent.generation_id,
            seconds=parent.seconds,
            mode=row.get("mode"),
            place=row.get(PLACE),
            overrides=own,
        )
    return parse_request({name: value for name, value in row.items() if name != PLACE} | _placed(row))


def _request_before(row: Mapping[str, Any], parents: Parents) -> Request | None:
    """The request that earlier versions made of a row, if it is another one."""
    before = {name: as_read_before(value) for name, value in row.items()}
    if before == row:
        return None
    try:
        return _request(before, parents)
    except InvalidRequest:
        return None


def _placed(row: Mapping[str, Any]) -> dict[str, Any]:
    if PLACE not in row:
        return {}
    return family_of_fields(row).placement(row[PLACE])


class _Combinations:
    """The faults of combinations, each reported once with the first cell that has it."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._faults: dict[str, Fault] = {}

    def add(self, number: int, row: Mapping[str, Any], message: str) -> None:
        text = message.removeprefix("The request is not valid: ").removesuffix(".")
        if text not in self._faults:
            words = (word.strip("`:,") for word in text.split())
            place = next((self._sweep.places[word] for word in words if word in self._sweep.places), ())
            values = ", ".join(f"{name} {row[name]!r:.40}" for name in self._sweep.axes if name in row)
            which = f"makes cell {number} ({values or 'the only one'}) not valid"
            self._faults[text] = self._sweep.document.fault(place, f"{which}: {text}")

    def allows(self, request: Request, row: Mapping[str, Any]) -> bool:
        """True if every constraint holds; one that cannot be evaluated is a fault."""
        values = {name: _value(request, row, name) for name in FIELDS}
        for constraint in self._sweep.constraints:
            try:
                if not constraint.holds(values):
                    return False
            except BadExpression as error:
                self._faults.setdefault(
                    constraint.text,
                    self._sweep.document.fault(constraint.place, f"({constraint.text}) {error}"),
                )
                return False
        return True

    def refuse(self, cells: list[Cell]) -> None:
        """Raise InvalidDocument if there is a fault, or no cell."""
        faults = list(self._faults.values())
        if not cells and not faults:
            faults.append(self._sweep.document.fault(("constraints",), "leave no cell"))
        refuse_faults(self._sweep.document.name, faults)
