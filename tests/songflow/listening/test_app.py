"""The listening room's application: songs, audio, ratings, and access control."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from support.stores import Bucket

from songflow.catalog.manifest import read_manifest
from songflow.generation.lifecycle import generate_in
from songflow.listening import listening_app
from songflow.listening.access import TOKEN_HEADER
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
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url=HERE,
            headers={TOKEN_HEADER: app.state.access.page_token},
        ) as client,
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
    assert songs[0]["parent"] == {"id": songs[2]["id"], "title": songs[2]["title"]}
    assert songs[2]["request"]["prompt"] == "a <b>waltz</b>"
    assert all("path" not in song and song["stored"] for song in songs)
    assert (answer["total"], (await room.get("/library")).json()["songs"]) == (4, 4)


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


async def test_a_song_has_the_type_of_its_file(
    room: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers are told not to guess it."""
    for ending, kind in ((".wav", "audio/wav"), (".flac", "audio/flac"), (".m4a", "audio/mp4"),
                         (".ogg", "audio/ogg"), (".whole.mp3", "audio/mpeg")):  # fmt: skip
        stored = AsyncMock(return_value=str(tmp_path / f"song{ending}"))
        (tmp_path / f"song{ending}").write_bytes(b"sound")
        monkeypatch.setattr("songflow.listening.app.stored_audio", stored)
        for address in ("/songs/1/audio", "/songs/1/download"):
            assert (await room.get(address)).headers["content-type"] == kind


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
    assert (await room.put(f"/songs/{number}/rating", json={"rating": 4})).json()["rating"] == 4
    frame = await read_manifest(ledger)
    assert frame.set_index(["key", "take"])["rating"].dropna().to_dict() == {("core", 1): 4.0}
    for body, status in (({"rating": 6}, 422), ({"rating": "x"}, 422), ({}, 422), ([], 422)):
        assert (await room.put(f"/songs/{number}/rating", json=body)).status_code == status
    assert (await ledger.songs.get(number)).rating == 4
    assert (await room.put("/songs/999/rating", json={"rating": 4})).status_code == 422
    assert (await room.put(f"/songs/{number}/rating", json={"rating": None})).json()["rating"] is None
    assert (await ledger.songs.get(number)).rating is None


async def test_judgements_are_stored_and_undone(room: httpx.AsyncClient, whole: Any) -> None:
    """Decisions, notes and comparisons, each with its id; the list shows at once what stands."""
    ledger = whole.library.ledger
    one, other = (song.id for song in await ledger.songs.of_key("core"))
    kept = (await room.put(f"/songs/{one}/decision", json={"decision": "keep"})).json()
    noted = (await room.put(f"/songs/{one}/notes", json={"notes": "a <b>drum</b> too many"})).json()
    assert (kept["decision"], noted["decision"], noted["notes"]) == ("keep", "keep", "a <b>drum</b> too many")
    found = (await room.get("/songs", params={"decision": "keep", "find": "drum"})).json()
    assert [song["id"] for song in found["songs"]] == [one]
    undone = (await room.post("/judgements/undo", json={"judgement": kept["judgement"]})).json()
    standing = {"id": one, "rating": None, "decision": None, "notes": noted["notes"], "trashed": False}
    assert undone == {"songs": [standing]}
    assert (await room.get("/songs", params={"decision": "keep"})).json()["total"] == 0
    assert (await room.post("/judgements/undo", json={"judgement": kept["judgement"]})).status_code == 422
    assert (await room.post("/comparisons", json={"winner": other, "loser": one})).status_code == 200
    assert [judged.kind for judged in await ledger.judgements.of_song(other)] == ["winner"]
    for path, body in (
        (f"/songs/{one}/decision", {"decision": "maybe"}),
        (f"/songs/{one}/notes", {"notes": "x" * 10_001}),
        ("/songs/999/decision", {"decision": "keep"}),
    ):
        assert (await room.put(path, json=body)).status_code == 422
    assert (await room.post("/comparisons", json={"winner": one, "loser": one})).status_code == 422


async def test_a_song_is_moved_to_the_trash_and_back(room: httpx.AsyncClient, whole: Any) -> None:
    """It is discarded, can still be heard, and comes back without the decision."""
    ledger = whole.library.ledger
    number = (await ledger.songs.of_key("core"))[0].id
    before = (await ledger.songs.get(number)).path
    gone = (await room.put(f"/songs/{number}/trash", json={"trashed": True})).json()
    assert (gone["decision"], gone["trashed"]) == ("discard", True)
    assert not Path(before).exists()
    assert (await room.get(f"/songs/{number}/audio")).status_code == 200
    assert (await room.get("/songs", params={"state": "trashed"})).json()["total"] == 1
    back = (await room.put(f"/songs/{number}/trash", json={"trashed": False})).json()
    assert (back["decision"], back["trashed"]) == (None, False)
    assert (await ledger.songs.get(number)).path == before
    assert Path(before).exists()
    assert (await room.put("/songs/999/trash", json={"trashed": True})).status_code == 422


async def test_only_discarded_songs_are_in_the_trash(room: httpx.AsyncClient, whole: Any) -> None:
    """Keeping one brings its files back, as undoing its discarding does; one that is not there keeps its decision."""
    ledger = whole.library.ledger
    number = (await ledger.songs.of_key("core"))[0].id
    before = (await ledger.songs.get(number)).path
    await room.put(f"/songs/{number}/trash", json={"trashed": True})
    kept = (await room.put(f"/songs/{number}/decision", json={"decision": "keep"})).json()
    assert (kept["decision"], kept["trashed"]) == ("keep", False)
    assert (await ledger.songs.get(number)).path == before
    still = (await room.put(f"/songs/{number}/trash", json={"trashed": False})).json()
    assert (still["decision"], still["trashed"]) == ("keep", False)
    again = (await room.put(f"/songs/{number}/trash", json={"trashed": True})).json()
    undone = (await room.post("/judgements/undo", json={"judgement": again["judgement"]})).json()["songs"]
    assert [(song["decision"], song["trashed"]) for song in undone] == [("keep", False)]
    assert Path(before).exists()


