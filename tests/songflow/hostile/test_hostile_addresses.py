"""Hostile song addresses and file names: nothing is written outside the library, no other host gets the key."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import songflow.downloads.address_policy
import songflow.generation.session
from songflow.audio.id3 import audio_span
from songflow.downloads.address_policy import AddressPolicy, AddressRefused, check_url


def _audio_in(song: bytes) -> bytes:
    """A song's audio without its tags."""
    start, end = audio_span(io.BytesIO(song))
    return song[start:end]


CLIMBING = "../../../../../../../../{home}/precious"


@pytest.fixture
def gateway_with(raw_host: Any, wire: Any) -> Callable[..., Any]:
    """A gateway that accepts everything as one id and announces these songs at once."""

    def start(*songs: dict[str, Any], generation_id: str = "gen-1", address: str = "127.0.0.1") -> Any:
        def answer(asked: Any) -> bytes:
            if asked.method == "POST":
                return wire.http({"code": "success", "message": "", "data": generation_id})
            return wire.http(wire.report(*songs))

        return raw_host(answer, address)

    return start


def _assert_no_key(host: Any, key: str) -> None:
    """A host never saw the gateway's key, in any header or address."""
    seen = b"".join(asked.head + asked.body for asked in host.asked)
    assert key.encode() not in seen
    assert b"authorization" not in seen.lower()


@pytest.mark.parametrize(
    "url",
    [
        "file://{precious}", "file:{precious}", "FILE://localhost{precious}", "{precious}", "ftp://{other}/x.mp3",
        "javascript:alert(1)", "data:audio/mpeg;base64,AAAA", "gopher://{other}/x", "ws://{other}/x",
        "http://user:pass@{other}/x.mp3", "http://user@{other}/x.mp3", "http://:pass@{other}/x.mp3", "http://[::1",
        "http://{other}:99999999/x", "http:///x.mp3", "http://", "http:x.mp3", "blob:http://{other}/x", "?", "#", ".",
        "///{other}/x.mp3",
        "http://exa mple/\r\nHost: {other}\r\n\r\n", "unix:/var/run/docker.sock", "http+unix://x/y", "\\\\{other}\\x",
    ],
)  # fmt: skip
def test_only_plain_web_addresses_are_followed(
    url: str,
    gateway_with: Any,
    raw_host: Any,
    wire: Any,
    generate: Any,
    watch: Any,
    mp3_song: bytes,
    home: Path,
) -> None:
    """The song stays announced with a reason, and the other host gets no request."""
    (home / "song.mp3").write_bytes(mp3_song)
    watch.before[home / "song.mp3"] = mp3_song
    other = raw_host(lambda asked: wire.http(mp3_song))
    place = url.format(precious=home / "song.mp3", other=other.url.removeprefix("http://"))
    ended = generate(gateway_with(wire.song(place)).url)
    assert (ended.code, ended.json["billed"], ended.json["state"]) == (5, "yes", "succeeded")
    assert "could not be stored: " in ended.json["error"]
    assert other.asked == []
    assert list((home / "songs").rglob("*.mp3")) == []


def test_an_address_without_a_scheme_is_fetched_without_the_key(
    gateway_with: Any, raw_host: Any, wire: Any, generate: Any, watch: Any, mp3_song: bytes, key: str
) -> None:
    """It is completed by the gateway's own, and still another host."""
    other = raw_host(lambda asked: wire.http(mp3_song))
    place = f"//{other.url.removeprefix('http://')}/x.mp3"
    assert generate(gateway_with(wire.song(place)).url).code == 0
    assert [asked.target for asked in other.asked] == ["/x.mp3"]
    _assert_no_key(other, key)


