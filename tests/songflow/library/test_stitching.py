"""Stitching: joined files, refused requests, and unchanged sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from songflow.errors import InputError
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in
from songflow.ledger import schema
from songflow.library.stitching import FOLDER, stitch


@pytest.fixture
async def parts(session: Any, simulator: Any, access: Any, song_request: Any) -> Any:
    """A session with a core and the new part of its outro."""
    opened = await session()
    account = access(simulator(whole_extensions=False, takes=1, clip_seconds=2.0).url)
    core = (await generate_in(opened, song_request(), account, key="core")).songs[0]
    planned = await plan_extension(opened, core.song_id, account, place="outro")
    new = (await generate_in(opened, planned.request, account, key="outro")).songs[0]
    return opened.library, core, new


async def test_a_new_part_is_joined_to_its_source(parts: Any) -> None:
    """Repeated calls make one file and one note."""
    library, core, new = parts
    made = await stitch(library, new.song_id)
    assert Path(made.path).parent == library.settings.folder / FOLDER
    assert made.seconds == pytest.approx(3.5, abs=0.01)
    assert made.as_dict()["seam"] == pytest.approx(1.75, abs=0.01)
    assert made.source == core.song_id
    assert await stitch(library, new.song_id) == made
    [song] = await library.ledger.songs.of_key("outro")
    assert song.note.count(made.path) == 1
    assert [path.name for path in Path(made.path).parent.iterdir()] == [Path(made.path).name]


async def test_invalid_requests_are_refused(parts: Any, tmp_path: Path) -> None:
    """They create no file."""
    library, core, new = parts
    taken = tmp_path / "taken.mp3"
    taken.write_bytes(b"mine")
    for song_id, options, text in (
        ("nowhere", {}, "No stored song"),
        (core.song_id, {}, "is not an extension"),
        (new.song_id, {"crossfade": -1.0}, "allowed are 0 to 10 s"),
        (new.song_id, {"target": tmp_path / "a.wav"}, "The output is an mp3"),
        (new.song_id, {"target": taken}, "exists already"),
        (new.song_id, {"source": tmp_path / "absent.mp3"}, "cannot be decoded"),
    ):
        with pytest.raises(InputError, match=text):
            await stitch(library, song_id, **options)
    assert taken.read_bytes() == b"mine"
    assert not (library.settings.folder / FOLDER).exists()


async def test_a_missing_source_is_an_error(parts: Any) -> None:
    """The error says how to give its file."""
    library, core, new = parts
    Path(core.path).unlink()
    with pytest.raises(InputError, match="cannot be joined"):
        await stitch(library, new.song_id)
    async with library.ledger.database.write("test") as connection:
        await connection.execute(
            update(schema.songs).values(song_id="gone").where(schema.songs.c.key == "core")
        )
    with pytest.raises(InputError, match="does not have the song"):
        await stitch(library, new.song_id)


async def test_a_whole_extension_needs_no_joining(
    session: Any, simulator: Any, access: Any, song_request: Any
) -> None:
    """Even if it was not compared when it was stored."""
    opened = await session()
    account = access(simulator(takes=1, clip_seconds=2.0).url)
    core = (await generate_in(opened, song_request(), account, key="core")).songs[0]
    planned = await plan_extension(opened, core.song_id, account, place="intro")
    whole = (await generate_in(opened, planned.request, account, key="intro")).songs[0]
    with pytest.raises(InputError, match="contains its source already"):
        await stitch(opened.library, whole.song_id)
    async with opened.library.ledger.database.write("test") as connection:
        await connection.execute(update(schema.songs).values(source_score=None))
    with pytest.raises(InputError, match="contains its source already"):
        await stitch(opened.library, whole.song_id)
