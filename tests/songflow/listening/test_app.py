"""The listening room's application: songs, audio, ratings, and access control."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from songflow.catalog.manifest import read_manifest
from songflow.generation.lifecycle import generate_in
from songflow.listening import listening_app
from songflow.settings import LibrarySettings

HERE = "http://127.0.0.1:8766"


@pytest.fixture
async def whole(simulator: Any, session: Any, access: Any, song_request: Any) -> Any:
    """A session whose library holds a waltz of two takes and an extension of its first."""
    opened, gateway = await session(), access(simulator().url)
    first = await generate_in(opened, song_request("a <b>waltz</b>"), gateway, key="core")
    longer = song_request("more", mode="continuation", source_song_id=first.songs[0].song_id)
    await generate_in(opened, longer, gateway, key="more")
    return opened


@pytest.fixture
async def room(whole: Any, library_settings: LibrarySettings) -> AsyncIterator[httpx.AsyncClient]:
    """The room of that library."""
    app = listening_app(library_settings)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=HERE) as client,
    ):
        yield client


async def test_all_takes_are_listed_newest_generation_first(room: httpx.AsyncClient) -> None:
    """With what one compares takes by, and where an extension comes from; no path of this machine is in it."""
    answer = (await room.get("/songs")).json()
    songs = answer["songs"]
    assert [(song["mode"], song["take"], song["depth"]) for song in songs] == [
        ("continuation", 0, 1),
        ("continuation", 1, 1),
        ("regular", 0, 0),
        ("regular", 1, 0),
    ]
    assert songs[0]["parent_song_id"] == songs[2]["song_id"]
    assert songs[2]["request"]["prompt"] == "a <b>waltz</b>"
    assert all("path" not in song and song["stored"] for song in songs)


async def test_audio_is_served_completely_and_by_range(room: httpx.AsyncClient, whole: Any) -> None:
    """As a browser's player asks for it when somebody jumps."""
    rows = await whole.library.ledger.songs.of_key("core")
    data = Path(rows[0].path).read_bytes()
    at = f"/songs/{rows[0].id}/audio"
    everything = await room.get(at)
    assert (everything.status_code, everything.content) == (200, data)
    assert everything.headers["content-type"] == "audio/mpeg"
    part = await room.get(at, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, data[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(data)}"
    assert (await room.get(at, headers={"Range": f"bytes={len(data)}-"})).status_code == 416


async def test_unknown_and_missing_songs_have_no_audio(room: httpx.AsyncClient, whole: Any) -> None:
    """A number of no row, a file that is gone, and everything that tries to be a path."""
    rows = await whole.library.ledger.songs.of_key("core")
    Path(rows[0].path).unlink()
    for path, status in (
        ("/songs/999/audio", 404),
        (f"/songs/{rows[0].id}/audio", 404),
        ("/songs/../ledger.sqlite/audio", 404),
        ("/songs/%2e%2e%2fledger.sqlite/audio", 404),
        ("/songs/..%2f..%2fetc%2fpasswd/audio", 404),
        ("/songs/x/audio", 422),
        ("/assets/app.py", 404),
        ("/assets/..%2fapp.py", 404),
        ("/assets/%2e%2e/app.py", 404),
        ("/openapi.json", 404),
        ("/docs", 404),
    ):
        assert (await room.get(path)).status_code == status, path


async def test_a_rating_is_stored_and_removed(room: httpx.AsyncClient, whole: Any) -> None:
    """In the ledger, where the manifest finds it; a wrong one changes nothing."""
    ledger = whole.library.ledger
    number = (await ledger.songs.of_key("core"))[1].id
    assert (await room.put(f"/songs/{number}/rating", json={"rating": 4})).json() == {"rating": 4.0}
    frame = await read_manifest(ledger)
    assert frame.set_index(["key", "take"])["rating"].dropna().to_dict() == {("core", 1): 4.0}
    for body, status in (({"rating": 6}, 422), ({"rating": "x"}, 422), ({}, 422), ([], 422)):
        assert (await room.put(f"/songs/{number}/rating", json=body)).status_code == status
    assert (await ledger.songs.get(number)).rating == 4
    assert (await room.put("/songs/999/rating", json={"rating": 4})).status_code == 422
    assert (await room.put(f"/songs/{number}/rating", json={"rating": None})).json() == {"rating": None}
    assert (await ledger.songs.get(number)).rating is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:8766"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "evil.example@127.0.0.1.x"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "[::"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
        ({"Origin": HERE}, 200),
        ({"Host": "localhost:8766"}, 200),
        ({"Host": "[::1]:8766"}, 200),
    ],
)
async def test_only_this_machines_own_page_has_access(
    room: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """A foreign name that points here, or another site's script, gets neither songs nor audio nor ratings."""
    assert (await room.get("/songs", headers=headers)).status_code == status
    rating = await room.put("/songs/1/rating", json={"rating": 1}, headers=headers)
    assert rating.status_code == status
    assert (await room.get("/", headers=headers)).status_code == status


async def test_a_form_of_another_site_cannot_rate(room: httpx.AsyncClient, whole: Any) -> None:
    """What a browser sends without asking first is turned away."""
    number = (await whole.library.ledger.songs.of_key("core"))[0].id
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        sent = await room.put(
            f"/songs/{number}/rating", content=b'{"rating": 1}', headers={"Content-Type": kind}
        )
        assert sent.status_code == 415
    assert (await whole.library.ledger.songs.get(number)).rating is None


async def test_every_answer_forbids_foreign_scripts(room: httpx.AsyncClient) -> None:
    """The page, its script, its style, and refusals."""
    for path in ("/", "/assets/room.js", "/assets/room.css", "/songs", "/nothing"):
        answer = await room.get(path)
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert "http" not in (await room.get("/")).text.replace("http-equiv", "")


async def test_a_song_of_a_remote_store_is_fetched_from_it(
    simulator: Any,
    session: Any,
    access: Any,
    song_request: Any,
    library_settings: LibrarySettings,
    tmp_path: Path,
) -> None:
    """To fsspec `local` is a file system like any other."""
    remote = replace(library_settings, audio_url=f"local://{tmp_path}/bucket")
    opened = await session(library=remote)
    await generate_in(opened, song_request(), access(simulator(takes=1).url), key="k")
    (song,) = await opened.library.ledger.songs.of_key("k")
    app = listening_app(replace(remote))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=HERE) as room,
    ):
        stored = Path(tmp_path / "bucket" / Path(song.path).name)
        assert (await room.get(f"/songs/{song.id}/audio")).content == stored.read_bytes()
        stored.unlink()
        assert (await room.get(f"/songs/{song.id}/audio")).status_code == 404
