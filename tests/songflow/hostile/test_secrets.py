"""A key that a gateway echoes in every part of its answers is neither stored nor shown."""

from __future__ import annotations

import html
import io
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest
from pydantic import SecretStr

from cli.main import run
from songflow.accounts import Access
from songflow.audio.id3 import Tag, audio_span, encode, read_tag
from songflow.errors import (
    GenerationFailed,
    NotCollected,
    OutcomeUnknown,
    RequestNotSent,
    RequestRefused,
    SongflowError,
    StillRunning,
)
from songflow.gateways import DIALECTS, Account, Gateway
from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import rescue
from songflow.library.provenance import PROVENANCE
from songflow.settings import LibrarySettings

ALL_LOGGERS = (
    "",
    "songflow",
    "httpx",
    "httpcore",
    "httpcore.connection",
    "httpcore.http11",
    "asyncio",
    "sqlalchemy",
)


def spelt(key: str) -> str:
    """The key as gateways spell it in texts, pages, addresses and scripts."""
    once = quote(key, safe="")
    return " ".join(
        (key, f"Bearer {key}", once, once.replace("%2F", "%2f"), quote(once, safe=""), html.escape(key))
    )


def escaped(key: str) -> str:
    """The key as JSON encoders spell it, and as a page's numeric entities."""
    plain = json.dumps(key)[1:-1]
    entities = "".join(f"&#{ord(one)};" for one in key)
    return " ".join((plain.replace("/", "\\/"), "".join(f"\\u{ord(one):04x}" for one in key), entities))


@dataclass(frozen=True)
class Trouble:
    """A gateway's behaviour; each answer is made from a request. `end` is what the caller meets."""

    end: type[SongflowError] | None
    submit: Callable[[str, Any], bytes] | None = None
    fetch: Callable[[str, Any], bytes] | None = None
    song: Callable[[str, Any], bytes] | None = None


def _says(status: int, style: str = "relay", code: str = "") -> Callable[[str, Any], bytes]:
    """An error that repeats the key in its message, in escapes and in headers."""

    def answer(key: str, wire: Any) -> bytes:
        said = "words " + spelt(key)
        error = {"message": said, "type": key, "code": code or key}
        body = {"error": error} if style == "openai" else {"code": code or key, "message": said, "data": None}
        text = json.dumps(body).replace("words", f"words {escaped(key)}")
        if style == "page":
            text = f"<html>{html.escape(key)} {spelt(key)}</html>"
        named = (
            "Retry-After",
            "Location",
            "X-Request-Id",
            "X-Oneapi-Request-Id",
            "Set-Cookie",
            "Content-Type",
        )
        return wire.http(text, status, *((name, f"{key} {quote(key)}") for name in named))

    return answer


def _raw(text: str) -> Callable[[str, Any], bytes]:
    """Bytes of a host that does not speak HTTP well; KEY stands for the key."""
    return lambda key, _wire: text.replace("KEY", key).replace("SPELT", spelt(key)).encode()


def _told(**more: Any) -> Callable[[str, Any], bytes]:
    """A report with these facts; KEY stands for the key."""

    def answer(key: str, wire: Any) -> bytes:
        text = json.dumps(wire.report(**more))
        return wire.http(text.replace("KEY", json.dumps(spelt(key))[1:-1]), 200, ("X-Request-Id", key))

    return answer


def _songs(**more: Any) -> Callable[[str, Any], bytes]:
    """A finished song that repeats the key in every text field."""

    def answer(key: str, wire: Any) -> bytes:
        said = spelt(key)
        names = ("title", "lyrics", "prompt", "image_path", "created_at", "audio_conditioning_type")
        texts = dict.fromkeys(names, said)
        take = wire.song(
            "{url}/song.mp3", **{**texts, "tags": [said], key: said, "extra": {said: [said]}, **more}
        )
        text = json.dumps(wire.report(take, fail_reason="")).replace(
            '"extra"', f'"{escaped(key)}": 1, "extra"'
        )
        return wire.http(text, 200, ("X-Request-Id", said))

    return answer


