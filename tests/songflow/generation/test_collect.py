"""From an accepted id to stored songs, whichever process, key or address collects them."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from sqlalchemy import update

import songflow
from songflow import errors
from songflow.generation import lifecycle
from songflow.generation.lifecycle import collect, generate_in, mint_key, wait
from songflow.generation.policy import PaidRequest
from songflow.generation.results import GenerationResult, SongResult
from songflow.generation.session_settings import SessionSettings
from songflow.generation.submit import submit_once
from songflow.generation.takes import store_song, take_uid
from songflow.ledger import SongState, State, schema
from songflow.polling import loop
from songflow.runtime.retry import without_pauses
from songflow.settings import LibrarySettings

OLD, NEW = "sk-old-old-old-old-old", "sk-new-new-new-new-new"


@pytest.fixture
def finished(simulator, access, session, song_request):
    """A generation that has ended, its songs not collected: (session, server, access, submission, songs)."""

    async def make(*faults, **settings):
        server, opened = simulator(*faults), await session(**settings)
        way = access(server.url)
        submission = await submit_once(opened, PaidRequest(song_request(), "key"), way)
        songs = await wait(opened, submission, way)
        return opened, server, way, await opened.library.ledger.submissions.get(submission.id), songs

    return make


async def test_a_song_that_was_ready_is_stored_though_the_gateway_then_forgets_its_task(
    simulator, access, session, song_request, until, play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was paid for, and its address is known: only the other take is not collected."""
    monkeypatch.setattr(loop, "VISIBILITY_SECONDS", -1.0)
    server, opened = simulator({"fault": "late_take", "seconds": 3600.0, "listed": True}), await session()
    reports = []

    async def progress(*report: object) -> None:
        reports.append(report)

    async def is_ready() -> bool:
        return ("succeeded", 1.0) in [report[:2] for report in reports]

    making = asyncio.create_task(
        generate_in(opened, song_request(), access(server.url), key="key", progress=progress)
    )
    await until(is_ready)
    play(server, {"fault": "vanishes", "fetches": 0, "times": None})
    result = await making
    assert [song.path is not None for song in result.songs] == [True, False]
    assert (result.state, len(server.bill())) == ("succeeded", 1)


# --- the whole way ----------------------------------------------------------------------------------------


async def test_a_generation_stores_its_songs_and_their_rows(simulator, access, session, song_request) -> None:
    """Key, id and price, and for each take its file with the checksum of the bytes on disk."""
    server, opened, heard = simulator(), await session(), []

    async def progress(status: str, *_: object) -> None:
        heard.append(status)

    result = await generate_in(opened, song_request(), access(server.url), key="key", progress=progress)
    assert (result.key, result.state, result.billed, result.price) == ("key", "succeeded", "yes", 1.0)
    assert result.generation_id == server.bill()[0].generation_id
    assert result.stored == result.songs
    for song in result.songs:
        assert hashlib.sha256(Path(song.path).read_bytes()).hexdigest() == song.sha256
        assert (song.error, song.duration) == (None, pytest.approx(0.25, abs=0.02))
    assert heard[-1] == "succeeded"
    plain = result.as_dict()
    assert plain["songs"][0]["song_id"] == result.songs[0].song_id
    assert (
        GenerationResult(**{**plain, "songs": tuple(SongResult(**one) for one in plain["songs"])}) == result
    )


async def test_reusing_a_key_returns_the_same_songs_and_pays_nothing(
    simulator, access, session, song_request
) -> None:
    """A Prefect retry or a second click: not even a poll is sent."""
    server, opened = simulator(), await session()
    first = await generate_in(opened, song_request(), access(server.url), key="key")
    server.stop()
    assert await generate_in(opened, song_request(), access(server.url), key="key") == first
    assert len(server.bill()) == 1


