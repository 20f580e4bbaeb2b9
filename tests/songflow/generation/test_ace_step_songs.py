"""ACE-Step songs on the simulator, over a real socket: each way to make one, at no price and without a key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest
import soundfile
from sqlalchemy import delete

from songflow.accounts import access_from_environment, resolve_from_environment
from songflow.catalog.manifest import read_manifest
from songflow.errors import GenerationFailed, InputError, NotBilled, OutcomeUnknown
from songflow.families.registry import parse_request
from songflow.generation.extensions import plan_extension
from songflow.generation.lifecycle import generate_in
from songflow.generation.rescue import adopt
from songflow.ledger import schema
from songflow.library.rebuild import Found, rebuild
from songflow.library.source_check import seam_of

IDEA = {"prompt": "a cat on a roof", "model_type": "acestep-v15-turbo", "batch_size": 1}
SUNG = IDEA | {"lyrics": "miau", "duration": 20.0, "bpm": 90, "seed": 7}


def asked(**fields: Any) -> Any:
    return parse_request(IDEA | fields)


async def test_an_idea_own_words_an_instrumental_and_an_extension(simulator: Any, session: Any) -> None:
    """Without a key; each is asked for once, and an extension is the whole song and contains what was kept of it."""
    server, opened = simulator(clip_seconds=4.0), await session()
    account = access_from_environment("ace-step", server.url)
    made = await generate_in(opened, asked(), account, key="idea")
    again = await generate_in(opened, asked(), account, key="idea")
    assert (again.generation_id, made.price) == (made.generation_id, 0.0)
    sung = await generate_in(opened, parse_request(SUNG), account, key="sung")
    quiet = await generate_in(opened, asked(lyrics_type="instrumental", batch_size=3), account, key="quiet")
    assert len(quiet.songs) == 3
    source = sung.songs[0]
    planned = await plan_extension(
        opened, source.song_id or "", overrides={"continue_at": 3.0}, given=account
    )
    longer = await generate_in(opened, planned.request, planned.access, key="more")
    assert soundfile.info(longer.songs[0].path).duration == pytest.approx(7.0, abs=0.05)
    bodies = [entry.body for entry in server.bill()]
    assert [entry.price for entry in server.bill()] == [0, 0, 0, 0]
    assert [body.get("lyrics", body.get("sample_query")) for body in bodies] == [
        "a cat on a roof", "miau", "[Instrumental]", "miau",
    ]  # fmt: skip
    assert bodies[3]["src_audio_path"] == source.song_id
    assert (bodies[3]["repainting_start"], bodies[3]["repainting_end"]) == (3, 33)
    rows = (await read_manifest(opened.library.ledger)).to_dict("records")
    assert {(row["gateway"], row["song_state"], row["title"]) for row in rows} == {
        ("ace-step", "stored", "a cat on a roof")
    }
    assert (rows[-1]["source_score"], rows[-1]["source_at"]) == (1.0, 0.0)
    (extended,) = await opened.library.ledger.songs.of_key("more")
    assert (extended.added_seconds, seam_of(extended)) == (
        pytest.approx(4.0, abs=0.05),
        pytest.approx(3.0, abs=0.05),
    )
    assert (rows[1]["request.bpm"], rows[1]["request.seed"], rows[0]["request.batch_size"]) == (90, 7, 1)
    assert rows[-1]["parent_song_id"] == source.song_id


async def test_the_manifest_is_rebuilt_from_the_files_and_pays_nothing_again(
    simulator: Any, session: Any
) -> None:
    """Request, lineage and price; the key still names the same song."""
    server, opened = simulator(clip_seconds=2.0), await session()
    account, library = access_from_environment("ace-step", server.url), opened.library
    sung = await generate_in(opened, parse_request(SUNG | {"thinking": True}), account, key="sung")
    more = {"continue_at": 2.0, "duration": 12}
    planned = await plan_extension(opened, sung.songs[0].song_id or "", overrides=more, given=account)
    await generate_in(opened, planned.request, planned.access, key="more")
    before = await read_manifest(library.ledger)
    async with library.ledger.database.write("hold") as connection:
        for table in reversed(schema.metadata.sorted_tables):
            await connection.execute(delete(table))
    findings = await rebuild(library, library.settings.folder, [account.place])
    assert [finding.found for finding in findings] == [Found.ADDED] * 2
    after = await read_manifest(library.ledger)
    carried = [name for name in before.columns if name != "rating"]
    pandas.testing.assert_frame_equal(before[carried], after[carried])
    again = await generate_in(opened, parse_request(SUNG | {"thinking": True}), account, key="sung")
    assert (again.generation_id, len(server.bill())) == (sung.generation_id, 2)


async def test_the_embedded_simulator_makes_such_songs_too(session: Any) -> None:
    """Under its own name, as for every family."""
    opened = await session(clip_seconds=0.25)
    made = await generate_in(opened, asked(), access_from_environment(), key="idea")
    assert made.simulated
    assert Path(made.songs[0].path or "").is_file()


async def test_a_servers_key_goes_with_the_requests_and_to_its_own_files(
    simulator: Any, access: Any, session: Any
) -> None:
    """Another key is refused, and so is none, before anything is made."""
    server, opened = simulator(accept_keys=["good"]), await session()
    for key in (None, "bad"):
        with pytest.raises(NotBilled, match="Invalid token"):
            await generate_in(opened, asked(), access(server.url, "ace-step", key=key), key=str(key))
    made = await generate_in(opened, asked(), access(server.url, "ace-step", key="good"), key="good")
    assert Path(made.songs[0].path or "").is_file()
    assert len(server.bill()) == 1


async def test_a_key_of_another_gateway_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The common variable is for gateways that need a key; this one's own is used where it is set."""
    monkeypatch.setenv("SONGFLOW_API_KEY", "of-another-one")
    assert access_from_environment("ace-step").account.secret is None
    monkeypatch.setenv("ACESTEP_KEY", "mine")
    found = access_from_environment("ace-step")
    assert (found.account.secret, found.account.alias) == ("mine", "env:ACESTEP_KEY")
    assert found.account.base_url == "http://127.0.0.1:8001"