BAD_HTTP = {
    "status line": "HTTP/1.1 KEY\r\n\r\n",
    "reason": "HTTP/1.1 500 KEY\r\nContent-Length: 0\r\n\r\n",
    "header": "HTTP/1.1 200 OK\r\nKEY SPELT\x01\r\n\r\n",
    "header value": "HTTP/1.1 200 OK\r\nX: KEY\x00SPELT\r\n\r\n",
    "length": "HTTP/1.1 200 OK\r\nContent-Length: KEY\r\n\r\n",
    "chunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nKEY\r\n",
    "encoding": "HTTP/1.1 200 OK\r\nContent-Encoding: KEY\r\nTransfer-Encoding: KEY\r\n\r\nSPELT",
    "cut": "HTTP/1.1 200 OK\r\nContent-Length: 90000\r\nX-Request-Id: KEY\r\n\r\nSPELT",
    "protocol": "KEY SPELT\r\n\r\n",
}
PLACES = (
    "KEY", "KEY:x", "KEY://KEY", "http://KEY/", "http://127.0.0.1:1/KEY?KEY", "http://KEY@x/", "file:KEY",
)  # fmt: skip
BEGUN = "HTTP/1.1 200 OK\r\n{}\r\nX: KEY\r\nContent-Length: 900\r\n\r\nab"
TROUBLES: dict[str, Trouble] = {
    "success": Trouble(None),
    "song with the key everywhere": Trouble(None, fetch=_songs()),
    "ids with the key": Trouble(None, fetch=_songs(id="song-{key}")),
    "address with the key": Trouble(NotCollected, fetch=_songs(song_path="{url}/{key}/gone.mp3?token={key}")),
    "address of the key": Trouble(NotCollected, fetch=_songs(song_path="{key}:{key}@{key}")),
    "failure": Trouble(GenerationFailed, fetch=_told(status="FAILURE", fail_reason="no: KEY")),
    "status word": Trouble(StillRunning, fetch=_told(status="KEY", progress="KEY", action="KEY")),
    "failed take": Trouble(GenerationFailed, fetch=_songs(finished=True, song_path=None, error_detail="no {key}")),
    **{f"submit {status} {style}": Trouble(end, submit=_says(status, style, code)) for status, style, code, end in (
        (400, "relay", "", RequestRefused), (400, "relay", "invalid_request", RequestRefused),
        (401, "openai", "", RequestRefused), (402, "openai", "", RequestRefused), (403, "relay", "", RequestRefused),
        (404, "page", "", RequestRefused), (429, "openai", "", RequestRefused), (302, "page", "", RequestRefused),
        (500, "openai", "invalid_request", RequestRefused), (503, "openai", "no_available_channel", RequestRefused),
        (200, "relay", "", OutcomeUnknown), (200, "page", "", OutcomeUnknown), (409, "page", "", OutcomeUnknown),
        (500, "relay", "do_request_failed", OutcomeUnknown), (502, "page", "", OutcomeUnknown),
        (524, "page", "", OutcomeUnknown), (408, "openai", "", OutcomeUnknown),
    )},
    **{f"fetch {status} {style}": Trouble(StillRunning, fetch=_says(status, style, code)) for status, style, code in (
        (401, "openai", ""), (404, "page", ""), (400, "relay", "task_not_exist"), (500, "relay", ""), (429, "page", ""),
        (200, "page", ""), (200, "relay", ""), (302, "page", ""),
    )},
    **{f"song {status}": Trouble(NotCollected, song=_says(status, "page"))
       for status in (200, 302, 307, 401, 404, 500)},
    **{f"submit with a bad {name}": Trouble(OutcomeUnknown, submit=_raw(text)) for name, text in BAD_HTTP.items()},
    **{f"fetch with a bad {name}": Trouble(StillRunning, fetch=_raw(text)) for name, text in BAD_HTTP.items()},
    **{f"song with a bad {name}": Trouble(NotCollected, song=_raw(text)) for name, text in BAD_HTTP.items()},
    **{f"song moved to {place}": Trouble(NotCollected, song=_raw(f"HTTP/1.1 302 X\r\nLocation: {place}\r\n\r\n"))
       for place in PLACES},
    "song begun": Trouble(NotCollected, song=_raw(BEGUN.format('ETag: "x"'))),
    "song begun with a tag of the key": Trouble(NotCollected, song=_raw(BEGUN.format('ETag: "KEY"'))),
    "song begun on a day of the key": Trouble(NotCollected, song=_raw(BEGUN.format("Last-Modified: KEY"))),
    "song in a range of the key": Trouble(
        NotCollected, song=_raw("HTTP/1.1 416 X\r\nContent-Range: KEY\r\nContent-Length: 0\r\n\r\n")),
}  # fmt: skip


@pytest.fixture
def echo(raw_host: Any, wire: Any, mp3_song: bytes) -> Callable[[Trouble], Any]:
    """Starts a gateway that is also its songs' host, and knows the key from its own requests."""

    def start(trouble: Trouble) -> Any:
        known: list[str] = []

        def answer(asked: Any) -> bytes:
            given = asked.headers.get("authorization", "").removeprefix("Bearer ")
            if given:
                known[:] = [given]
            key = known[0]
            if asked.method == "POST":
                good = wire.http(
                    {"code": "success", "message": key, "data": "gen-1"}, 200, ("X-Request-Id", key)
                )
                return trouble.submit(key, wire) if trouble.submit else good
            if asked.target.startswith("/udio/"):
                text = (trouble.fetch or _songs())(key, wire)
                head, _, body = text.partition(b"\r\n\r\n")
                body = body.replace(b"{url}", host.url.encode())
                body = body.replace(b"{key}", json.dumps(key)[1:-1].encode())
                return _with_length(head, body) if b"Connection: close" in head else text
            if "gone" in asked.target:
                return wire.http(b"no", 404)
            return trouble.song(key, wire) if trouble.song else wire.http(mp3_song)

        host = raw_host(answer)
        return host

    return start


