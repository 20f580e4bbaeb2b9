"""The flow generate-song on a real Prefect server: songs on disk, billed once even if runs are repeated."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prefect import flow

from blocks import CometAPICredentials, OpenAIHKCredentials
from flows.extend import extend_song
from flows.generate import generate_song
from songflow.errors import GenerationFailed, InvalidRequest, KeyConflict, NotCollected, RequestRefused
from songflow.runtime.retry import without_pauses

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]


def song_ids(result):
    return [song.song_id for song in result.songs]


@pytest.mark.oldest_prefect
async def test_a_prompt_becomes_songs_on_disk(studio):
    here = studio()
    result = await generate_song("a slow waltz", **here.options)
    assert [Path(song.path).suffix for song in result.songs] == [".mp3", ".mp3"]
    assert all(Path(song.path).stat().st_size > 0 for song in result.songs)
    assert (result.billed, here.billed) == ("yes", 1)


async def test_without_credentials_the_songs_come_from_the_built_in_simulator(studio, monkeypatch):
    here = studio()
    monkeypatch.delenv("SONGFLOW_API_KEY", raising=False)
    result = await generate_song("no key, no cost", library=here.library)
    [submission], songs = await here.ledger(result.key)
    assert submission.gateway == "simulator"
    assert [song.state for song in songs] == ["stored", "stored"]
    assert here.billed == 0


@pytest.mark.parametrize("account", [CometAPICredentials, OpenAIHKCredentials])
async def test_every_kind_of_block_reaches_its_gateway(studio, account):
    here = studio()
    block = account(api_key=here.secret, base_url=here.simulator.url)
    result = await generate_song("a tango", **{**here.options, "credentials": block})
    assert len(result.stored) == 2
    assert here.billed == 1


async def test_a_retried_parent_gets_the_same_songs_billed_once(studio):
    here, made = studio(), []

    @flow(retries=1)
    async def album():
        made.append(await generate_song("an overture", **here.options))
        if len(made) == 1:
            raise RuntimeError("the parent fails after its song is stored")

    await album()
    first, second = made
    assert song_ids(first) == song_ids(second)
    assert first.key == second.key
    assert here.billed == 1


async def test_two_new_runs_make_and_pay_for_two_generations(studio):
    here = studio()
    first = await generate_song("twice the same", **here.options)
    second = await generate_song("twice the same", **here.options)
    assert not set(song_ids(first)) & set(song_ids(second))
    assert here.billed == 2


async def test_steps_distinguish_the_songs_of_one_parent(studio):
    here = studio()

    @flow
    async def album():
        return [
            await generate_song("verse", safety={"step": step}, **here.options) for step in ("a", "b", "a")
        ]

    first, second, again = await album()
    assert song_ids(first) == song_ids(again) != song_ids(second)
    assert first.key.endswith(":a")
    assert first.key.split(":")[0] == second.key.split(":")[0]
    assert here.billed == 2


async def test_the_same_step_with_another_prompt_is_refused_and_names_the_step(studio):
    here = studio()

    @flow
    async def album():
        await generate_song("verse", **here.options)
        await generate_song("chorus", **here.options)

    with pytest.raises(KeyConflict, match=r"prompt.*another step"):
        await album()
    assert here.billed == 1


async def test_a_given_request_key_never_pays_twice(studio):
    here = studio()
    first = await generate_song("mine", safety={"key": "my-key"}, **here.options)
    second = await generate_song("mine", safety={"key": "my-key"}, **here.options)
    assert song_ids(first) == song_ids(second)
    assert here.billed == 1


async def test_a_failed_generation_is_paid_again_only_on_request(studio):
    here = studio({"fault": "failure", "fail_reason": "out of tune"})
    with pytest.raises(GenerationFailed, match="out of tune"):
        await generate_song("flat", safety={"key": "k"}, **here.options)
    with pytest.raises(GenerationFailed):
        await generate_song("flat", safety={"key": "k"}, **here.options)
    assert here.billed == 1
    result = await generate_song("flat", safety={"key": "k", "retry_errors": True}, **here.options)
    assert len(result.stored) == 2
    assert here.billed == 2


async def test_one_take_that_fails_does_not_lose_the_other(studio):
    result = await generate_song("half", **studio({"fault": "one_take_fails", "take": 1}).options)
    assert [song.path is None for song in result.songs] == [True, False]
    assert result.songs[0].error


async def test_songs_that_cannot_be_stored_are_named_as_paid_and_collected_by_the_next_run(
    studio, monkeypatch
):
    monkeypatch.setattr("tasks.download.download.retries", 0)
    here = studio({"fault": "html_200", "times": None})
    with without_pauses(), pytest.raises(NotCollected, match="none of its songs could be stored"):
        await generate_song("not yet", safety={"key": "k"}, **here.options)
    async with httpx.AsyncClient() as client:
        (await client.put(f"{here.simulator.url}/_simulator/faults", json=[])).raise_for_status()
    result = await generate_song("not yet", safety={"key": "k"}, **here.options)
    assert len(result.stored) == 2
    assert here.billed == 1


async def test_a_refused_request_is_sent_again_as_often_as_retries_say(studio):
    here = studio({"fault": "status", "on": "submit", "status": 429, "times": 1})
    with pytest.raises(RequestRefused, match="not billed"):
        await generate_song("busy", safety={"key": "k", "retries": 0}, **here.options)
    assert here.billed == 0
    await generate_song("busy", safety={"key": "k", "retries": 0}, **here.options)
    assert here.billed == 1


async def test_a_family_without_a_price_is_made_and_continued_by_the_same_flows(studio):
    """What only its models take is in the details; the extension is the whole song."""
    here = studio(clip_seconds=2.0)
    options = here.options | {"model_type": "acestep-v15-turbo", "budget": 0}
    details = {"bpm": 90, "duration": 20, "key_scale": "Am", "batch_size": 1, "vocal_language": "en"}
    made = await generate_song("folk", lyrics="la la", details=details, **options)
    more = await extend_song(
        made.songs[0].song_id, details={"continue_at": 2, "duration": 15}, **here.options
    )
    first, second = (entry.body for entry in here.simulator.bill())
    assert (first["audio_duration"], first["bpm"], first["key_scale"]) == (20, 90, "Am")
    assert (second["src_audio_path"], second["repainting_end"]) == (made.songs[0].song_id, 17)
    assert (made.price, more.songs[0].duration) == (0.0, pytest.approx(4.0, abs=0.1))


async def test_another_family_is_made_and_continued_by_the_same_flows(studio):
    """The model decides: defaults of the first family's groups are not sent, and the new part is joined."""
    here = studio(clip_seconds=2.0, takes=1)
    options = here.options | {"model_type": "chirp-auk"}
    made = await generate_song("emotional punk", lyrics="la la", details={"title": "City"}, **options)
    more = await extend_song(
        made.songs[0].song_id, details={"continue_at": 1.5}, sound={"model_type": "chirp-v4"}, **here.options
    )
    first, second = (entry.body for entry in here.simulator.bill())
    assert first == {"prompt": "la la", "tags": "emotional punk", "mv": "chirp-auk", "title": "City"}
    assert second == {
        **first,
        "mv": "chirp-v4",
        "task_id": made.generation_id,
        "continue_clip_id": made.songs[0].song_id,
        "continue_at": 1.5,
    }
    assert Path(more.songs[0].whole_path).stat().st_size > 0
    apart = await extend_song(
        made.songs[0].song_id,
        details={"continue_at": 1, "join": "none"},
        **here.options | {"safety": {"step": "apart"}},
    )
    assert (apart.songs[0].whole_path, here.billed) == (None, 3)
    joined = await extend_song(
        made.songs[0].song_id,
        details={"continue_at": 1, "join": "gateway"},
        **here.options | {"safety": {"key": "joined"}},
    )
    assert (joined.songs[0].joined_by, here.simulator.bill()[-1].body) == (
        "gateway",
        {"clip_id": joined.songs[0].song_id, "is_infill": False},
    )
    (join,), _ = await here.ledger("joined/join.1")
    assert (join.state, join.runs.flow_run_id is not None) == ("succeeded", True)
    with pytest.raises(InvalidRequest, match="prompt_strength is not a field"):
        await generate_song("punk", sound={"prompt_strength": 0.7}, **options)
