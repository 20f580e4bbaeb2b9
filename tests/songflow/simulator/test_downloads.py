"""Song files: ranges, exact paths, no keys, and every download fault."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from songflow.simulator.files import parse_range


@pytest.fixture
def song(sim: Any) -> dict[str, Any]:
    return dict(sim.songs()[0])


def test_a_whole_file_is_served(sim: Any, song: dict[str, Any]) -> None:
    answer = sim.download(song)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["accept-ranges"] == "bytes"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content[:3] == b"ID3"
    head = sim.http.head(song["song_path"])
    assert (head.content, head.headers["content-length"]) == (b"", answer.headers["content-length"])
    assert head.headers["etag"] == answer.headers["etag"]


def test_ranges_are_served(sim: Any, song: dict[str, Any]) -> None:
    whole = sim.download(song)
    data, size = whole.content, len(whole.content)
    for header, start, stop in (
        ("bytes=0-9", 0, 10),
        ("bytes=100-", 100, size),
        ("bytes=-50", size - 50, size),
        (f"bytes=10-{size + 99}", 10, size),
    ):
        part = sim.download(song, Range=header)
        assert part.status_code == 206
        assert part.content == data[start:stop]
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
    beyond = sim.download(song, Range=f"bytes={size}-")
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    for ignored in ("bytes=-", "bytes=1-2,5-6", "items=1-2", "nonsense"):
        assert sim.download(song, Range=ignored).status_code == 200
    fresh = {"Range": "bytes=5-", "If-Range": whole.headers["etag"]}
    assert sim.http.get(song["song_path"], headers=fresh).status_code == 206
    assert sim.http.get(song["song_path"], headers={**fresh, "If-Range": '"old"'}).status_code == 200


def test_a_backwards_range_cannot_be_satisfied() -> None:
    for header in ("bytes=9-5", "bytes=-0"):
        with pytest.raises(ValueError, match="outside"):
            parse_range(header, 100)


def test_only_the_exact_published_path_is_served(sim: Any, song: dict[str, Any]) -> None:
    path = song["song_path"].removeprefix(sim.server.url)
    assert "%2520" in path
    folder, name = path.rsplit("/", 1)
    take = folder[:-1] + "2"
    wrong = [
        unquote(path),
        unquote(unquote(path)),
        f"{folder}/{name.replace('%2520', '%2B')}",
        f"{folder}/{name.replace('%2520', '%25%32%30')}",
        f"{take}/{name}",
        f"{folder[:-1]}9/{name}",
        f"{folder[:-1]}x/{name}",
        path.replace("/files/", "/files/0"),
        "/files/x",
        path + "?x=1",
    ]
    statuses = []
    for each in wrong:
        with httpx.Client(verify=False) as client:
            # A raw target, since httpx would normalise the path.
            url = httpx.URL(sim.server.url).copy_with(raw_path=each.replace(" ", "%20").encode())
            statuses.append(client.get(url).status_code)
    assert statuses == [404] * 9 + [200]


def test_downloads_need_no_key_and_a_sent_key_is_counted(simulate: Any) -> None:
    sim = simulate(accept_keys={"k"})
    auth = {"Authorization": "Bearer k"}
    job_id = sim.http.post("/udio/submit/music", json=sim.body(), headers=auth).json()["data"]
    sim.rendered(job_id)
    song = sim.http.get(f"/udio/fetch/{job_id}", headers=auth).json()["data"]["data"]["songs"][0]
    assert sim.download(song).status_code == 200
    sim.download(song, Authorization="Bearer k")
    assert sim.http.get("/_simulator/requests").json()["downloads"]["authorizations"] == 1


def _whole(sim: Any, song: dict[str, Any]) -> bytes:
    return bytes(sim.download(song).content)


PAGES: dict[str, tuple[dict[str, Any], int]] = {
    "dead": ({"fault": "dead"}, 404),
    "gone": ({"fault": "dead", "status": 410}, 410),
    "status": ({"fault": "status", "status": 503}, 503),
    "html": ({"fault": "html_200"}, 200),
    "redirect": ({"fault": "redirect"}, 302),
    "other redirect": ({"fault": "redirect", "status": 307, "location": "http://10.0.0.1/x"}, 307),
}


@pytest.mark.parametrize(("rule", "status"), PAGES.values(), ids=PAGES.keys())
def test_download_faults_answer_with_something_other_than_the_file(
    sim: Any, song: dict[str, Any], rule: dict[str, Any], status: int
) -> None:
    sim.play({**rule, "on": "download"})
    answer = sim.download(song)
    assert answer.status_code == status
    assert not answer.content.startswith(b"ID3")
    if rule["fault"] == "redirect":
        assert answer.headers["location"] == rule.get("location", song["song_path"] + "?moved=1")
    assert sim.download(song).content.startswith(b"ID3")


def test_download_faults_deliver_wrong_bytes(sim: Any, song: dict[str, Any]) -> None:
    whole = _whole(sim, song)
    sim.play({"fault": "corrupt"}, {"fault": "no_range"}, {"fault": "wrong_length"})
    corrupt = sim.download(song).content
    assert (len(corrupt), corrupt[:3] == b"ID3") == (len(whole), False)
    unranged = sim.download(song, Range="bytes=10-")
    assert (unranged.status_code, unranged.content) == (200, whole)
    assert "accept-ranges" not in unranged.headers
    assert sim.download(song).content == whole[:-1000]


BROKEN: dict[str, tuple[dict[str, Any], type[Exception], Callable[[int], int]]] = {
    "truncated": ({"fault": "truncated"}, httpx.RemoteProtocolError, lambda size: size // 2),
    "truncated at": ({"fault": "truncated", "bytes": 100}, httpx.RemoteProtocolError, lambda _: 100),
    "too long": ({"fault": "wrong_length", "bytes": 5}, httpx.RemoteProtocolError, lambda size: size),
    "reset": ({"fault": "reset_during", "bytes": 200}, httpx.ReadError, lambda _: 200),
}


@pytest.mark.parametrize(("rule", "error", "expected"), BROKEN.values(), ids=BROKEN.keys())
def test_download_faults_break_the_transfer(
    sim: Any,
    song: dict[str, Any],
    rule: dict[str, Any],
    error: type[Exception],
    expected: Callable[[int], int],
) -> None:
    whole = _whole(sim, song)
    sim.play({**rule, "on": "download"})
    got = bytearray()
    with pytest.raises(error):
        sim.receive(got, "GET", song["song_path"])
    assert got == whole[: expected(len(whole))]
    rest = sim.download(song, Range=f"bytes={len(got)}-") if len(got) < len(whole) else None
    assert got + (rest.content if rest else b"") == whole
    assert sim.http.get("/_simulator/requests").json()["downloads"]["answered"][rule["fault"]] == 1


def test_a_range_can_be_truncated(sim: Any, song: dict[str, Any]) -> None:
    whole = _whole(sim, song)
    sim.play({"fault": "truncated"})
    with pytest.raises(httpx.RemoteProtocolError):
        sim.download(song, Range=f"bytes={len(whole) - 100}-")


def test_a_download_can_be_reset_before_the_first_byte(sim: Any, song: dict[str, Any]) -> None:
    sim.play({"fault": "reset_before"})
    with pytest.raises(httpx.ReadError):
        sim.download(song)


def test_downloads_can_be_slow(sim: Any, song: dict[str, Any]) -> None:
    whole = _whole(sim, song)
    sim.play(
        {"fault": "slow", "on": "download", "seconds": 0.2},
        {"fault": "slow_drip", "on": "download", "seconds": 0.3, "bytes": 2000},
    )
    for _ in range(2):
        began = time.monotonic()
        assert _whole(sim, song) == whole
        assert time.monotonic() - began > 0.15
