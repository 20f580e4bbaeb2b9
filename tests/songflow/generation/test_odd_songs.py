"""Songs in odd forms, or with wrong announcements: each is stored, with a note of what could not be verified."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from songflow import errors
from songflow.audio.decoding import measure
from songflow.audio.id3 import read_tag
from songflow.generation.lifecycle import collect, generate_in, wait
from songflow.generation.policy import PaidRequest
from songflow.generation.submit import submit_once
from songflow.library.provenance import read_provenance
from songflow.runtime.retry import without_pauses
from songflow.simulator import FaultScript

MP3_FORMS = ("large_tag", "leading_nul", "leading_newline", "trailing_zeros", "no_header", "short_header")
OTHER_FORMS = {"m4a": ".m4a", "fragmented_mp4": ".m4a", "aac": ".aac", "webm": ".webm", "noise": ".audio"}


def seen(server: Any) -> int:
    """Downloads that a simulated gateway has answered."""
    return int(server.gateway.traffic.downloads)


def opened_file(path: str) -> io.BytesIO:
    """A stored song's bytes."""
    return io.BytesIO(Path(path).read_bytes())


async def test_a_whole_mp3_is_stored_in_whatever_form_it_comes(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """Its length is that of its frames: neither tags nor stray bytes nor a wrong header change it."""
    forms = [{"fault": "odd_file", "form": form, "match": form, "times": None} for form in MP3_FORMS]
    server, opened = simulator(*forms, clip_seconds=6.0), await session()
    for number, form in enumerate(MP3_FORMS, 1):
        result = await generate_in(opened, song_request(f"a {form}"), access(server.url), key=form)
        for song in result.songs:
            assert Path(song.path).suffix == ".mp3", form
            assert song.duration == pytest.approx(6.0, abs=0.1), form
            assert measure(Path(song.path)).seconds == pytest.approx(6.0, abs=0.1), form
            assert read_tag(opened_file(song.path)).texts["TIT2"] == song.title
        assert [song.note for song in await opened.library.ledger.songs.of_key(form)] == [None, None]
        assert seen(server) == 2 * number, f"{form}: one download for each take"


async def test_what_cannot_be_decoded_is_stored_as_it_came(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """The same complete bytes twice are what there is: with their own ending, and a note."""
    forms = [{"fault": "odd_file", "form": form, "match": form, "times": None} for form in OTHER_FORMS]
    server, opened = simulator(*forms), await session()
    for number, (form, ending) in enumerate(OTHER_FORMS.items(), 1):
        result = await generate_in(opened, song_request(f"a {form}"), access(server.url), key=form)
        assert [Path(song.path).suffix for song in result.songs] == [ending] * 2
        for song in await opened.library.ledger.songs.of_key(form):
            assert song.note.startswith("could not be verified: it cannot be decoded (")
            assert str(opened.library.store.parts) not in song.note
            assert song.note.endswith("without Songflow metadata: it is not an mp3")
        assert seen(server) == 4 * number, f"{form}: two downloads for each take"
    assert len(server.bill()) == 5


async def test_half_a_song_that_comes_twice_is_stored_with_a_note(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """Its host has no more of it; the note is in the file as well, for a rebuilt ledger."""
    fault = {"fault": "wrong_length", "bytes": -60_000, "times": None}
    server, opened = simulator(fault, clip_seconds=6.0), await session()
    await generate_in(opened, song_request(), access(server.url), key="half")
    for song in await opened.library.ledger.songs.of_key("half"):
        assert "s could be decoded, its header states 6.0" in song.note
        assert song.note.startswith("could not be verified: ")
        assert read_provenance(opened_file(song.path)).provenance.source.note == song.note


@pytest.mark.parametrize("seconds", [30, 35, 130, 6000, 1e-9, 6.5e9])
async def test_an_announced_length_is_a_hint(
    simulator: Any, access: Any, session: Any, song_request: Any, seconds: float
) -> None:
    """A rounded one, milliseconds, nearly nothing: the song is stored at once, and its note says what differs."""
    server, opened = simulator({"fault": "announced", "seconds": seconds}, clip_seconds=6.0), await session()
    result = await generate_in(opened, song_request(), access(server.url), key="key")
    assert [song.duration for song in result.songs] == [pytest.approx(6.0, abs=0.1)] * 2
    for song in await opened.library.ledger.songs.of_key("key"):
        assert song.note == (None if seconds > 1e9 else f"6.00 s long, announced as {seconds:.6g} s")
        found = read_provenance(opened_file(song.path)).provenance.audio.seconds
        assert found == pytest.approx(6.0, abs=0.1)
    assert seen(server) == 2


async def test_a_page_is_never_stored_as_a_song(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """Texts, JSON, XML and nothing, however often they come."""
    forms = ("html", "json", "xml", "empty")
    pages = [{"fault": "page", "form": form, "match": form, "times": None} for form in forms]
    server, opened = simulator(*pages), await session()
    for form in forms:
        with without_pauses(), pytest.raises(errors.NotCollected, match="it is not a whole song"):
            await generate_in(opened, song_request(f"a {form}"), access(server.url), key=form)
    assert not list(opened.library.store.parts.glob("*.part"))


@pytest.mark.parametrize(
    ("encoding", "coding"),
    [
        ("gzip", "plain"),
        ("deflate", "plain"),
        ("br", "plain"),
        ("gzip", "gzip"),
        ("gzip", "two_members"),
        ("deflate", "raw_deflate"),
    ],
)
async def test_an_encoding_that_nobody_asked_for_costs_nothing(
    simulator: Any, access: Any, session: Any, song_request: Any, encoding: str, coding: str
) -> None:
    """Wrong or right, on the submit, on every poll and on the audio: the song is stored as it is."""
    fault = {"fault": "encoded", "encoding": encoding, "coding": coding, "times": None}
    server, opened = (
        simulator(*({**fault, "on": on} for on in ("submit", "fetch", "download"))),
        await session(),
    )
    result = await generate_in(opened, song_request(), access(server.url), key="key")
    for song in await opened.library.ledger.songs.of_key("key"):
        assert (song.note, Path(song.path).suffix) == (None, ".mp3")
    assert len(result.stored) == seen(server) == 2


DEAD = [
    *({"fault": "status", "status": status, "body": "no"} for status in (400, 402, 409, 429, 451, 500, 503)),
    {"fault": "status", "status": 400, "body": "<Error><Code>ExpiredToken</Code></Error>"},
    {"fault": "status", "status": 302, "body": "log in"},
    {"fault": "dead", "status": 405},
    {"fault": "truncated", "bytes": 0},
    {"fault": "reset_before"},
    *({"fault": "page", "form": form} for form in ("html", "json", "xml", "empty")),
    {"fault": "page", "form": "json", "status": 202},
]


async def test_a_fresh_address_is_asked_for_whatever_the_old_one_answers(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """A token that has run out, a login page, a host that is down for good: the song comes from the new address."""
    opened = await session()
    server = simulator()
    for number, fault in enumerate(DEAD):
        before = seen(server)
        server.gateway.play(
            FaultScript.of(
                {"fault": "fresh_addresses", "times": None},
                {"on": "download", **fault, "match": "given=1", "times": None},
            )
        )
        with without_pauses():
            await generate_in(
                opened, song_request(f"a song {number}"), access(server.url), key=f"key {number}"
            )
        for song in await opened.library.ledger.songs.of_key(f"key {number}"):
            assert (song.note, Path(song.path).suffix) == (None, ".mp3"), fault
        assert seen(server) >= before + 4, f"{fault}: the first addresses were tried"


async def test_a_fresh_address_is_had_although_the_gateway_stumbles_twice(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """One bad look is none: a relay's hiccup does not cost the song."""
    server, opened = simulator(), await session()
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    songs = await wait(opened, submission, access(server.url))
    hiccup = {"fault": "status", "on": "fetch", "status": 401, "times": 2}
    server.gateway.play(
        FaultScript.of({"fault": "fresh_addresses", "times": None}, hiccup, {"fault": "dead", "times": 2})
    )
    with without_pauses():
        collected = await collect(opened, submission, songs, access(server.url))
    assert [song.path is None for song in collected] == [False, False]


async def test_takes_of_one_id_get_their_own_fresh_addresses(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """Their place in the list tells them apart."""
    faults = [{"fault": "duplicate_song_ids", "times": None}, {"fault": "fresh_addresses", "times": None}]
    server, opened = simulator(*faults, {"fault": "dead", "match": "given=1", "times": None}), await session()
    await generate_in(opened, song_request(), access(server.url), key="key")
    one, other = await opened.library.ledger.songs.of_key("key")
    assert one.song_id == other.song_id
    assert one.audio_sha256 != other.audio_sha256


@pytest.mark.parametrize(
    ("form", "dialect"),
    [
        ("spaces", "openai-hk"),
        ("newline", "shape-d"),
        ("bom", "shape-c"),
        ("no_scheme", "openai-hk"),
        ("path", "cometapi"),
    ],
)
async def test_an_address_is_read_as_it_is_meant(
    simulator: Any, access: Any, session: Any, song_request: Any, form: str, dialect: str
) -> None:
    """Without the white space around it, and completed by the gateway's own."""
    server, opened = simulator({"fault": "odd_address", "form": form}), await session()
    await generate_in(opened, song_request(), access(server.url, dialect), key="key")
    for song in await opened.library.ledger.songs.of_key("key"):
        assert song.song_url.startswith(f"{server.url}/files/")
        assert "%2520" in song.song_url
    assert seen(server) == 2


async def test_a_complete_answer_is_taken_whatever_its_2xx(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """206 with the whole file, though no range was asked for, 201, 203: one download for each take."""
    statuses = (201, 202, 203, 206)
    faults = [
        {"fault": "whole_as", "status": one, "match": f"status {one}", "times": None} for one in statuses
    ]
    server, opened = simulator(*faults), await session()
    for number, status in enumerate(statuses, 1):
        result = await generate_in(
            opened, song_request(f"status {status}"), access(server.url), key=f"{status}"
        )
        assert len(result.stored) == 2
        assert seen(server) == 2 * number


async def test_a_wait_survives_single_refusals_and_pages(
    simulator: Any, access: Any, session: Any, song_request: Any
) -> None:
    """Two refusals of the key at a time, a challenge page for as long as it stays: the song is stored all the same."""
    refused = {"fault": "status", "on": "fetch", "status": 401}
    page = {"fault": "html", "on": "fetch", "status": 403, "times": 4}
    database = {**refused, "envelope": "openai", "message": "database error", "times": 4}
    script = ({**refused, "times": 2}, page, {**refused, "times": 2}, database)
    server, opened = simulator(*script), await session()
    assert len((await generate_in(opened, song_request(), access(server.url), key="key")).stored) == 2
    assert server.gateway.traffic.fetch_answers["401"] == 8

    server.gateway.play(FaultScript.of({**refused, "times": None}))
    with pytest.raises(errors.StillRunning, match=r"the gateway refuses our key: HTTP 401: Invalid token"):
        await generate_in(opened, song_request("another"), access(server.url), key="other")
    server.gateway.play(FaultScript.of())
    assert (
        len((await generate_in(opened, song_request("another"), access(server.url), key="other")).stored) == 2
    )
    assert len(server.bill()) == 2


@pytest.mark.parametrize("word", ["FAILED", "ERROR", "CANCELLED", "TIMEOUT"])
async def test_a_failure_in_other_words_ends_the_wait(
    simulator: Any, access: Any, session: Any, song_request: Any, word: str
) -> None:
    """Not the deadline."""
    server, opened = simulator({"fault": "status_word", "word": word}), await session()
    with pytest.raises(errors.GenerationFailed, match=f"the gateway reports '{word}' and gives no reason"):
        await generate_in(opened, song_request(), access(server.url), key="key")


@pytest.mark.parametrize("dialect", ["openai-hk", "shape-c", "shape-d"])
async def test_a_success_with_an_address_is_collected_though_it_says_unfinished(
    simulator: Any, access: Any, session: Any, song_request: Any, dialect: str
) -> None:
    """And tags that come as one text are tags."""
    tags = {"fault": "announced", "text": "mandopop, slow"}
    server, opened = simulator({"fault": "unfinished"}, tags), await session()
    result = await generate_in(opened, song_request(), access(server.url, dialect), key="key")
    assert len(result.stored) == 2
    assert {song.tags for song in await opened.library.ledger.songs.of_key("key")} == {("mandopop", "slow")}