async def test_a_new_key_makes_new_songs_of_a_settled_body(simulator, access, session, song_request) -> None:
    """A scheduled run makes a new song each time."""
    server, opened = simulator(), await session()
    first = await generate_in(opened, song_request(), access(server.url), key=mint_key())
    second = await generate_in(opened, song_request(), access(server.url), key=mint_key())
    assert first.key != second.key
    assert {song.path for song in first.songs}.isdisjoint(song.path for song in second.songs)
    assert len(server.bill()) == 2


async def test_a_repeatable_refusal_is_retried_in_a_whole_life_cycle(
    simulator, access, session, song_request, posts
) -> None:
    """As often as the session's settings allow."""
    limit = {"fault": "status", "on": "submit", "status": 429, "times": 2, "retry_after": 0.01}
    server, opened = simulator(limit), await session(retries=2)
    assert (await generate_in(opened, song_request(), access(server.url), key="key")).stored
    assert posts(server) == 3


async def test_plain_python_makes_songs_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`songflow.generate` uses the embedded simulator by default."""
    settings = SessionSettings(embedded_speed=250.0, clip_seconds=0.25)
    library = str(tmp_path / "songs")
    result = await songflow.generate(
        "a waltz", library=library, settings=settings, waiting={"poll_interval": 0.02}, seed=3
    )
    assert len(result.stored) == 2
    assert result.key.startswith("song-")
    with pytest.raises(errors.InvalidRequest):
        await songflow.generate("a waltz", library=str(tmp_path / "songs"), no_such_field=1)
    with pytest.raises(errors.MissingCredentials):
        await songflow.generate("a waltz", account={"gateway": "cometapi"}, library=library)


async def test_a_failed_take_is_listed_beside_the_good_one(simulator, access, session, song_request) -> None:
    """One stored song is a success; the other has its error."""
    server = simulator({"fault": "one_take_fails", "error_detail": "too loud"})
    result = await generate_in(await session(), song_request(), access(server.url), key="key")
    good, bad = result.songs
    assert result.stored == (good,)
    assert (bad.path, bad.sha256) == (None, None)
    assert "too loud" in bad.error


# --- what cannot be stored now ----------------------------------------------------------------------------


async def test_songs_that_cannot_be_fetched_are_reported_and_fetched_later(
    finished, song_request, play
) -> None:
    """Exit 5, nothing lost: the same key collects them when their host works again."""
    opened, server, way, submission, songs = await finished()
    play(server, {"fault": "dead", "times": None})
    left = await collect(opened, submission, songs, way)
    assert [song.state for song in left] == [SongState.ANNOUNCED] * 2
    assert all("could not be stored" in song.error for song in left)
    with pytest.raises(errors.NotCollected, match="none of its songs could be stored") as caught:
        await lifecycle.result(opened, submission.id)
    error = caught.value
    assert (error.exit_code, error.billed, error.generation_id) == (5, "yes", submission.generation_id)
    assert "--key key" in error.next
    with pytest.raises(errors.UnsettledTwin):
        await submit_once(opened, PaidRequest(song_request(), "new"), way)
    play(server)
    result = await generate_in(opened, song_request(), way, key="key")
    assert (len(result.stored), len(server.bill())) == (2, 1)


async def test_one_dead_download_does_not_prevent_the_other(finished, play) -> None:
    """One stored song is a success; the other is listed as not collected yet."""
    opened, server, way, submission, songs = await finished()
    play(server, {"fault": "dead", "times": None, "match": songs[1].song_id})
    await collect(opened, submission, songs, way)
    result = await lifecycle.result(opened, submission.id)
    assert [song.path is not None for song in result.songs] == [True, False]
    assert "could not be stored" in result.songs[1].error


async def test_a_gateway_error_while_asking_for_a_fresh_url_leaves_the_song_announced(finished, play) -> None:
    """No fresh URL is no crash: a later run collects the song."""
    opened, server, way, submission, songs = await finished()
    play(
        server,
        {"fault": "dead", "times": None},
        {"fault": "status", "on": "fetch", "status": 500, "times": None},
    )
    with without_pauses():
        song = await store_song(opened, submission, songs[0], way)
    assert song.state is SongState.ANNOUNCED
    assert "404" in song.error or "410" in song.error


async def test_a_song_without_a_url_is_asked_for_and_collected_later(finished, play) -> None:
    """A gateway may announce a take first and its URL later."""
    opened, server, way, submission, songs = await finished()
    async with opened.library.ledger.database.write("test") as connection:
        await connection.execute(update(schema.songs).values(song_url=None))
    play(server, {"fault": "status", "on": "fetch", "status": 500, "times": None})
    with without_pauses():
        song = await store_song(opened, submission, songs[0], way)
    assert (song.state, song.path) == (SongState.ANNOUNCED, None)
    assert "announced no address" in song.error
    play(server)
    assert (await store_song(opened, submission, songs[0], way)).state is SongState.STORED


async def test_concurrent_collectors_store_each_take_once(finished) -> None:
    """A collector that waited for another's lock finds the song stored and downloads nothing."""
    opened, _, way, submission, songs = await finished()
    first = await store_song(opened, submission, songs[0], way)
    again = await store_song(opened, submission, songs[0], way)
    assert again == first
    assert first.state is SongState.STORED


