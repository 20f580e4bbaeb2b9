"""The flow make-song on a real Prefect server: tasks for each step, one payment per step, an artifact of the tree."""

from __future__ import annotations

import pytest
from prefect import flow

from flows.song import make_song
from songflow.errors import ChoiceNeeded, GenerationFailed, InvalidDocument, SpendingStopped
from songflow.ledger.states import State
from songflow.library.library import Library
from tasks.watching import Watcher, watched_by

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
]

THREE = {
    "name": "Three steps",
    "variables": {"prompt": None},
    "core": {"prompt": "${prompt}", "take": "longest"},
    "steps": [
        {"name": "intro", "place": "intro", "lyrics_type": "instrumental"},
        {"name": "outro", "place": "outro", "lyrics_type": "instrumental"},
    ],
}
TREE = {"core": {"prompt": "a tree", "take": "all"}, "steps": [{"name": "outro", "place": "outro"}]}


async def runs_of(here, *keys):
    """The flow runs of the submissions of these keys."""
    found = set()
    async with Library(here.library.get_settings()) as library:
        for key in keys:
            found |= {one.runs.flow_run_id for one in await library.ledger.submissions.of_key(key)}
    return found


async def test_a_recipe_becomes_a_whole_song(studio, prefect_server):
    """Every step extends the take chosen before, is paid for once, and belongs to the flow's run.

    Whoever started the run in this process sees the progress of each step.
    """
    here, shown = studio(), {}

    async def watch(_session, submission, access):
        assert access.account.base_url == here.simulator.url
        words = shown.setdefault(submission.key.rpartition(":")[2], [])

        async def note(word, _share, _seconds):
            words.append(word)

        return note

    with watched_by(Watcher(generation=watch)):
        whole = await make_song(THREE, prompt="a waltz", **here.options)
    assert {name: words[-1] for name, words in shown.items()} == dict.fromkeys(
        ("core", "intro", "outro"), "succeeded"
    )
    assert [step.path for step in whole.steps] == ["core", "intro", "outro"]
    assert [step.source for step in whole.steps] == [None, *(step.chosen[0] for step in whole.steps[:-1])]
    assert (whole.billed, whole.price, here.billed) == ("yes", 3.0, 3)
    assert [song.song_id for song in whole.songs] == list(whole.steps[-1].chosen)
    assert whole.songs[0].duration == pytest.approx(0.75, abs=0.05)
    [run] = await runs_of(here, *(step.key for step in whole.steps))
    assert whole.key == f"{run}:song"
    pages = await prefect_server.artifacts(run, "markdown")
    [tree] = [page for page in pages if "How it was made" in page]
    assert all(step.path in tree for step in whole.steps)
    assert "1 whole song, 3 generations, 3 units" in tree


async def test_a_retried_parent_pays_for_no_step_twice(studio, prefect_server):
    """The root run's id and the steps' paths are the keys: a retry finds every step."""
    here, made = studio(), []

    @flow(retries=1)
    async def album():
        made.append(await make_song(THREE, prompt="a waltz", **here.options))
        if len(made) == 1:
            raise RuntimeError("the parent fails after its song is stored")

    await album()
    assert made[0].as_dict() == made[1].as_dict()
    assert here.billed == 3


async def test_every_take_of_a_tree_is_extended_by_its_own_request(studio, prefect_server):
    here = studio()
    whole = await make_song(TREE, **here.options)
    assert [step.path for step in whole.steps] == ["core", "outro.1", "outro.2"]
    assert [step.source for step in whole.steps[1:]] == [song.song_id for song in whole.steps[0].songs]
    assert (len(whole.songs), here.billed) == (2, 3)


async def test_a_shipped_recipe_by_name(studio, prefect_server):
    here = studio()
    whole = await make_song("radio-edit", "a waltz", lyrics="la la la", **here.options)
    assert [step.path for step in whole.steps] == ["core", "outro"]
    assert whole.price == 3.0
    assert here.billed == 2


async def test_a_wrong_recipe_and_one_over_its_budget_send_nothing(studio, prefect_server):
    here = studio()
    with pytest.raises(InvalidDocument, match="2 faults"):
        await make_song("core:\n  prompt: ''\nsteps:\n- {name: x, place: top}\n", **here.options)
    with pytest.raises(SpendingStopped, match="costs up to 3 units, and the budget is 2"):
        await make_song(THREE, prompt="a waltz", budget=2.0, **here.options)
    assert here.billed == 0


async def test_all_steps_stay_with_the_account_that_made_the_core(studio, prefect_server):
    """The first account refuses the core; the fallback makes it, and every later step."""
    other, here = studio(accept_keys=frozenset({"nobody's"})), studio()
    options = {**here.options, "credentials": other.credentials, "safety": {"fallbacks": [here.credentials]}}
    whole = await make_song(THREE, prompt="a waltz", **options)
    assert (len(whole.steps), other.billed, here.billed) == (3, 0, 3)


async def test_a_run_that_must_not_ask_stops_and_another_continues(studio, prefect_server):
    """For schedules and scripts: the question becomes an error that explains how to continue, and nothing is lost."""
    here = studio()
    recipe = {**THREE, "core": {"prompt": "a waltz", "take": "ask"}, "variables": {}}
    with pytest.raises(
        ChoiceNeeded, match=r'Request key K and the Choices {"core": "1"}, or core=again1 for another'
    ) as caught:
        await make_song(recipe, safety={"key": "K"}, asking="stop", **here.options)
    assert [take["take"] for take in caught.value.takes] == [1, 2]
    whole = await make_song(recipe, safety={"key": "K"}, asking="stop", choices={"core": "2"}, **here.options)
    assert whole.steps[0].chosen == (caught.value.takes[1]["song_id"],)
    assert here.billed == 3


async def test_a_failed_step_ends_the_run_and_the_artifact_shows_stored_songs(studio, prefect_server):
    here = studio({"fault": "failure", "fail_reason": "out of tune", "skip": 1})
    with pytest.raises(GenerationFailed, match=r"^intro: .*out of tune"):
        await make_song(THREE, prompt="a waltz", safety={"key": "K"}, **here.options)
    [submission], _songs = await here.ledger("K:intro")
    assert submission.state is State.FAILED
    pages = await prefect_server.artifacts(submission.runs.flow_run_id, "markdown")
    assert any("0 whole songs, 2 generations" in page for page in pages)
    whole = await make_song(
        THREE, prompt="a waltz", safety={"key": "K", "retry_errors": True}, **here.options
    )
    assert (len(whole.stored), here.billed) == (1, 4)
