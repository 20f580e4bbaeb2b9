"""Sweeps of extensions: fields are inherited from the parent, and its gateway makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from songflow.errors import InputError, InvalidDocument
from songflow.families.registry import parse_request
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PayingPolicy
from songflow.settings import LibrarySettings
from songflow.sweeps.cells import cells_of, key_stem
from songflow.sweeps.parents import cells_in, find_cells, key_stems, parents_in
from songflow.sweeps.run import RunOptions, SweepRun
from songflow.sweeps.spec import parse_sweep


def extensions(song_id: str, **more: Any) -> Any:
    return parse_sweep(
        {"source_song_id": song_id, "grid": {"place": ["intro", "outro"], "seed": [1, 2]}, **more}, Path()
    )


async def test_extensions_of_one_song_inherit_its_request_and_are_made(
    simulator, access, session, song_request, library_settings
) -> None:
    server, opened = simulator(pool=0), await session()
    way = access(server.url)
    core = await generate_in(
        opened, song_request("a tango", lyrics="la la", clarity_strength=0.6), way, key="core"
    )
    song_id = core.stored[0].song_id
    sweep = extensions(song_id)
    cells = await cells_in(opened, sweep, way)
    assert {(one.request.prompt, one.request.lyrics, one.request.clarity_strength) for one in cells} == {
        ("a tango", "la la", 0.6)
    }
    assert [(one.request.mode, one.request.song_section_start) for one in cells[::2]] == [
        ("precede", 0),
        ("continuation", 0.9),
    ]
    assert await find_cells(sweep, way, library_settings) == cells
    assert await find_cells(extensions(song_id[:6]), way, library_settings) == cells
    assert await key_stems(extensions(song_id[:6]), library_settings) == {
        key_stem(cell.request) for cell in cells
    }, "a report finds them, though their account is another one's"
    run = SweepRun(opened, way, RunOptions())
    await run.work(cells)
    assert run.tally.stored == 4
    made = await opened.library.ledger.songs.of_key(cells[0].key)
    assert {song.parent_song_id for song in made} == {song_id}


async def test_a_song_of_another_family_is_continued_at_several_seconds(simulator, access, session) -> None:
    """The cells name the generation of their source, as these gateways want it, and each has a key of its own."""
    server, opened = simulator(pool=0, takes=1, clip_seconds=1.0), await session()
    way = access(server.url)
    request = parse_request({"prompt": "a tango", "model_type": "chirp-auk"})
    core = await generate_in(opened, request, way, key="core")
    fields = {"source_song_id": core.stored[0].song_id, "grid": {"at": [0.4, 0.6]}}
    sweep = parse_sweep(fields, Path())
    cells = cells_of(sweep, way, await parents_in(opened, sweep, way))
    run = SweepRun(opened, way, RunOptions())
    await run.work(cells)
    assert (run.tally.stored, len({cell.key for cell in cells})) == (2, 2)
    sent = [entry.body for entry in server.bill()[1:]]
    assert {body["task_id"] for body in sent} == {core.generation_id}
    assert sorted(body["continue_at"] for body in sent) == [0.4, 0.6]

    behind = parse_sweep({**fields, "grid": {"at": [0.4, 9]}}, Path())
    with pytest.raises(InvalidDocument, match=r"cell 2 .*continue_at is 9 s, and the song's own part is"):
        cells_of(behind, way, await parents_in(opened, behind, way))


async def test_a_song_that_only_the_gateway_knows_needs_a_prompt(access, tmp_path: Path) -> None:
    sweep, way = extensions("somewhere"), access("http://127.0.0.1:9")
    with pytest.raises(
        InvalidDocument, match="prompt is required to extend a song that is not in this library"
    ):
        await find_cells(sweep, way, LibrarySettings(tmp_path / "none"))
    assert len(cells_of(extensions("somewhere", prompt="a coda"), way)) == 4


async def test_a_song_of_another_gateway_is_refused(simulator, access, session, song_request) -> None:
    server, opened = simulator(), await session()
    core = await generate_in(opened, song_request(), access(server.url), key="core")
    sweep = extensions(core.stored[0].song_id)
    with pytest.raises(InputError, match="with the gateway that has the song") as caught:
        await parents_in(opened, sweep, access("http://127.0.0.1:9"))
    assert caught.value.exit_code == 2


async def test_a_cell_that_extends_a_song_falls_back_only_at_the_songs_gateway(
    simulator, access, session, cells
) -> None:
    """Another gateway cannot have the song, so it gets no request; another account of the same one does."""
    server, other = simulator(accept_keys=frozenset({"second-key-0123456789"}), pool=0), simulator()
    opened, second = await session(), access(server.url, key="second-key-0123456789", alias="second")
    core = await generate_in(opened, cells(server, 1)[0].request, second, key="core")
    fields = {"prompt": "a coda", "mode": "continuation", "source_song_id": core.stored[0].song_id}
    run = SweepRun(
        opened, access(server.url), RunOptions(policy=PayingPolicy(fallbacks=(access(other.url),)))
    )
    await run.work(cells(server, 1, **fields))
    assert (run.tally.refused, len(other.bill()), len(server.bill())) == (1, 0, 1)
    run = SweepRun(
        opened, access(server.url), RunOptions(policy=PayingPolicy(fallbacks=(access(other.url), second)))
    )
    await run.work(cells(server, 1, **fields))
    assert (run.tally.stored, len(other.bill()), len(server.bill())) == (1, 0, 2)
