"""Cells that are paid for under another name of the same account, and so under another key.

A cell's key contains the account's alias and the gateway's address as they were given. The same API key may be given
under another alias (in the environment, then as a block), and the gateway under another of its host names: then its
keys differ, and its songs are the same. Before a cell is paid for, its songs are looked for by request, replicate, key
fingerprint and gateway; if they are found, the cell goes on under the key that has them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from songflow.accounts import Access
from songflow.families.registry import family_of_model
from songflow.ledger.key_summaries import KeySummaries, KeySummary, PaidKey
from songflow.sweeps.cell_status import Step, step_of
from songflow.sweeps.cells import Cell, key_stem

__all__ = ["with_summaries"]

# Of a generation that was rebuilt from its song files: they hold no fingerprint.
_UNKNOWN_FINGERPRINT = "unknown"


async def with_summaries(
    cells: Sequence[Cell], accounts: Sequence[Access], ledger: KeySummaries
) -> tuple[list[Cell], dict[str, KeySummary]]:
    """The cells under the keys that have their songs, and what the ledger knows of each key.

    Args:
        accounts: Those that may pay; a generation of any of them counts.
    """
    summaries = await ledger.of_keys([cell.key for cell in cells])
    to_pay = [cell for cell in cells if step_of(summaries.get(cell.key), retry_errors=False) is Step.PAY]
    paid = _by_cell(await ledger.of_bodies([one for cell in to_pay for one in _body_hashes(cell)]))
    keys = {cell.key: found for cell in to_pay if (found := _paid_key(cell, accounts, paid)) is not None}
    if not keys:
        return list(cells), summaries
    summaries |= await ledger.of_keys(list(keys.values()))
    return [_under(cell, keys.get(cell.key)) for cell in cells], summaries


def _by_cell(found: Sequence[PaidKey]) -> dict[tuple[str, str], list[PaidKey]]:
    """The keys of cells by what the accounts' names do not change: the request, and the replicate's number."""
    by_cell: dict[tuple[str, str], list[PaidKey]] = {}
    for one in found:
        parts = one.key.rsplit("-", 2)
        if len(parts) == 3:
            by_cell.setdefault((parts[0], parts[2]), []).append(one)
    return by_cell


def _under(cell: Cell, key: str | None) -> Cell:
    return cell if key is None else replace(cell, key=key, own_key=cell.own_key or cell.key)


def _body_hashes(cell: Cell) -> list[str]:
    """The body's hash under each hash version, as the ledger may have stored it."""
    family, body = family_of_model(cell.request.model_type), cell.request.body()
    return [family.body_hash(body, version) for version in family.hashed_fields]


def _paid_key(
    cell: Cell, accounts: Sequence[Access], paid: Mapping[tuple[str, str], Sequence[PaidKey]]
) -> str | None:
    """The oldest key under which one of these accounts has paid for this cell. Replicates keep their numbers."""
    for one in paid.get((key_stem(cell.request), str(cell.replicate)), ()):
        if one.key != cell.key and any(_is_from(one, access) for access in accounts):
            return one.key
    return None


def _is_from(paid: PaidKey, access: Access) -> bool:
    fingerprints = (access.account.fingerprint, _UNKNOWN_FINGERPRINT)
    return paid.place == access.place and paid.key_fingerprint in fingerprints