async def test_one_song_is_shown_with_its_family(room: httpx.AsyncClient, whole: Any) -> None:
    """Its request, takes, ancestors and extensions; no path, address or account of this machine's user."""
    (first, second), (longer, _) = [await whole.library.ledger.songs.of_key(key) for key in ("core", "more")]
    shown = (await room.get(f"/songs/{longer.id}")).json()
    assert ([one["id"] for one in shown["ancestors"]], len(shown["takes"])) == ([first.id], 2)
    assert shown["fields"]["source_song_id"] == first.song_id
    source = (await room.get(f"/songs/{first.id}")).json()
    assert longer.id in [one["id"] for one in source["extensions"]]
    assert (source["sha256"], source["file"]) == (first.sha256, Path(first.path).name)
    assert [one["id"] for one in source["takes"]] == [first.id, second.id]
    assert str(whole.library.settings.folder) not in str(source)
    assert (await room.get("/songs/999")).status_code == 404


async def test_filters_offer_what_the_songs_have(room: httpx.AsyncClient) -> None:
    """With how many songs have each value; what all songs have in common is left out."""
    answer = (await room.get("/facets")).json()
    offered = {one["name"]: one for one in answer["facets"]}
    assert {one["value"]: one["songs"] for one in offered["mode"]["values"]} == {
        "regular": 2,
        "continuation": 2,
    }
    assert "gateway" not in offered
    assert answer["orders"][0] == "newest"


async def test_the_desk_is_served(room: httpx.AsyncClient, whole: Any) -> None:
    """What the player, the comparisons and the forms ask for."""
    songs = [song.id for song in await whole.library.ledger.songs.of_key("core")]
    played = (await room.get(f"/songs/{songs[0]}")).json()
    assert [take["id"] for take in played["takes"]] == songs
    assert (await room.get("/unjudged")).json()["left"] == 4
    assert len((await room.get("/pairs/next")).json()["songs"]) == 2
    pair = (await room.get("/pairs/of", params={"song": songs})).json()["songs"]
    assert [song["id"] for song in pair] == songs
    assert (await room.get("/pairs/of", params={"song": [songs[0], songs[0]]})).status_code == 404
    assert (await room.get("/sweeps")).json() == {"sweeps": []}
    assert (await room.get("/sweeps/cells", params={"run": "none"})).status_code == 404
    assert (await room.get("/orders")).json() == {"orders": []}
    assert "prompt" in (await room.get(f"/songs/{songs[0]}/form")).text
    # The account of this library's songs has no key in the environment.
    order = {"song": songs[0], "kind": "more"}
    assert "no key for its account" in (await room.post("/orders/plan", json=order)).text
    confirmed = {"order": order, "key": f"room-{0:024x}", "price": 1}
    assert (await room.post("/orders", json=confirmed)).status_code == 422
    assert (await room.post("/orders", json=confirmed, headers={TOKEN_HEADER: "x"})).status_code == 403


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


async def test_only_the_rooms_own_page_may_change_something(room: httpx.AsyncClient, whole: Any) -> None:
    """It has the token of this process; another program's request without it is turned away."""
    number = (await whole.library.ledger.songs.of_key("core"))[0].id
    token = room.headers.pop(TOKEN_HEADER)
    assert token in (await room.get("/")).text
    for given in ({}, {TOKEN_HEADER: "x"}, {TOKEN_HEADER: "é".encode()}):
        sent = await room.put(f"/songs/{number}/rating", json={"rating": 1}, headers=given)
        assert (sent.status_code, sent.text) == (403, "The page is of an earlier room: reload it.")
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
) -> None:
    """Only the bytes that are asked for, and nothing once it is gone."""
    remote = replace(library_settings, audio_url="bucket://listening/songs")
    opened = await session(library=remote)
    await generate_in(opened, song_request(), access(simulator(takes=1).url), key="k")
    (song,) = await opened.library.ledger.songs.of_key("k")
    app = listening_app(replace(remote))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=HERE) as room,
    ):
        data = Bucket().cat(song.path)
        assert (await room.get(f"/songs/{song.id}/audio")).content == data
        saved = await room.get(f"/songs/{song.id}/download")
        assert saved.content == data
        assert saved.headers["content-disposition"].startswith("attachment; filename*=utf-8''")
        for asked, got in (
            ("bytes=100-199", data[100:200]),
            ("bytes=-50", data[-50:]),
            ("bytes=7-", data[7:]),
        ):
            part = await room.get(f"/songs/{song.id}/audio", headers={"Range": asked})
            assert (part.status_code, part.content) == (206, got)
            assert part.headers["content-range"].endswith(f"/{len(data)}")
        beyond = await room.get(f"/songs/{song.id}/audio", headers={"Range": f"bytes={len(data)}-"})
        assert beyond.status_code == 416
        for wrong in ("bytes=9-3", "bytes=-", "bytes=1-2,5-6", "songs=1-2"):
            whole = await room.get(f"/songs/{song.id}/audio", headers={"Range": wrong})
            assert (whole.status_code, whole.content) == (200, data)
        Bucket().rm(song.path)
        assert (await room.get(f"/songs/{song.id}/audio")).status_code == 404
