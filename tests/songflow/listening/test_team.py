"""A room that others may use: by its name, with a token, and never in the clear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from benchmarks.library import fill
from songflow.errors import InputError, InvalidEnvironment
from songflow.listening import listening_app
from songflow.listening.access import TOKEN_HEADER, Team
from songflow.listening.team import team_of
from songflow.settings import LibrarySettings, room_token

TOKEN = SecretStr("a-token-of-the-team")
PUBLIC = "https://songs.example.com"


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A room behind a proxy, asked as the proxy does."""
    await asyncio.to_thread(fill, tmp_path, 2)
    app = listening_app(LibrarySettings(tmp_path), team_of("127.0.0.1", TOKEN, proxy=PUBLIC))
    token = app.state.access.page_token
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=PUBLIC, headers={TOKEN_HEADER: token}
        ) as client,
    ):
        yield client


async def test_only_those_who_know_the_token_come_in(room: httpx.AsyncClient) -> None:
    """To no page, song, file or script; a browser then asks for it."""
    for auth in (None, ("Ann", ""), ("Ann", "a-token-of-another"), ("", "")):
        for path in ("/", "/songs", "/songs/1/audio", "/assets/room.js", "/nothing"):
            refused = await room.get(path, auth=auth or httpx.USE_CLIENT_DEFAULT)
            assert (refused.status_code, "Basic" in refused.headers["www-authenticate"]) == (401, True)
    for name in ("", " "):  # judgements are recorded under it
        nameless = await room.get("/songs", auth=(name, TOKEN.get_secret_value()))
        assert (nameless.status_code, "your name" in nameless.text) == (401, True)
    broken = await room.get("/songs", headers={"Authorization": "Basic no base64"})
    assert broken.status_code == 401
    assert (await room.get("/songs", auth=("Ann", TOKEN.get_secret_value()))).json()["total"] == 2


async def test_what_they_say_is_recorded_under_their_names(room: httpx.AsyncClient) -> None:
    """The user's name of the browser's question."""
    auth = ("Ann Ä", TOKEN.get_secret_value())
    assert (await room.put("/songs/1/rating", json={"rating": 5}, auth=auth)).status_code == 200
    assert [one["by"] for one in (await room.get("/songs/1", auth=auth)).json()["judgements"]] == ["Ann Ä"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": PUBLIC}, 200),
        ({"Host": "127.0.0.1:8766", "Origin": PUBLIC}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "http://songs.example.com"}, 403),
        ({"Host": "songs.example.com.evil.example"}, 421),
        ({TOKEN_HEADER: "of another page"}, 403),
    ],
)
async def test_a_browser_that_knows_it_may_not_be_used_by_other_sites(
    room: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    """It sends the token with every request, also with those of other sites."""
    auth = (".", TOKEN.get_secret_value())
    sent = await room.put("/songs/1/rating", json={"rating": 1}, headers=headers, auth=auth)
    assert sent.status_code == status


def test_a_room_is_never_open_by_accident(tmp_path: Path) -> None:
    """Without a token, without TLS or a proxy, at every address, or with a certificate that is not there."""
    files = (tmp_path / "cert.pem", tmp_path / "key.pem")
    for file in files:
        file.touch()
    assert team_of("127.0.0.1", None) is None
    assert team_of("localhost", TOKEN) == Team(TOKEN, "localhost")
    assert team_of("Studio.lan", TOKEN, tls=files) == Team(TOKEN, "studio.lan", encrypted=True)
    assert team_of("10.0.0.5", TOKEN, proxy=f"{PUBLIC}:443/") == Team(TOKEN, "songs.example.com", PUBLIC)
    for host, token, tls, proxy, fault in (
        ("studio.lan", None, files, None, "needs a token"),
        ("127.0.0.1", None, None, PUBLIC, "needs a token"),
        ("studio.lan", TOKEN, None, None, "readable on the way"),
        ("0.0.0.0", TOKEN, files, None, "must know the name"),
        ("::", TOKEN, files, None, "must know the name"),
        ("studio.lan", TOKEN, (tmp_path / "none", files[1]), None, "no file"),
        ("127.0.0.1", TOKEN, None, "http://songs.example.com", "allowed is"),
        ("127.0.0.1", TOKEN, None, f"{PUBLIC}/room", "allowed is"),
        ("127.0.0.1", TOKEN, None, f"{PUBLIC}:abc", "allowed is"),
        ("127.0.0.1", TOKEN, None, f"{PUBLIC}:99999", "allowed is"),
        ("127.0.0.1", TOKEN, None, "https://[x", "allowed is"),
    ):
        with pytest.raises(InputError, match=fault) as caught:
            team_of(host, token, tls=tls, proxy=proxy)
        assert TOKEN.get_secret_value() not in str(caught.value)


def test_a_token_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is long enough; no message has it."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN.get_secret_value()}\n")
    assert (room_token(), room_token(file)) == (None, TOKEN)
    monkeypatch.setenv("SONGFLOW_ROOM_TOKEN", "too-short")
    file.write_text("short")
    for wrong in (None, file, tmp_path / "none"):
        with pytest.raises(InvalidEnvironment) as caught:
            room_token(wrong)
        assert "short" not in str(caught.value)