async def test_a_library_error_while_collecting_is_reported_as_paid(
    finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unusable name template is found after the payment: exit 5, and the collection of every take ends."""
    opened, _, way, submission, songs = await finished()
    monkeypatch.setattr(
        opened.library,
        "settings",
        LibrarySettings(opened.library.settings.folder, name_template="{nonsense}"),
    )
    with pytest.raises(errors.NotCollected, match="name template") as caught:
        await collect(opened, submission, songs, way)
    assert (caught.value.exit_code, caught.value.billed) == (5, "yes")
    assert (await opened.library.ledger.submissions.get(submission.id)).lease.is_dead()


async def test_songs_are_not_decoded_if_verify_audio_is_off(
    simulator, access, session, song_request, tmp_path: Path
) -> None:
    """`verify_audio=False` stores size and checksum, and the length that the gateway announced."""
    opened = await session(library=LibrarySettings(tmp_path / "library", verify_audio=False))
    result = await generate_in(opened, song_request(), access(simulator().url), key="key")
    songs = await opened.library.ledger.songs.of_key("key")
    assert [(song.seconds, song.peak, song.bytes is not None) for song in songs] == [(None, None, True)] * 2
    assert [song.duration for song in result.songs] == [0.25, 0.25]


async def test_each_take_has_a_short_unique_name(finished) -> None:
    """The names of files and parts differ for every take of every ledger."""
    *_, songs = await finished()
    names = {take_uid(song) for song in songs}
    assert len(names) == 2
    assert all(len(name) == 10 for name in names)


# --- the embedded simulator -------------------------------------------------------------------------------


async def test_a_later_session_collects_from_the_embedded_simulator_at_its_new_address(
    session, song_request
) -> None:
    """Its port changes with every start: dead URLs are refreshed, and nothing is paid twice."""
    embedded = songflow.access_from_environment()
    settings = {"embedded_speed": 250.0, "clip_seconds": 0.25}
    first = await session(**settings)
    submission = await submit_once(first, PaidRequest(song_request(), "key"), embedded)
    songs = await wait(first, submission, embedded)
    await first._exits.aclose()
    second = await session(**settings)
    result = await generate_in(second, song_request(), embedded, key="key")
    assert len(result.stored) == 2
    live = await second.gateways.get(embedded)
    assert live.account.base_url not in songs[0].song_url
    assert len(second.gateways._embedded.bill()) == 1
    assert submission.base_url == "http://simulator.invalid"


# --- other keys and other gateways ------------------------------------------------------------------------


async def test_a_generation_is_collected_with_the_new_key_of_its_account(
    simulator, access, session, song_request, tmp_path: Path
) -> None:
    """A key may be rotated between submit and collect; the account is the same."""
    server = simulator(state_dir=tmp_path / "gateway", accept_keys={OLD})
    opened, alias = await session(), "env:OPENAI_HK_KEY"
    old = access(server.url, "openai-hk", key=OLD, alias=alias)
    await submit_once(opened, PaidRequest(song_request(), "key"), old)
    server.stop()
    simulator(state_dir=tmp_path / "gateway", accept_keys={NEW}, port=int(server.url.rpartition(":")[2]))
    new = access(server.url, "openai-hk", key=NEW, alias=alias)
    result = await generate_in(opened, song_request(), new, key="key")
    assert (len(result.stored), len(server.bill())) == (2, 1)


@pytest.mark.parametrize("dialect", ["openai-hk", "cometapi", "shape-c", "simulator"])
async def test_collecting_ignores_credentials_of_another_gateway(
    simulator, access, session, song_request, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """The gateway that accepted the generation is polled, with the account in the ledger."""
    server, other = simulator(accept_keys={OLD}), simulator()
    opened = await session()
    variable = {"openai-hk": "OPENAI_HK_KEY", "cometapi": "COMETAPI_KEY"}.get(dialect, "SONGFLOW_API_KEY")
    took = access(server.url, dialect, key=OLD, alias=f"env:{variable}")
    await submit_once(opened, PaidRequest(song_request(), "key"), took)
    monkeypatch.setenv(variable, OLD)
    result = await generate_in(opened, song_request(), access(other.url, "cometapi"), key="key")
    assert (len(result.stored), len(server.bill()), other.bill()) == (2, 1, [])


async def test_a_missing_account_is_named_and_the_generation_is_not_lost(
    simulator, access, session, song_request
) -> None:
    """Exit 2 with the id and the account: a missing key loses nothing."""
    server, other, opened = simulator(), simulator(), await session()
    took = access(server.url, "openai-hk", key=OLD, alias="env:OPENAI_HK_KEY")
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), took)
    with pytest.raises(errors.MissingCredentials) as caught:
        await generate_in(opened, song_request(), access(other.url), key="key")
    error = caught.value
    assert (error.exit_code, error.billed, error.state) == (2, "yes", "accepted")
    assert error.generation_id == submission.generation_id
    assert "'env:OPENAI_HK_KEY'" in str(error)
    assert (await opened.library.ledger.submissions.get(submission.id)).state is State.ACCEPTED


async def test_another_account_of_the_gateway_is_used_only_if_the_first_is_missing(
    simulator, access, session, song_request, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway may show a generation only to the account that made it; if that is missing, any other is tried."""
    server, opened = simulator(), await session()
    took = access(server.url, "openai-hk", key=OLD, alias="env:OPENAI_HK_KEY")
    given = access(server.url, "openai-hk", key=NEW, alias="block:mine")
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), took)
    assert await opened.gateways.access_for(submission, given) is given
    monkeypatch.setenv("OPENAI_HK_KEY", OLD)
    assert (await opened.gateways.access_for(submission, given)).account.secret == OLD


async def test_downloads_need_no_account(finished) -> None:
    """Song hosts take no key, so a missing one does not matter."""
    opened, _, _, submission, songs = await finished()
    left = await collect(opened, submission, songs)
    assert [song.state for song in left] == [SongState.STORED] * 2


async def test_a_custom_resolver_finds_the_account(simulator, access, session, song_request) -> None:
    """This is how Prefect's blocks are found."""
    server = simulator(accept_keys={OLD})
    took = access(server.url, "openai-hk", key=OLD, alias="block:mine")

    async def resolve(submission):
        assert submission.account == "block:mine"
        return took

    opened = await session(resolver=resolve)
    submission = await submit_once(opened, PaidRequest(song_request(), "key"), took)
    assert len(await wait(opened, submission)) == 2