def _with_length(head: bytes, body: bytes) -> bytes:
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join((*lines, b"Content-Length: %d" % len(body), b"", b"")) + body


class _Records(logging.Handler):
    """The records of all loggers, formatted and raw."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(f"{record.name}: {self.format(record)} {record.msg!r} {record.args!r}")


@pytest.fixture
def all_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The records of every logger at DEBUG."""
    records = _Records()
    for name in ALL_LOGGERS:
        monkeypatch.setattr(logging.getLogger(name), "level", logging.DEBUG)
    logging.root.manager._clear_cache()  # type: ignore[attr-defined]
    logging.root.addHandler(records)
    yield records.seen
    logging.root.removeHandler(records)
    logging.root.manager._clear_cache()  # type: ignore[attr-defined]


def _told_by(error: BaseException) -> bytes:
    """Every text form of an exception and its causes."""
    texts = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join(texts).encode("utf-8", "replace") + pickle.dumps(error)


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        yield f"the name of {path}", str(path).encode()
        if path.is_file():
            yield str(path), path.read_bytes()


def _tag_of(path: Path) -> Tag:
    with path.open("rb") as file:
        return read_tag(file)


async def _dump(url: str) -> bytes:
    """Every row of every table of a PostgreSQL database, as text."""
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        )
        rows = [
            str(row[0])
            for (name,) in names
            for row in await connection.fetch(f'SELECT t::text FROM "{name}" AS t')
        ]
    finally:
        await connection.close()
    assert len(rows) > len(TROUBLES)
    return "\n".join(rows).encode()


