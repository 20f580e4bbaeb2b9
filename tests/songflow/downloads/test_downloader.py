"""Downloads: resumed if that is safe, restarted if not, and complete or failed."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from songflow.audio.id3 import Tag, encode
from songflow.downloads import downloader
from songflow.downloads.downloader import DOWNLOAD_BACKOFF, DownloadProblem
from songflow.errors import MissingCredentials
from songflow.runtime.retry import without_pauses

SONG = "/files/My%2520Song%252F1.mp3"


def begun(part: Path, url: str, data: bytes, validator: str) -> None:
    """What a killed process leaves."""
    part.write_bytes(data)
    part.with_suffix(".json").write_text(json.dumps({"url": url, "validator": validator}))


def note_of(part: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(part.with_suffix(".json").read_text())
    return found


def left(part: Path) -> list[str]:
    """The files of a download that are there."""
    return sorted(path.name for path in part.parent.iterdir())


async def test_a_song_is_downloaded_completely(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """Its bytes, size and length are those of the file."""
    data = mp3(2.0)
    host = await song_host(canned.http(200, data, ETag='"a"'))
    done = await downloads().fetch(host.url + SONG, part, 2.0)
    assert done.part.read_bytes() == data
    assert done.bytes == len(data)
    assert done.facts.seconds == pytest.approx(2.0)
    assert len(host.asked) == 1


async def test_the_url_is_sent_unchanged(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """A title is percent-encoded twice; decoding it once would ask for another file."""
    host = await song_host(canned.http(200, mp3()))
    await downloads().fetch(f"{host.url}/%2520a%252Fb%25/%C3%BC+x;y=1?q=%2520&r", part, None)
    assert host.asked[0].path == "/%2520a%252Fb%25/%C3%BC+x;y=1?q=%2520&r"


async def test_a_host_never_sees_a_key(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """Nor does it ask for compression of compressed audio."""
    host = await song_host(canned.http(200, mp3()))
    await downloads().fetch(host.url + SONG, part, None)
    assert "authorization" not in host.asked[0].headers
    assert host.asked[0].headers["accept-encoding"] == "identity"


async def test_an_interrupted_transfer_is_resumed(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """The second answer brings only the rest, and it is asked for with the validator of the first."""
    data = mp3(2.0)
    host = await song_host(
        lambda asked: canned.ranged(data, asked, '"a"', only=5000),
        lambda asked: canned.ranged(data, asked, '"a"'),
    )
    done = await downloads().fetch(host.url + SONG, part, 2.0)
    assert done.part.read_bytes() == data
    assert host.ranges == [None, "bytes=5000-"]
    assert host.asked[1].headers["if-range"] == '"a"'


async def test_a_new_process_resumes_the_download_of_a_killed_one(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """The part and the note beside it are all that it needs."""
    data = mp3(2.0)
    host = await song_host(lambda asked: canned.ranged(data, asked, '"a"'))
    begun(part, host.url + SONG, data[:7000], '"a"')
    done = await downloads().fetch(host.url + SONG, part, 2.0)
    assert done.part.read_bytes() == data
    assert host.ranges == ["bytes=7000-"]


async def test_a_changed_file_is_downloaded_again(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """Half of the old and half of the new would be no song."""
    data = mp3(2.0)
    host = await song_host(lambda asked: canned.ranged(data, asked, '"new"'))
    begun(part, host.url + SONG, b"x" * 9_000_000, '"old"')
    done = await downloads().fetch(host.url + SONG, part, 2.0)
    assert done.part.read_bytes() == data
    assert host.asked[0].headers["if-range"] == '"old"'
    assert note_of(part)["validator"] == '"new"'


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"ETag": 'W/"weak"'},
        {"ETag": '"a"', "Content_Encoding": "br"},
        {"ETag": '"é"'},
    ],
    ids=["none", "weak", "encoded", "not to be sent"],
)
async def test_without_a_validator_a_transfer_restarts(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, headers: dict[str, str]
) -> None:
    """Nothing says that the rest belongs to the beginning."""
    data = mp3(2.0)
    host = await song_host(canned.http(200, data[:4000], length=len(data), **headers), canned.http(200, data))
    done = await downloads().fetch(host.url + SONG, part, 2.0)
    assert done.part.read_bytes() == data
    assert host.ranges == [None, None]


async def test_last_modified_is_a_validator_without_an_etag(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """Last-Modified does for If-Range."""
    data, date = mp3(2.0), "Wed, 21 Oct 2015 07:28:00 GMT"
    host = await song_host(
        canned.http(200, data[:4000], length=len(data), Last_Modified=date),
        lambda asked: canned.ranged(data, asked, date),
    )
    assert (await downloads().fetch(host.url + SONG, part, 2.0)).part.read_bytes() == data
    assert host.asked[1].headers["if-range"] == date


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[]",
        "{",
        '{"url": "http://other/"}',
        '{"url": URL}',
        '{"url": URL, "validator": null}',
        "7",
        "null",
    ],
)
async def test_resume_data_of_another_url_is_ignored(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, note: str
) -> None:
    """Cut short, of another address, or without a validator: the song is fetched anew."""
    data = mp3(2.0)
    host = await song_host(canned.http(200, data))
    begun(part, "", b"rubbish", "")
    note_file = part.with_suffix(".json")
    await asyncio.to_thread(note_file.write_text, note.replace("URL", json.dumps(host.url + SONG)))
    assert (await downloads().fetch(host.url + SONG, part, 2.0)).part.read_bytes() == data
    assert host.ranges == [None]


async def test_an_empty_part_is_not_resumed(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """`bytes=0-` would say nothing."""
    host = await song_host(canned.http(200, mp3()))
    begun(part, host.url + SONG, b"", '"a"')
    await downloads().fetch(host.url + SONG, part, 2.0)
    assert host.ranges == [None]


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 416},
        {"status": 206, "body": b"other", "Content_Range": "bytes 0-4/5"},
        {"status": 206, "body": b"other", "Content_Range": "pages 1-2"},
        {"status": 206, "body": b"other"},
    ],
    ids=["416", "another range", "no bytes", "no range named"],
)
async def test_a_response_that_contradicts_the_part_restarts_the_download(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, refusal: dict[str, Any]
) -> None:
    """The part file cannot be continued."""
    data = mp3(2.0)
    host = await song_host(canned.http(**refusal), canned.http(200, data))
    begun(part, host.url + SONG, data[:3000], '"a"')
    assert (await downloads().fetch(host.url + SONG, part, 2.0)).part.read_bytes() == data
    assert host.ranges == ["bytes=3000-", None]


@pytest.mark.parametrize("span", ["bytes 0-{last}/{size}", "bytes 0-{last}/*", None])
async def test_a_whole_song_as_206_is_taken(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, span: str | None
) -> None:
    """Though no range was asked for."""
    data = mp3(2.0)
    headers = {"Content_Range": span.format(last=len(data) - 1, size=len(data))} if span else {}
    host = await song_host(canned.http(206, data, **headers))
    assert (await downloads().fetch(host.url + SONG, part, 2.0)).part.read_bytes() == data
    assert len(host.asked) == 1


async def test_a_part_as_206_is_completed(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """By another range, however little the host gives at once."""
    data = mp3(2.0)

    def at_most_a_third(asked: Any) -> bytes:
        start = int(asked.headers.get("range", "bytes=0-")[6:-1])
        piece = data[start : start + len(data) // 3 + 1]
        span = f"bytes {start}-{start + len(piece) - 1}/{len(data)}"
        return bytes(canned.http(206, piece, ETag='"a"', Content_Range=span))

    host = await song_host(at_most_a_third)
    assert (await downloads().fetch(host.url + SONG, part, 2.0)).part.read_bytes() == data
    assert len(host.asked) == 3


async def test_the_middle_of_a_song_as_206_is_an_error(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """Its beginning is missing."""
    data = mp3(2.0)
    span = f"bytes 10-{len(data) - 1}/{len(data)}"
    host = await song_host(canned.http(206, data[10:], Content_Range=span), canned.http(200, data))
    assert (await downloads().fetch(host.url + SONG, part, 2.0)).part.read_bytes() == data


@pytest.mark.parametrize("status", [400, 402, 405, 409, 451, 302])
async def test_an_address_that_has_run_out_is_refreshed_at_once(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, asking: Any, status: int
) -> None:
    """In whatever words; without a fresh one it is tried again, as it may pass."""
    old, fresh = await song_host(canned.http(status)), await song_host(canned.http(200, mp3()))
    ask, given = asking(fresh.url + SONG)
    await downloads().fetch(old.url + SONG, part, 2.0, ask)
    assert (len(old.asked), len(fresh.asked), len(given)) == (1, 1, 1)
    with pytest.raises(DownloadProblem, match=str(status)):
        await downloads().fetch(old.url + SONG, part, 2.0)
    assert len(old.asked) == 6


async def test_a_busy_host_is_tried_to_the_end_before_a_fresh_address_is_asked_for(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, asking: Any
) -> None:
    """What passes by itself needs no other address; the account of the gateway need not even be there."""
    old, fresh = await song_host(canned.http(503)), await song_host(canned.http(200, mp3()))
    ask, given = asking(fresh.url + SONG)
    await downloads().fetch(old.url + SONG, part, 2.0, ask)
    assert (len(old.asked), len(fresh.asked), len(given)) == (5, 1, 1)

    async def no_account() -> str | None:
        raise MissingCredentials("there is no key")

    with pytest.raises(DownloadProblem, match="503"):
        await downloads().fetch(old.url + SONG, part, 2.0, no_account)
    dead = await song_host(canned.http(404))
    with pytest.raises(MissingCredentials):
        await downloads().fetch(dead.url + SONG, part, 2.0, no_account)


async def test_after_five_attempts_the_last_problem_is_raised(
    song_host: Any, canned: Any, downloads: Any, part: Path
) -> None:
    """The last one's words."""
    host = await song_host(canned.http(503))
    with pytest.raises(DownloadProblem, match="its host answered 503") as caught:
        await downloads().fetch(host.url + SONG, part, 2.0)
    assert len(host.asked) == 5
    assert not caught.value.dead