async def test_the_same_server_is_found_again_without_a_key(simulator: Any, session: Any) -> None:
    """A lost answer is unknown until its task is adopted, by the environment alone."""
    server = simulator({"fault": "lost_answer"})
    opened = await session(resolver=resolve_from_environment)
    account = access_from_environment("ace-step", server.url)
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            await generate_in(opened, asked(), account, key="cat")
    (paid,) = server.bill()
    adopted = await adopt(opened, paid.generation_id, key="cat")
    assert (adopted.state, len(server.bill())) == ("succeeded", 1)
    assert all(song.path for song in adopted.songs)


async def test_a_failure_and_a_full_queue(simulator: Any, session: Any) -> None:
    """The first has the server's reason; the second is not billed, and is sent again."""
    failing, opened = simulator({"fault": "failure", "fail_reason": "out of memory"}), await session()
    with pytest.raises(GenerationFailed, match="out of memory"):
        await generate_in(opened, asked(), access_from_environment("ace-step", failing.url), key="cat")
    full = simulator({"fault": "status", "on": "submit", "status": 429, "retry_after": 0.01})
    made = await generate_in(opened, asked(), access_from_environment("ace-step", full.url), key="dog")
    assert (made.state, len(full.bill())) == ("succeeded", 1)


async def test_a_file_that_this_server_has_not_made_is_refused(simulator: Any, session: Any) -> None:
    """Of a song that is not in this library, the path is its id."""
    server, opened = simulator(), await session()
    account = access_from_environment("ace-step", server.url)
    more = {"continue_at": 3.0, "prompt": "a cat"} | {"model_type": "acestep-v15-turbo"}
    planned = await plan_extension(opened, "/home/me/other.mp3", overrides=more, given=account)
    with pytest.raises(NotBilled, match="no finished song"):
        await generate_in(opened, planned.request, planned.access, key="cat")
    assert server.bill() == []


async def test_models_of_other_families_are_not_sold_here(session: Any, song_request: Any) -> None:
    """And the other way round: nothing is sent."""
    opened = await session()
    with pytest.raises(InputError, match="ace-step does not sell udio"):
        await generate_in(opened, song_request(), access_from_environment("ace-step"), key="cat")
    assert (await read_manifest(opened.library.ledger)).empty