async def test_ledger_files_logs_and_exceptions_do_not_contain_the_key(
    any_library: LibrarySettings,
    session: Any,
    song_request: Any,
    echo: Any,
    key: str,
    leaks: Any,
    all_logs: list[str],
    no_pauses: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Successes and every failure kind: the ledger, the spool, notes, songs, log records, pickled exceptions."""
    opened = await session(library=any_library, poll_interval=0.05, deadline=0.2, retries=0)
    accesses: dict[str, Access] = {}
    ends: dict[str, type | None] = {}
    found: dict[str, Any] = {}

    def look(where: str, data: bytes) -> None:
        if leaked := leaks(data):
            place = data.index(leaked[0])
            found[where] = data[max(0, place - 80) : place + 80]

    def access_to(url: str) -> Access:
        return Access(Account(DIALECTS["openai-hk"], url, f"alias {url}", SecretStr(key)))

    async def resolve(submission: Any) -> Access:
        return accesses[submission.base_url]

    async def one(name: str, url: str) -> None:
        accesses[url] = access_to(url)
        request = song_request(f"a waltz for {name}")
        try:
            result = await generate_in(opened, request, accesses[url], key=name)
            ends[name] = None
            look(f"result of {name}", repr(result).encode() + json.dumps(result.as_dict()).encode())
        except SongflowError as error:
            ends[name] = type(error)
            look(f"exception of {name}", _told_by(error))

    for name, trouble in TROUBLES.items():
        await one(name, echo(trouble).url)
    await one("not reached", "http://127.0.0.1:1")
    assert ends == {
        **{name: trouble.end for name, trouble in TROUBLES.items()},
        "not reached": RequestNotSent,
    }
    # httpcore, which requests through a proxy go by, logs headers.
    monkeypatch.setenv("http_proxy", echo(TROUBLES["failure"]).url)
    async with Gateway(access_to("http://gateway.test").account) as proxied:
        look("report through a proxy", repr(await proxied.fetch("udio", "gen-1")).encode())
    opened.gateways._resolver = resolve
    rescued = await rescue(opened)
    assert {one.key for one in rescued} >= {
        name for name, end in ends.items() if end in (StillRunning, OutcomeUnknown)
    }
    look("rescue", repr(rescued).encode())
    look("accesses", repr(accesses).encode())

    for where, data in _files(any_library.folder):
        look(where, data)
    if any_library.ledger_url:
        look("PostgreSQL", await _dump(any_library.ledger_url))
    for line in all_logs:
        look(f"log record {line[:40]}", line.encode("utf-8", "backslashreplace"))
    assert {line.partition(":")[0].partition(".")[0] for line in all_logs} >= {
        "httpcore",
        "songflow",
        "sqlalchemy",
    }
    # Songs with their stories were among the files, and what their tags say was looked at as readers see it.
    tags = [(path.name, _tag_of(path)) for path in any_library.folder.rglob("*.mp3")]
    for name, tag in tags:
        look(f"tag of {name}", repr(tag).encode())
        assert PROVENANCE in tag.own
    assert len(tags) >= sum(end is None for end in ends.values()) > 0
    # One song is left half fetched, so the note beside it was looked at, too.
    assert len(list(any_library.folder.rglob("*.part"))) == 1
    assert found == {}


def test_the_command_never_shows_the_key(
    generate: Any, echo: Any, home: Path, leaks: Any, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Standard output, standard error and the library, for each kind of end; `Run` looks at the first two."""
    codes = set()
    for name, trouble in TROUBLES.items():
        if "bad" not in name:  # those differ only in what the test above looks at
            codes.add(generate(echo(trouble).url, "--key", name, prompt=f"a waltz for {name}").code)
    codes.add(generate("http://127.0.0.1:1", prompt="a waltz for nobody").code)
    assert codes == {0, 3, 4, 5}
    for shape in ("json", "csv", "table"):
        assert run(["songs", "--format", shape]) == 0
    told = capfdbinary.readouterr()
    assert not leaks(told.out + told.err)
    assert [where for where, data in _files(home) if leaks(data)] == []


@pytest.mark.parametrize(
    "url", ["https://{key}@x.example", "https://u:{key}@x.example", "{key}", "ftp://{key}/"]
)
def test_a_key_given_as_an_address_is_not_repeated(
    url: str, home: Path, leaks: Any, key: str, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Mixing up two settings does not put the key into a log."""
    given = url.format(key=key.replace("/", "_"))
    assert run(["generate", "x", "--gateway", "openai-hk", "--base-url", given, "--json"]) == 2
    told = capfdbinary.readouterr()
    assert key.replace("/", "_").encode() not in told.out + told.err


async def test_a_key_in_the_tag_of_a_downloaded_file_is_not_stored(
    raw_host: Any, wire: Any, mp3_song: bytes, session: Any, song_request: Any, key: str, leaks: Any
) -> None:
    """A gateway that is the songs' host knows the key, and what its files say besides the music stays in ours."""
    said = f"{spelt(key)} {escaped(key)}"
    own = Tag({"TALB": said, "TSSE": "LAME"}, {"mine": said, key: "x"}, {"": said, key: key}, said)
    bare = mp3_song[audio_span(io.BytesIO(mp3_song))[0] :]

    def answer(asked: Any) -> bytes:
        if asked.method == "POST":
            return wire.http({"code": "success", "message": "", "data": "gen-1"})
        if asked.target.startswith("/udio/"):
            return wire.http(wire.report(wire.song(f"{gateway.url}/song.mp3")))
        return wire.http(encode(own) + bare)

    gateway = raw_host(answer)
    opened = await session()
    access = Access(Account(DIALECTS["openai-hk"], gateway.url, "test", SecretStr(key)))
    (song,) = (await generate_in(opened, song_request(), access, key="k")).songs
    assert leaks(encode(own))
    assert not leaks(Path(song.path).read_bytes())
    assert _tag_of(Path(song.path)).texts["TSSE"] == "LAME"


async def test_only_the_gateway_gets_the_key(
    raw_host: Any, wire: Any, mp3_song: bytes, session: Any, song_request: Any, key: str, no_pauses: None
) -> None:
    """A song's host on another port sees no header and no cookie of the gateway's, also when asked again."""
    songs = raw_host(lambda asked: wire.http(mp3_song) if "fresh" in asked.target else wire.http(b"", 404))
    addresses = iter(("stale", *["fresh"] * 9))

    def answer(asked: Any) -> bytes:
        if asked.method == "POST":
            return wire.http(
                {"code": "success", "message": "", "data": "gen-1"}, 200, ("Set-Cookie", f"key={key}")
            )
        take = wire.song(f"{songs.url}/{next(addresses)}.mp3")
        return wire.http(wire.report(take), 200, ("Set-Cookie", f"key={key}; Domain=127.0.0.1"))

    gateway = raw_host(answer)
    opened = await session()
    access = Access(Account(DIALECTS["openai-hk"], gateway.url, "test", SecretStr(key)))
    result = await generate_in(opened, song_request(), access, key="k")
    assert [one.path is not None for one in result.songs] == [True]
    assert {asked.headers["authorization"] for asked in gateway.asked} == {f"Bearer {key}"}
    seen = b"".join(asked.head for asked in songs.asked)
    assert len(songs.asked) == 2
    assert key.encode() not in seen
    assert not {"authorization", "cookie", "referer"}.intersection(*(asked.headers for asked in songs.asked))