@pytest.mark.parametrize(
    "location",
    [
        "file://{home}/precious.mp3",
        "ftp://{third}/x",
        "http://u:p@{third}/x.mp3",
        "javascript:1",
        "http://[",
        "",
    ],
)
def test_a_redirect_is_checked_like_an_address(
    location: str, gateway_with: Any, raw_host: Any, wire: Any, generate: Any, watch: Any, home: Path
) -> None:
    """Only public addresses get a request, whatever the first host answers."""
    third = raw_host(lambda asked: wire.http(b"no"))
    place = location.format(home=home, third=third.url.removeprefix("http://"))
    songs = raw_host(lambda asked: wire.http(b"", 302, ("Location", place)))
    ended = generate(gateway_with(wire.song(f"{songs.url}/x.mp3")).url)
    assert ended.code == 5
    assert third.asked == []
    assert list((home / "songs").rglob("*.mp3")) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_followed_without_the_key(
    status: int,
    gateway_with: Any,
    raw_host: Any,
    wire: Any,
    generate: Any,
    watch: Any,
    mp3_song: bytes,
    key: str,
) -> None:
    """Not even from the gateway's own host, where the key belongs."""
    third = raw_host(lambda asked: wire.http(mp3_song))
    gateway = gateway_with()
    plain = gateway.answer

    def answer(asked: Any) -> bytes:
        if asked.target.endswith(".mp3"):
            assert "authorization" not in asked.headers
            return wire.http(b"", status, ("Location", f"{third.url}/moved.mp3"), ("Set-Cookie", "a=b"))
        if asked.method == "GET":
            return wire.http(wire.report(wire.song(f"{gateway.url}/files/x.mp3")))
        return plain(asked)

    gateway.answer = answer
    ended = generate(gateway.url)
    assert ended.code == 0
    assert _audio_in(Path(ended.json["songs"][0]["path"]).read_bytes()) == _audio_in(mp3_song)
    assert [asked.target for asked in third.asked] == ["/moved.mp3"]
    assert "cookie" not in third.asked[0].headers
    _assert_no_key(third, key)


def test_circular_redirects_end(gateway_with: Any, raw_host: Any, wire: Any, generate: Any) -> None:
    """After a few hops the address counts as dead."""
    songs = raw_host(lambda asked: wire.http(b"", 302, ("Location", "/again.mp3")))
    ended = generate(gateway_with(wire.song(f"{songs.url}/x.mp3")).url)
    assert ended.code == 5
    assert "redirected more than 5 times" in ended.json["error"]
    assert len(songs.asked) == 6


# --- a public gateway -------------------------------------------------------------------------------------------


@pytest.fixture
def public_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway counts as public, and 127.0.0.2 as an address of the open web."""
    really_private = songflow.downloads.address_policy._is_private

    async def public(_host: str, _resolved: Any) -> AddressPolicy:
        return AddressPolicy()

    monkeypatch.setattr(songflow.generation.session, "policy_for", public)
    monkeypatch.setattr(
        songflow.downloads.address_policy,
        "_is_private",
        lambda address: address != "127.0.0.2" and really_private(address),
    )


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Host names that resolve to these addresses in turn, the last one for ever."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **named: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        left = known.get(name)
        if left is None:
            return real(host, *args, **named)
        return real(left.pop(0) if len(left) > 1 else left[0], *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0",
        "[::ffff:127.0.0.1]",
        "home.example",
    ],
)
@pytest.mark.parametrize("redirected", [False, True], ids=["announced", "redirected"])
def test_a_public_gateway_cannot_lead_into_the_private_network(
    host: str,
    redirected: bool,
    public_gateway: None,
    names: dict[str, list[str]],
    gateway_with: Any,
    raw_host: Any,
    wire: Any,
    generate: Any,
    watch: Any,
    mp3_song: bytes,
) -> None:
    """Neither by the song's address nor by a redirect, however the address is written."""
    names["home.example"] = ["127.0.0.1"]
    inside = raw_host(lambda asked: wire.http(mp3_song))
    target = f"http://{host}:{inside.url.rpartition(':')[2]}/x.mp3"
    outside = raw_host(lambda asked: wire.http(b"", 302, ("Location", target)), "127.0.0.2")
    ended = generate(gateway_with(wire.song(f"{outside.url}/x.mp3" if redirected else target)).url)
    assert ended.code == 5
    assert "is a private address, and the gateway is not" in ended.json["error"]
    assert inside.asked == []
    assert bool(outside.asked) is redirected


