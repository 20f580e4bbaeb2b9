"""Cells that are paid for under another key: by another name of the same account, or by an earlier version.

A cell's key contains the account's alias and the gateway's address as they were given. The same API key may be given
under another alias (in the environment, then as a block), and the gateway under another of its host names: then its
keys differ, and its songs are the same. Before a cell is paid for, its songs are looked for by request, replicate, key
fingerprint and gateway; if they are found, the cell goes on under the key that has them.

Earlier versions left byte-order marks and blanks at line ends in texts from files. Songs that were paid for with such a
text are those of the cell, which then goes on with the request that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from songflow.accounts import Access
from songflow.families.family import Request
from songflow.families.registry import family_of_model
from songflow.ledger.key_summaries import KeySummaries, KeySummary, PaidKey
from songflow.sweeps.cell_status import Step, step_of
from songflow.sweeps.cells import Cell, cell_key, key_stem

__all__ = ["with_summaries"]

# Of a generation that was rebuilt from its song files: they hold no fingerprint.
_UNKNOWN_FINGERPRINT = "unknown"


async def with_summaries(
    cells: Sequence[Cell], accounts: Sequence[Access], ledger: KeySummaries
) -> tuple[list[Cell], dict[str, KeySummary]]:
    """The cells under the keys that have their songs, and what the ledger knows of each key.

    Args:
        accounts: Those that may pay, the cells' own first; a generation of any of them counts.
    """
    summaries = await ledger.of_keys([cell.key for cell in cells])
    to_pay = [cell for cell in cells if step_of(summaries.get(cell.key), retry_errors=False) is Step.PAY]
    paid = _by_cell(await ledger.of_bodies([one for cell in to_pay for one in _body_hashes(cell)]))
    found = {cell.key: other for cell in to_pay if (other := _paid_cell(cell, accounts, paid)) is not None}
    if not found:
        return list(cells), summaries
    summaries |= await ledger.of_keys([cell.key for cell in found.values()])
    return [found.get(cell.key, cell) for cell in cells], summaries


def _by_cell(found: Sequence[PaidKey]) -> dict[tuple[str, str], list[PaidKey]]:
    """The keys of cells by what the accounts' names do not change: the request, and the replicate's number."""
    by_cell: dict[tuple[str, str], list[PaidKey]] = {}
    for one in found:
        parts = one.key.rsplit("-", 2)
        if len(parts) == 3:
            by_cell.setdefault((parts[0], parts[2]), []).append(one)
    return by_cell


def _requests(cell: Cell) -> list[tuple[Request, int]]:
    """The requests and replicates whose songs are those of a cell."""
    own = (cell.request, cell.replicate)
    return [own] if cell.before is None else [own, cell.before]


def _body_hashes(cell: Cell) -> list[str]:
    """The bodies' hashes under each hash version, as the ledger may have stored them."""
    hashes = []
    for request, _ in _requests(cell):
        family, body = family_of_model(request.model_type), request.body()
        hashes += [family.body_hash(body, version) for version in family.hashed_fields]
    return hashes


def _paid_cell(
    cell: Cell, accounts: Sequence[Access], paid: Mapping[tuple[str, str], Sequence[PaidKey]]
) -> Cell | None:
    """The cell under the oldest key by which one of these accounts has paid for it. Replicates keep their numbers."""
    for request, replicate in _requests(cell):
        for one in paid.get((key_stem(request), f"{replicate}{cell.mark}"), ()):
            if one.key != cell.key and any(_is_from(one, access) for access in accounts):
                own_key = cell_key(request, accounts[0], replicate) + cell.mark
                return replace(cell, key=one.key, own_key=own_key, request=request, replicate=replicate)
    return None


def _is_from(paid: PaidKey, access: Access) -> bool:
    fingerprints = (access.account.fingerprint, _UNKNOWN_FINGERPRINT)
    return paid.place == access.place and paid.key_fingerprint in fingerprints