async def test_pauses_grow_between_attempts(
    song_host: Any, canned: Any, downloads: Any, part: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is twice the one before."""
    host = await song_host(canned.http(500))
    with without_pauses(), pytest.raises(DownloadProblem):
        await downloads(backoff=DOWNLOAD_BACKOFF).fetch(host.url + SONG, part, 2.0)
    pauses = [getattr(record, "retry_pause", None) for record in caplog.records]
    assert [pause for pause in pauses if pause] == [0.5, 1.0, 2.0, 4.0]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
async def test_a_dead_url_is_refreshed_once(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, asking: Any, status: int
) -> None:
    """The gateway may know a fresh one."""
    dead, alive = await song_host(canned.http(status)), await song_host(canned.http(200, mp3()))
    ask, given = asking(alive.url + SONG)
    await downloads().fetch(dead.url + SONG, part, 2.0, ask)
    assert (len(dead.asked), len(alive.asked), given) == (1, 1, [alive.url + SONG])


@pytest.mark.parametrize("fresh", [None, "the same"])
async def test_a_dead_url_without_a_new_one_fails_at_once(
    song_host: Any, canned: Any, downloads: Any, part: Path, asking: Any, fresh: str | None
) -> None:
    """Retrying a dead URL would not help."""
    host = await song_host(canned.http(404))
    ask, _given = asking(host.url + SONG if fresh else None)
    with pytest.raises(DownloadProblem, match="its host answered 404") as caught:
        await downloads().fetch(host.url + SONG, part, 2.0, ask)
    assert caught.value.dead
    assert len(host.asked) == 1


async def test_a_second_dead_url_fails(
    song_host: Any, canned: Any, downloads: Any, part: Path, asking: Any
) -> None:
    """The gateway is asked once."""
    one, other = await song_host(canned.http(404)), await song_host(canned.http(410))
    ask, given = asking(other.url + SONG, one.url + SONG)
    with pytest.raises(DownloadProblem, match="410"):
        await downloads().fetch(one.url + SONG, part, 2.0, ask)
    assert len(given) == 1


async def test_a_refused_connection_asks_for_a_fresh_url(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, asking: Any
) -> None:
    """A host that went away is asked for anew, too."""
    alive = await song_host(canned.http(200, mp3()))
    ask, given = asking(alive.url + SONG)
    await downloads().fetch("http://127.0.0.1:1/x.mp3", part, 2.0, ask)
    assert given == [alive.url + SONG]


async def test_redirects_are_followed_to_another_host(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """Song hosts hand out the addresses of their storage; a relative one is of the same host."""
    storage = await song_host(canned.http(301, Location="/b%2520.mp3"), canned.http(200, mp3()))
    front = await song_host(canned.http(302, Location=f"{storage.url}/a.mp3"))
    done = await downloads().fetch(front.url + SONG, part, 2.0)
    assert done.part.read_bytes() == mp3()
    assert [asked.path for asked in storage.asked] == ["/a.mp3", "/b%2520.mp3"]


async def test_a_redirect_brings_its_cookie_back_to_its_own_host_only(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """Some hosts let only those in who were sent on by them."""
    storage = await song_host(canned.http(200, mp3()))
    elsewhere = storage.url.replace("127.0.0.1", "localhost")
    front = await song_host(
        canned.http(302, Location="/let-in.mp3", Set_Cookie="seen=yes; Path=/"),
        canned.http(302, Location=f"{elsewhere}/a.mp3"),
    )
    await downloads().fetch(front.url + SONG, part, 2.0)
    assert [asked.headers.get("cookie") for asked in front.asked] == [None, "seen=yes"]
    assert storage.asked[0].headers.get("cookie") is None


async def test_a_resumed_transfer_keeps_its_range_through_a_redirect(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """The storage behind the front is what knows the file."""
    data = mp3(2.0)
    storage = await song_host(
        lambda asked: canned.ranged(data, asked, '"a"', only=4000),
        lambda asked: canned.ranged(data, asked, '"a"'),
    )
    front = await song_host(canned.http(302, Location=f"{storage.url}/a.mp3"))
    assert (await downloads().fetch(front.url + SONG, part, 2.0)).part.read_bytes() == data
    assert storage.ranges == [None, "bytes=4000-"]


async def test_a_redirect_loop_ends(song_host: Any, canned: Any, downloads: Any, part: Path) -> None:
    """After five hops."""
    host = await song_host(canned.http(302, Location="/again"))
    with pytest.raises(DownloadProblem, match="redirected more than 5 times"):
        await downloads().fetch(host.url + SONG, part, 2.0)
    assert len(host.asked) == 6


@pytest.mark.parametrize("status", [302, 304, 300])
async def test_a_redirect_without_a_location_is_an_error(
    song_host: Any, canned: Any, downloads: Any, part: Path, status: int
) -> None:
    """Without a Location there is nothing to follow, and nothing breaks."""
    host = await song_host(canned.http(status))
    with pytest.raises(DownloadProblem, match=f"its host answered {status}"):
        await downloads().fetch(host.url + SONG, part, 2.0)


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "ftp://example.invalid/x", "http://user:secret@127.0.0.1/x", "javascript:x"],
)
async def test_a_redirect_to_another_scheme_is_refused(
    song_host: Any, canned: Any, downloads: Any, part: Path, target: str
) -> None:
    """Nothing but http(s), and no user names."""
    host = await song_host(canned.http(302, Location=target))
    with pytest.raises(DownloadProblem, match=r"its URL is refused|its host could not be read \(For abs"):
        await downloads().fetch(host.url + SONG, part, 2.0)
    assert len(host.asked) == 1
    assert left(part) == []


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "songs/a.mp3",
        "http://",
        "http://[::1/x.mp3",
        "javascript:alert(1)",
        "",
        "http://127.0.0.1:99999/x",
        "http://a\x00b/x",
    ],
)
async def test_invalid_urls_are_refused(downloads: Any, part: Path, url: str) -> None:
    """The error is one sentence."""
    with pytest.raises(DownloadProblem) as caught:
        await downloads().fetch(url, part, 2.0)
    assert caught.value.dead


async def test_a_host_that_is_away_for_a_moment_is_asked_again(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, asking: Any, monkeypatch: Any
) -> None:
    """An outage of the network: no address is found, then no connection made, and the gateway has no other address."""
    alive = await song_host(canned.http(200, mp3()))
    check = downloader.check_url
    outages = iter([socket.gaierror(socket.EAI_AGAIN, "later"), httpx.ConnectError("no route")])

    async def checked(url: str, **rules: Any) -> None:
        for outage in outages:
            raise outage
        await check(url, **rules)

    monkeypatch.setattr(downloader, "check_url", checked)
    ask, given = asking(alive.url + SONG)
    done = await downloads().fetch(alive.url + SONG, part, 2.0, ask)
    assert done.part.read_bytes() == mp3()
    assert given == [alive.url + SONG]


@pytest.mark.parametrize("url", [f"http://{'a' * 70}.example/x", "http://a..b/x"])
async def test_what_is_no_host_name_means_a_dead_url(downloads: Any, part: Path, url: str) -> None:
    with pytest.raises(DownloadProblem, match="its host could not be read") as caught:
        await downloads(allow_private=False).fetch(url, part, 2.0)
    assert caught.value.dead


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda http, _: http(200, b"<html>Please log in</html>"), id="html"),
        pytest.param(lambda http, _: http(200, b""), id="empty"),
        pytest.param(lambda http, _: http(200, b"\x00" * 5000), id="zeros"),
    ],
)
async def test_a_file_that_is_not_audio_is_discarded(
    song_host: Any, canned: Any, downloads: Any, part: Path, answer: Any
) -> None:
    """A page with status 200 is not kept, and nothing is left to resume from."""
    host = await song_host(answer(canned.http, part))
    with pytest.raises(DownloadProblem, match="it is not a whole song"):
        await downloads().fetch(host.url + SONG, part, 2.0)
    assert left(part) == []


@pytest.mark.parametrize(
    ("announced", "note"), [(6.1, True), (6.0, False), (2.0, False), (1.9, True), (None, False)]
)
async def test_a_song_that_is_whole_by_its_own_header_is_kept_at_once(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, announced: float | None, note: bool
) -> None:
    """A length that differs by more than 2 s from the announced one is noted."""
    host = await song_host(canned.http(200, mp3(4.0)))
    done = await downloads().fetch(host.url + SONG, part, announced)
    assert done.facts.seconds == pytest.approx(4.0)
    assert done.note == (f"4.00 s long, announced as {announced} s" if note else None)
    assert len(host.asked) == 1


async def test_a_file_in_doubt_is_kept_when_it_comes_again(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """A part of it, then as much as there is, twice: in all three transfers, and the note is of the last."""
    data = mp3(8.0, mode="CONSTANT")
    half, most = data[: len(data) // 2], data[: len(data) * 2 // 3]
    host = await song_host(canned.http(200, half), canned.http(200, most))
    done = await downloads().fetch(host.url + SONG, part, None)
    assert len(host.asked) == 3
    assert done.part.read_bytes() == most
    assert done.note.startswith("could not be verified: 5.")


async def test_a_file_in_doubt_that_differs_in_its_tag_is_the_same(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """Some hosts stamp each download; what counts is the sound."""
    half = mp3(8.0, mode="CONSTANT")[:100_000]
    stamped = [canned.http(200, encode(Tag(texts={"TIT2": title})) + half) for title in ("one", "two")]
    host = await song_host(*stamped)
    assert (await downloads().fetch(host.url + SONG, part, None)).note
    assert len(host.asked) == 2


async def test_a_file_in_doubt_is_asked_for_at_a_fresh_address(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, asking: Any
) -> None:
    """The copy there may be whole."""
    data = mp3(8.0)
    bad = await song_host(canned.http(200, data[: len(data) // 2]))
    good = await song_host(canned.http(200, data))
    ask, _given = asking(good.url + SONG)
    done = await downloads().fetch(bad.url + SONG, part, None, ask)
    assert (done.part.read_bytes(), done.note) == (data, None)
    assert (len(bad.asked), len(good.asked)) == (1, 1)


async def test_a_file_in_doubt_is_more_than_a_fresh_address_without_one(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, asking: Any
) -> None:
    """If the fresh address has nothing, the former one is used again."""
    half = mp3(8.0, mode="CONSTANT")[:100_000]
    bad, dead = await song_host(canned.http(200, half)), await song_host(canned.http(404))
    ask, _given = asking(dead.url + SONG)
    done = await downloads().fetch(bad.url + SONG, part, None, ask)
    assert done.part.read_bytes() == half
    assert (len(bad.asked), len(dead.asked)) == (2, 1)


async def test_a_broken_copy_is_downloaded_again(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any
) -> None:
    """What a host spoils once it may give whole the next time, from the start."""
    data = mp3(2.0)
    host = await song_host(canned.http(200, b"junk" * 500, ETag='"a"'), canned.http(200, data, ETag='"b"'))
    assert (await downloads().fetch(host.url + SONG, part, 2.0)).part.read_bytes() == data
    assert host.ranges == [None, None]


async def test_without_verification_any_bytes_are_accepted(
    song_host: Any, canned: Any, downloads: Any, part: Path
) -> None:
    """Switched off, only the transfer itself is checked."""
    host = await song_host(canned.http(200, b"not a song"))
    done = await downloads(verify_audio=False).fetch(host.url + SONG, part, 2.0)
    assert (done.bytes, done.facts) == (10, None)


async def test_the_size_of_a_song_is_limited(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host cannot fill the disk, and the part of something so large is not kept."""
    monkeypatch.setattr(downloader, "MAX_SONG_BYTES", 1 << 20)
    host = await song_host(canned.http(200, b"x" * ((1 << 20) + 1), ETag='"a"'))
    with pytest.raises(DownloadProblem, match="it is larger than 1 MiB") as caught:
        await downloads().fetch(host.url + SONG, part, 2.0)
    assert caught.value.dead
    assert len(host.asked) == 1
    assert left(part) == []


async def test_a_slow_transfer_is_cut_and_resumed(
    song_host: Any, canned: Any, downloads: Any, part: Path, mp3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trickling host cannot hold the connection without end."""
    data = mp3(2.0)
    stopped = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(canned.http(200, data[:4000], length=len(data), ETag='"a"'))
        await writer.drain()
        await stopped.wait()
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{SONG}"
    monkeypatch.setattr(downloader, "TRANSFER_SECONDS", 0.1)
    with pytest.raises(DownloadProblem, match="TimeoutError"):
        await downloads().fetch(url, part, 2.0)
    stopped.set()
    server.close()
    assert note_of(part) == {"url": url, "validator": '"a"'}


async def test_an_unwritable_disk_is_named_in_the_error(
    song_host: Any, canned: Any, downloads: Any, tmp_path: Path, mp3: Any
) -> None:
    """The song's host is not blamed for it."""
    host = await song_host(canned.http(200, mp3()))
    with pytest.raises(
        DownloadProblem, match=r"it could not be written to .*nowhere \(No such file or directory"
    ):
        await downloads().fetch(host.url + SONG, tmp_path / "nowhere" / "take.part", 2.0)