def test_a_name_that_changes_after_the_check_is_noticed_before_its_answer_is_read(
    public_gateway: None,
    names: dict[str, list[str]],
    gateway_with: Any,
    raw_host: Any,
    wire: Any,
    generate: Any,
    watch: Any,
    mp3_song: bytes,
    key: str,
    home: Path,
) -> None:
    """The second look-up of a rebound name is private: no part of its answer is stored."""
    inside = raw_host(lambda asked: wire.http(mp3_song))
    names["rebound.example"] = ["127.0.0.2", "127.0.0.1"]
    address = f"http://rebound.example:{inside.url.rpartition(':')[2]}/x.mp3"
    ended = generate(gateway_with(wire.song(address)).url)
    assert ended.code == 5
    assert list((home / "songs").rglob("*.mp3")) == []
    assert list((home / "songs").rglob("*.part")) == []
    _assert_no_key(inside, key)


@pytest.mark.parametrize("answer", [["127.0.0.2", "10.0.0.1"], ["10.0.0.1", "127.0.0.2"]])
async def test_one_private_address_of_several_is_enough(
    answer: list[str], public_gateway: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with a public and a private address is private."""

    async def both(*_args: Any, **_named: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", both)
    with pytest.raises(AddressRefused, match="private"):
        await check_url("http://both.example/x.mp3", allow_private=False)


# --- names that climb -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["{title}-{uid}.mp3", "{song_id}.mp3", "{title}{song_id}"])
@pytest.mark.parametrize(
    "name",
    [CLIMBING, "..", "/{home}/precious", "..\\..\\precious", "a/../../precious", ".", "~/x", "\0/../x", "|x"],
)
def test_names_from_the_gateway_stay_inside_the_library(
    name: str,
    template: str,
    gateway_with: Any,
    raw_host: Any,
    wire: Any,
    generate: Any,
    watch: Any,
    home: Path,
    mp3_song: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Titles and ids of songs and generations that are paths: one file in the audio folder, nothing elsewhere."""
    monkeypatch.setenv("SONGFLOW_NAME_TEMPLATE", template)
    said = name.format(home=home)
    songs = raw_host(lambda asked: wire.http(mp3_song))
    gateway = gateway_with(
        wire.song(f"{songs.url}/x.mp3", id=said, title=said), generation_id=said.replace("\0", "")
    )
    ended = generate(gateway.url)
    assert ended.code == 0, ended.json
    path = Path(ended.json["songs"][0]["path"])
    assert path.parent == home / "songs" / "audio"
    assert path.resolve() == path
    assert _audio_in(path.read_bytes()) == _audio_in(mp3_song)
    fetches = [asked.target for asked in gateway.asked if asked.method == "GET"]
    assert fetches
    for target in fetches:
        assert target.startswith("/udio/fetch/")
        last = target.removeprefix("/udio/fetch/")
        assert "/" not in last
        assert last not in {"", ".", ".."}


def test_hostile_titles_of_a_whole_generation_are_harmless(
    generate: Any, watch: Any, home: Path, simulator: Any
) -> None:
    """Paths, control characters, markup, devices, blanks: each take is a file of its own."""
    server = simulator({"fault": "hostile_titles", "times": None}, takes=8, pool=8, clip_seconds=0.5)
    for number in range(2):
        ended = generate(server.url, "--key", f"k{number}", prompt=f"waltz {number}", deadline=30.0)
        assert ended.code == 0
        assert all(Path(one["path"]).parent == home / "songs" / "audio" for one in ended.json["songs"])
    assert len(list((home / "songs" / "audio").glob("*.mp3"))) == 16
    traffic = server.gateway.traffic
    assert traffic.download_authorizations == 0
