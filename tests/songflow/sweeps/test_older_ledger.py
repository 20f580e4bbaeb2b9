"""A ledger that is older than its spool: restored from a backup, lost, or rebuilt from files alone."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
from sqlalchemy import delete, insert, select, update

from songflow import errors
from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import exit_code, rescue
from songflow.ledger import State, schema
from songflow.ledger.money import Balance
from songflow.library.rebuild import rebuild

TABLES = schema.metadata.sorted_tables


async def rows_of(opened):
    """A backup of a ledger."""
    async with opened.library.ledger.database.read() as connection:
        return {
            table: [dict(row) for row in (await connection.execute(select(table))).mappings()]
            for table in TABLES
        }


async def restore(opened, rows) -> None:
    """Replace a ledger by a backup of it; without rows it is lost."""
    async with opened.library.ledger.database.write("test") as connection:
        for table in reversed(TABLES):
            await connection.execute(delete(table))
        for table in TABLES:
            if rows.get(table):
                await connection.execute(insert(table), rows[table])


@pytest.fixture
def made(simulator, session, any_library, cells, run):
    """A sweep of four cells, two of them before a backup."""

    async def make():
        server, opened = simulator(), await session(library=any_library, budget_run="first")
        await run(opened, server, cells(server, 2))
        backup = await rows_of(opened)
        result = await run(opened, server, cells(server, 4))
        assert (result.existing, result.stored) == (2, 2)
        return server, opened, backup

    return make


@pytest.mark.parametrize("what", ["restored", "lost"])
async def test_a_sweep_with_an_older_ledger_pays_for_nothing_again(
    made, session, any_library, cells, run, access, posts, what: str
) -> None:
    """It stops with exit 5 and names what is missing; rescue takes that in, and the sweep is complete."""
    server, opened, backup = await made()
    balance = await opened.library.ledger.money.balance()
    await restore(opened, backup if what == "restored" else {})
    opened = await session(library=any_library, budget_run="second")
    result = await run(opened, server, cells(server, 4))
    missing = 2 if what == "restored" else 4
    assert (result.exit_code, result.posts, result.stored) == (5, 0, 0)
    assert f"knows {missing} paid generations that the ledger does not: cell-" in result.stopped
    with pytest.raises(errors.LedgerOutdated, match="Nothing was sent") as caught:
        await generate_in(opened, cells(server, 1)[0].request, access(server.url), key="another")
    assert (caught.value.exit_code, caught.value.billed) == (5, "no")
    found = await rescue(opened, access(server.url))
    assert (len(found), exit_code(found)) == (missing, 0)
    assert await rescue(opened, access(server.url)) == []
    again = await run(opened, server, cells(server, 4))
    assert (again.existing, again.posts, again.exit_code) == (4, 0, 0)
    assert await opened.library.ledger.money.balance() == balance
    (one,) = await opened.library.ledger.submissions.of_key(cells(server, 4)[3].key)
    assert (one.price, one.account, one.runs.root_flow_run_id) == (1.0, "test", None)
    assert posts(server) == 4


async def test_what_the_older_ledger_knows_is_still_collected(
    made, session, any_library, cells, access
) -> None:
    """Coming back to a key that it has costs nothing."""
    server, opened, backup = await made()
    await restore(opened, backup)
    opened = await session(library=any_library)
    known = cells(server, 1)[0]
    assert (await generate_in(opened, known.request, access(server.url), key=known.key)).stored


async def test_a_ledger_rebuilt_from_files_alone_pays_for_nothing_again(
    made, session, any_library, cells, run, posts
) -> None:
    """Ledger and spool are lost, and the songs are left."""
    server, opened, _ = await made()
    await restore(opened, {})
    shutil.rmtree(any_library.folder / "spool")
    opened = await session(library=any_library, budget_run="second")
    await rebuild(opened.library, any_library.folder, [("simulator", server.url)])
    again = await run(opened, server, cells(server, 4))
    assert (again.existing, again.posts, posts(server)) == (4, 0, 4)


@pytest.mark.parametrize("state", [State.INTENDED, State.UNSENT, State.REFUSED])
async def test_a_row_from_before_the_answer_is_not_sent_again(
    made, session, any_library, cells, access, posts, state: State
) -> None:
    """The backup was made between the intent and the answer: the spool knows better."""
    server, opened, _ = await made()
    one = cells(server, 1)[0]
    balance = await opened.library.ledger.money.balance()
    async with opened.library.ledger.database.write("test") as connection:
        (submission,) = await opened.library.ledger.submissions.of_key(one.key)
        await connection.execute(delete(schema.songs).where(schema.songs.c.key == one.key))
        await connection.execute(
            update(schema.submissions)
            .where(schema.submissions.c.id == submission.id)
            .values(state=state, generation_id=None)
        )
        await connection.execute(update(schema.budgets).values(spent=schema.budgets.c.spent - 1.0))
    opened = await session(library=any_library)
    with pytest.raises(errors.LedgerOutdated, match=one.key):
        await generate_in(opened, one.request, access(server.url), key=one.key)
    (found,) = await rescue(opened, access(server.url))
    assert (found.key, found.exit_code, len(found.songs)) == (one.key, 0, 2)
    assert await opened.library.ledger.money.balance() == balance
    assert posts(server) == 4


async def lost(made, session, any_library, cells):
    """A ledger and a spool without entries; the server, a new session, a paid cell and its former entry."""
    server, opened, _ = await made()
    one = cells(server, 1)[0]
    (entry,) = [entry for entry in opened.library.spool.entries() if entry.key == one.key]
    shutil.rmtree(any_library.folder / "spool")
    await restore(opened, {})
    return server, await session(library=any_library), one, entry


async def test_an_unknown_outcome_that_only_the_spool_knows_is_not_sent_again(
    made, session, any_library, cells, access
) -> None:
    """It comes back as unknown, with its price reserved."""
    server, opened, one, entry = await lost(made, session, any_library, cells)
    opened.library.spool.append(
        replace(entry, outcome="unknown", generation_id=None, reason="the answer was cut")
    )
    with pytest.raises(errors.LedgerOutdated):
        await generate_in(opened, one.request, access(server.url), key="another")
    (found,) = await rescue(opened, access(server.url))
    assert (found.state, found.exit_code, "the answer was cut" in found.error) == ("unknown", 5, True)
    assert await opened.library.ledger.money.balance() == Balance("library", 0.0, 1.0, 0.0)


async def test_an_entry_without_its_request_is_named_and_not_sent_again(
    made, session, any_library, cells, access, posts
) -> None:
    """An earlier version wrote only the ids; rebuilding from files brings its row back."""
    server, opened, one, entry = await lost(made, session, any_library, cells)
    opened.library.spool.append(replace(entry, intent=None))
    (found,) = await rescue(opened, access(server.url))
    assert (found.generation_id, found.exit_code) == (entry.generation_id, 5)
    assert "the spool does not have its request" in found.error
    with pytest.raises(errors.LedgerOutdated):
        await generate_in(opened, one.request, access(server.url), key=one.key)
    await rebuild(opened.library, any_library.folder, [("simulator", server.url)])
    assert (await generate_in(opened, one.request, access(server.url), key=one.key)).stored
    assert posts(server) == 4


@pytest.mark.parametrize("garbage", [b"\x00\xff{", b'{"submission_id": 1}\n', b'[1, 2]\n"text"\n', b""])
async def test_a_damaged_spool_stops_nothing(
    made, session, any_library, cells, access, run, garbage: bytes
) -> None:
    """Half lines and garbage are no entries, and a deleted spool knows nothing."""
    server, opened, _ = await made()
    (file,) = (any_library.folder / "spool").glob("accepted.*.jsonl")
    if garbage:
        file.write_bytes(file.read_bytes() + garbage + file.read_bytes()[-100:])
    else:
        file.unlink()
    opened = await session(library=any_library, budget_run="second")
    assert (await run(opened, server, cells(server, 5))).exit_code == 0
