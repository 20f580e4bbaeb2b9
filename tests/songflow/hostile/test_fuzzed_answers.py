"""Fuzzed answers: the command always ends with one JSON object and a documented exit code."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

GROUPS, EACH = 6, 25
STATUSES = (200, 200, 200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 408, 429, 500, 503, 524, 599)
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, -(10**30), 1e308, 0.1, "", " ", "\0", "\ud800", "\x1b[31m\x07\r\n",
    "../../../../etc/passwd", "..", "/etc/passwd", "C:\\x", "\u202egnp.exe", "x" * 20_000, "🎸" * 300, [], {}, [[]],
    [None, 1, "x"], {"": None}, {"songs": "songs"}, {"data": {"data": {"data": []}}}, "SUCCESS", "FAILURE", "\ufeff",
    "javascript:alert(1)", "file:///etc/passwd", "http://", "http://[::1", "http://127.0.0.1:1/x.mp3", "//x/y",
    "[bold red]markup[/]", "{0.__class__}", "%s%n%d", "NaN", "-Infinity", "9" * 5000,
)  # fmt: skip
RAW: tuple[bytes, ...] = (
    b"", b"\xef\xbb\xbf", b"{", b"[" * 100_000, b'{"a":' * 20_000 + b"1" + b"}" * 20_000, b"\xff\xfe\x00", b"null",
    b'{"code":"success","data":"\xe9"}', b'{"code":"success","data":' + b"9" * 10_000 + b"}", b"NaN", b'"text"',
    b'{"code":"success","message":"","data":"a","data":null}', b"<html>\x00</html>", b"\x1f\x8b\x08 not gzip",
    b'{"code":"success","data":1e999}', b'[{"songs":[{"songs":[]}]}]', b"0" * 1_000_000, b'{"data":"\\ud800"}',
)  # fmt: skip
HEADS: tuple[bytes, ...] = (
    b"", b"\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 99999 X\r\n\r\n", b"SSH-2.0-x\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n{}", b"HTTP/1.1 200 OK\r\nbad header\x00\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
)  # fmt: skip


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for name, child in children:
        yield from _places(child, (*path, name))


def _bent(value: Any, luck: random.Random) -> Any:
    """A copy of a good answer in which a few values are replaced or removed."""
    value = copy.deepcopy(value)
    for _ in range(luck.choice((1, 1, 1, 2, 4))):
        path = luck.choice(list(_places(value)))
        if not path:
            return luck.choice(NASTY)
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        match luck.randrange(4):
            case 0 if isinstance(holder, dict):
                del holder[path[-1]]
            case 1:
                holder[path[-1]] = [holder[path[-1]]]
            case _:
                holder[path[-1]] = copy.deepcopy(luck.choice(NASTY))
    return value


@pytest.mark.parametrize("group", range(GROUPS))
def test_every_answer_ends_with_one_json_object(
    group: int, raw_host: Any, generate: Any, wire: Any, watch: Any, mp3_song: bytes, key: str
) -> None:
    """Broken JSON, wrong types, absurd numbers and broken HTTP, on the submit, the fetch and the download."""
    luck = random.Random(f"hostile {group}")
    songs = raw_host(lambda asked: speak("song", mp3_song))
    plan: dict[str, bool] = {}

    def speak(stage: str, good: Any) -> bytes:
        if not plan[stage]:
            return wire.http(good)
        kind = luck.random()
        if kind < 0.15:
            return luck.choice(HEADS)
        if kind < 0.35 or isinstance(good, bytes):
            return wire.http(luck.choice(RAW), luck.choice(STATUSES))
        bent = json.dumps(_bent(good, luck)).replace('"NaN"', "NaN").replace('"-Infinity"', "-Infinity")
        return wire.http(bent, luck.choice(STATUSES))

    takes = [wire.song(f"{songs.url}/{number}.mp3", id=f"song-{number}") for number in (1, 2)]

    def gateway(asked: Any) -> bytes:
        if asked.method == "POST":
            return speak("submit", {"code": "success", "message": "", "data": f"gen-{luck.random()}"})
        return speak("fetch", wire.report(*takes))

    host = raw_host(gateway)
    codes = set()
    for number in range(EACH):
        plan = {
            stage: luck.random() < share for stage, share in (("submit", 0.4), ("fetch", 0.6), ("song", 0.3))
        }
        before = len(host.asked)
        ended = generate(host.url, "--key", f"k{number}", prompt=f"waltz {group}.{number}")
        posts = [asked for asked in host.asked[before:] if asked.method == "POST"]
        assert len(posts) == 1
        codes.add(ended.code)
    assert {0, 5} <= codes
    assert all(asked.headers["authorization"] == f"Bearer {key}" for asked in host.asked)
    assert all("authorization" not in asked.headers for asked in songs.asked)
    assert key.encode() not in b"".join(asked.head for asked in songs.asked)


@pytest.mark.parametrize("raw", RAW, ids=lambda raw: ascii(raw[:12]))
def test_an_unreadable_success_is_unknown_and_never_sent_again(
    raw: bytes, raw_host: Any, generate: Any, wire: Any
) -> None:
    """It may be billed: exit 5, and the same key sends nothing more."""
    host = raw_host(lambda asked: wire.http(raw))
    for _ in range(2):
        ended = generate(host.url, "--key", "mine")
        assert (ended.code, ended.json["state"], ended.json["billed"]) == (5, "unknown", "maybe")
    assert len(host.asked) == 1


@pytest.mark.parametrize(
    ("fetched", "code"),
    [(b"[" * 100_000, 5), (b'{"a":' * 20_000, 5), (b"\xff\x00\x1b[31m", 5), (b"", 0)],
    ids=["brackets", "objects", "bytes", "titles"],
)
def test_the_command_as_a_process_ends_with_one_json_object(
    fetched: bytes, code: int, raw_host: Any, command: Any, wire: Any, watch: Any, mp3_song: bytes, key: str
) -> None:
    """A process of its own with nothing but ASCII: deep JSON, wild bytes, and titles full of control characters."""
    songs = raw_host(lambda asked: wire.http(mp3_song))
    title = "\x1b]0;owned\x07\x1b[2J\r\n\u202e[bold]x[/bold] 🎸 \ud800"
    good = wire.http(wire.report(wire.song(f"{songs.url}/x.mp3", title=title)))

    def answer(asked: Any) -> bytes:
        if asked.method == "POST":
            return wire.http({"code": "success", "message": title, "data": "gen-1"})
        return wire.http(fetched) if fetched else good

    ended = command(raw_host(answer).url, "--key", "mine")
    assert ended.code == code
    assert ended.json["generation_id"] == "gen-1"
    assert all(key.encode() not in asked.head for asked in songs.asked)
