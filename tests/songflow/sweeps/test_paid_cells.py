"""Cells that are paid for under another alias of the same key, or another name of the gateway's host."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from songflow.errors import InputError
from songflow.generation.lifecycle import generate_in
from songflow.sweeps.cell_status import Step
from songflow.sweeps.cells import cells_of
from songflow.sweeps.paid_cells import with_summaries
from songflow.sweeps.plan import plan_cells
from songflow.sweeps.run import RunOptions
from songflow.sweeps.shards import packed, unpacked
from songflow.sweeps.spec import parse_sweep
from songflow.sweeps.status import status_of
from songflow.sweeps.sweep import run_sweep


@pytest.fixture
def swept(session, any_library):
    """Runs one spec through an account; each run is a session of its own."""

    async def run(access, **spec):
        cells = cells_of(parse_sweep({"prompt": "a slow waltz", **spec}, Path()), access)
        opened = await session(library=any_library, budget_run=uuid.uuid4().hex)
        plan = await plan_cells(cells, access, opened.library.ledger.key_summaries, concurrency=3)
        result = await run_sweep(opened, "test", cells, access, RunOptions(concurrency=3))
        assert (plan.posts, plan.price) == (result.posts, result.price)
        return opened, cells, plan, result

    return run


@pytest.mark.parametrize(
    "spec", [{"replicates": 3}, {"grid": {"seed": [1, 2, 3]}}], ids=["replicates", "seeds"]
)
async def test_a_sweep_under_two_aliases_and_two_host_names_is_paid_for_once(
    simulator, access, swept, posts, spec
) -> None:
    """One API key from the environment and from a block, through 127.0.0.1 and localhost: every song exists."""
    server = simulator()
    first = access(server.url, "cometapi", key="one", alias="env:COMETAPI_KEY")
    *_, result = await swept(first, **spec)
    assert (result.stored, result.posts) == (3, 3)
    for url, alias in (
        (server.url, "block:mine"),
        (server.url.replace("127.0.0.1", "localhost"), "env:COMETAPI_KEY"),
        (server.url.replace("127.0.0.1", "localhost"), "block:mine"),
    ):
        same = access(url, "cometapi", key="one", alias=alias)
        opened, cells, plan, again = await swept(same, **spec)
        assert (plan.existing, plan.steps, again.existing, again.posts) == (3, {Step.STORED: 3}, 3, 0)
        status = await status_of(cells, opened.library.ledger.key_summaries, [same])
        assert (status.stored, status.songs, status.left) == (3, 6, 0)
        found, _ = await with_summaries(cells, [same], opened.library.ledger.key_summaries)
        assert len({cell.key for cell in found}) == 3
    assert posts(server) == len(server.bill()) == 3


async def test_cells_that_an_earlier_version_paid_for_with_an_editors_marks_are_not_paid_again(
    simulator, access, swept, posts, tmp_path
) -> None:
    """It read a byte-order mark and blanks at line ends as parts of the texts."""
    server = simulator()
    (tmp_path / "not.txt").write_text("\ufeffdrums\nbells \nflutes\n", encoding="utf-8")
    spec = {"negative_prompt": {"lines": str(tmp_path / "not.txt")}}
    way = access(server.url, "cometapi", key="one", alias="first")
    raw = ["\ufeffdrums", "bells ", "flutes"]
    _, before, *_ = await swept(way, grid={"negative_prompt": raw}, replicates=2)
    for alias in ("first", "second"):
        account = access(server.url, "cometapi", key="one", alias=alias)
        opened, cells, plan, result = await swept(account, grid=spec, replicates=2)
        assert (plan.existing, plan.posts, result.existing, result.posts) == (6, 0, 6, 0)
        found, _ = await with_summaries(cells, [account], opened.library.ledger.key_summaries)
        assert [cell.key for cell in found] == [cell.key for cell in before]
        assert [cell.request.negative_prompt for cell in found] == [text for text in raw for _ in range(2)]
        assert len(unpacked(packed(found), account)) == 6
    *_, plan, _ = await swept(way, negative_prompt="drums")
    assert (plan.posts, posts(server)) == (1, 7)


async def test_only_the_replicates_that_are_missing_are_paid_for(simulator, access, swept, posts) -> None:
    """Cell n takes the song of cell n, and no other replicate's."""
    server = simulator()
    await swept(access(server.url, "cometapi", key="one", alias="first"), replicates=2)
    second = access(server.url, "cometapi", key="one", alias="second")
    *_, plan, result = await swept(second, replicates=3)
    assert (plan.existing, plan.posts, result.existing, result.stored) == (2, 1, 2, 1)
    *_, again = await swept(second, replicates=3)
    assert (again.existing, again.posts, posts(server)) == (3, 0, 3)


async def test_another_key_or_another_gateway_makes_other_songs(simulator, access, swept) -> None:
    """Only the same API key at the same gateway counts as the same account."""
    server = simulator()
    await swept(access(server.url, "cometapi", key="one"), replicates=1)
    for other in (
        access(server.url, "cometapi", key="two", alias="other"),
        access(server.url, "openai-hk", key="one", alias="other"),
    ):
        *_, result = await swept(other, replicates=1)
        assert (result.existing, result.stored) == (0, 1)
    assert len(server.bill()) == 3


async def test_songs_outside_of_sweeps_are_not_taken_for_cells(
    simulator, access, session, any_library, swept, song_request
) -> None:
    """A sweep makes its own song of a request that `generate` was asked for once."""
    server = simulator()
    way = access(server.url, "cometapi", key="one")
    opened = await session(library=any_library)
    await generate_in(opened, song_request("a slow waltz"), way, key="a-song-1")
    *_, result = await swept(way)
    assert (result.existing, result.stored) == (0, 1)


async def test_a_shard_on_another_machine_gets_the_keys_of_its_own_account(simulator, access, swept) -> None:
    """It finds the paid ones by itself; a shard of another account is still refused."""
    server = simulator()
    await swept(access(server.url, "cometapi", key="one", alias="first"), replicates=2)
    second = access(server.url, "cometapi", key="one", alias="second")
    opened, cells, *_ = await swept(second, replicates=2)
    found, _ = await with_summaries(cells, [second], opened.library.ledger.key_summaries)
    assert [cell.key for cell in found] != [cell.key for cell in cells]
    assert [cell.key for cell in unpacked(packed(found), second)] == [cell.key for cell in cells]
    with pytest.raises(InputError, match="belongs to another account"):
        unpacked(packed(found), access(server.url, "cometapi", key="one", alias="first"))
