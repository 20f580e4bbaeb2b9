"""A recipe in one process against a simulated gateway: requests, choices, resumption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import songflow
from songflow.errors import (
    ChoiceNeeded,
    GenerationFailed,
    InputError,
    InvalidRequest,
    NotCollected,
    SpendingStopped,
    UnsettledTwin,
)
from songflow.generation.policy import PayingPolicy
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.judgements import Judgement, JudgementKind
from songflow.recipes.answers import Answer, Question
from songflow.recipes.making import make_whole_song
from songflow.recipes.plain import PlainCrew, settings_for
from songflow.recipes.reading import plain_document, read_recipe
from songflow.recipes.results import WholeSong, read_whole_song
from songflow.simulator import FaultScript

TWO = {"core": {"prompt": "a waltz"}, "steps": [{"name": "outro", "place": "outro"}]}


class Person(PlainCrew):
    """Answers one question after the other."""

    answers: Sequence[int | None] = ()
    asked: list[Question]

    async def ask(self, question: Question) -> Answer:
        self.asked.append(question)
        take = self.answers[len(self.asked) - 1]
        return Answer(take, "a test")


@pytest.fixture
def make(session, access):
    """Makes a recipe at a gateway; `answers` are a person's, in order."""

    async def run(
        server: Any, data: dict[str, Any], *, key: str = "K", answers: Any = (), **more: Any
    ) -> WholeSong:
        recipe = read_recipe(plain_document(data))
        settings = settings_for(recipe, key, SessionSettings(retries=0, budget=more.pop("budget", None)))
        opened = await session(retries=0, budget=settings.budget, budget_run=settings.budget_run)
        crew = Person(opened, PayingPolicy(retry_errors=more.pop("retry_errors", False)))
        crew.answers, crew.asked = answers, run.asked
        accounts = more.pop("accounts", None) or [access(server.url)]
        return await make_whole_song(opened, recipe, accounts, crew, key=key, **more)

    run.asked = []
    return run


async def test_the_whole_songs_are_finished_in_the_end(simulator, make, monkeypatch, caplog):
    """As copies; what fails there fails no song."""
    server = simulator(clip_seconds=0.25)
    data = {"core": {"prompt": "a waltz"}, "finish": {"format": "wav", "fade_out": 0.5}}
    whole = await make(server, data)
    assert [Path(path).parent.name for path in whole.finished] == ["finished"]
    assert (await make(server, data)).finished == whole.finished == whole.as_dict()["finished"]

    def fails(*_: Any) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("songflow.library.finishing.finish_file", fails)
    again = await make(server, data | {"finish": {}})
    assert (again.songs, again.finished, len(server.bill())) == (whole.songs, (), 1)
    assert "was made, and not finished: no memory" in caplog.text


def extended(server: Any) -> list[str | None]:
    """The song that each billed request extends."""
    return [(one.body["gen_params"]["config"].get("source") or {}).get("song_id") for one in server.bill()]


async def test_each_step_extends_the_chosen_take_of_its_source(simulator, make):
    server = simulator(clip_seconds=0.25)
    whole = await make(
        server, {**TWO, "core": {"prompt": "a waltz", "take": {"best": "peak", "prefer": "lowest"}}}
    )
    core, outro = whole.steps
    assert extended(server) == [None, core.chosen[0]]
    assert (outro.source, outro.chosen_by) == (core.chosen[0], "first")
    assert (whole.price, whole.billed, whole.state) == (2.0, "yes", "succeeded")
    assert whole.stored == whole.songs


async def test_a_step_whose_takes_are_all_discarded_is_made_again_within_its_maximum(
    simulator, make, session
):
    """Each pair under a key of its own, and none twice; the rule marks them, and a person's decision stands."""
    server = simulator(clip_seconds=1.0)
    rule = {**TWO, "review": {"discard": "loudness_lufs < 0", "again": 2}}
    for _ in range(2):
        with pytest.raises(GenerationFailed, match="core: none of its takes can be continued from"):
            await make(server, rule)
        assert len(server.bill()) == 3
    ledger = (await session()).library.ledger
    songs = [
        song
        for key in ("K:core", "K:core.again1", "K:core.again2")
        for song in await ledger.songs.of_key(key)
    ]
    assert [(song.decision, song.decided_by) for song in songs] == [
        ("discard", "review: loudness_lufs < 0")
    ] * 6
    keep = Judgement(songs[3].id, JudgementKind.DECISION, "keep", by="me")
    await ledger.judgements.record([keep])
    whole = await make(server, rule | {"steps": []})
    assert len(server.bill()) == 3
    assert [step.chosen for step in whole.steps] == [(), (songs[3].song_id,), ()]


async def test_a_budget_ends_the_making_of_better_takes(simulator, make):
    server = simulator(clip_seconds=0.25)
    rule = {"core": {"prompt": "a waltz"}, "review": {"discard": "seconds < 20", "again": 5}, "budget": 2}
    with pytest.raises(SpendingStopped):
        await make(server, rule)
    assert len(server.bill()) == 2


async def test_a_failed_take_is_replaced_by_the_other_unless_the_recipe_stops(simulator, make):
    fault = {"fault": "one_take_fails", "take": 1}
    server = simulator(fault, clip_seconds=0.25)
    whole = await make(server, TWO)
    assert extended(server) == [None, whole.steps[0].songs[1].song_id]

    server = simulator(fault, clip_seconds=0.25)
    with pytest.raises(GenerationFailed, match=r"core: the recipe stops there.*take 1") as stopped:
        await make(server, {**TWO, "on_failed_take": "stop"}, key="S")
    assert "--choose core=2" in stopped.value.next
    assert len(server.bill()) == 1
    whole = await make(server, {**TWO, "on_failed_take": "stop"}, key="S", choices={"core": "2"})
    assert (len(server.bill()), whole.steps[0].chosen_by) == (2, "given beforehand")


async def test_a_step_whose_takes_cannot_be_stored_is_collected_by_the_next_run(simulator, make):
    server = simulator({"fault": "dead", "times": None}, clip_seconds=0.25)
    with pytest.raises(NotCollected, match=r"^core: ") as waiting:
        await make(server, TWO)
    assert "--key K," in waiting.value.next
    server.gateway.play(FaultScript())
    whole = await make(server, TWO)
    assert (len(whole.stored), len(server.bill())) == (1, 2)


async def test_a_branch_that_fails_does_not_stop_the_others(simulator, make):
    server = simulator({"fault": "failure", "skip": 1}, clip_seconds=0.25)
    tree = {"core": {"prompt": "a tree", "take": "all"}, "steps": [{"name": "outro", "place": "outro"}]}
    whole = await make(server, tree)
    assert sorted(step.state for step in whole.steps) == ["failed", "succeeded", "succeeded"]
    assert (len(whole.songs), len(server.bill())) == (1, 3)
    server = simulator({"fault": "failure", "skip": 1}, clip_seconds=0.25)
    with pytest.raises(GenerationFailed, match=r"^outro\.[12]: "):
        await make(server, {**tree, "on_failed_take": "stop"}, key="S")


async def test_a_persons_choice_is_committed(simulator, make):
    server = simulator(clip_seconds=0.25)
    data = {**TWO, "core": {"prompt": "a waltz", "take": "ask"}, "ask_default": "longest", "ask_timeout": 60}
    whole = await make(server, data, answers=[None, 3])
    first, second = make.asked
    assert (first.path, first.another, first.timeout, first.key) == ("core", 1.0, 60, "K:core")
    assert [take.number for take in second.takes] == [1, 2, 3, 4]
    assert extended(server) == [None, None, whole.steps[1].songs[0].song_id]
    assert await make(server, data) == whole
    assert len(make.asked) == 2


async def test_a_refused_further_pair_is_reported_and_asked_about_again(simulator, make):
    """A refused pair does not count: the next request makes one, not two."""
    server = simulator({"fault": "status", "on": "submit", "status": 400, "skip": 1}, clip_seconds=0.25)
    data = {**TWO, "core": {"prompt": "a waltz", "take": "ask"}}
    await make(server, data, answers=[None, None, 4])
    assert [question.trouble is None for question in make.asked] == [True, False, True]
    assert "refused" in make.asked[1].trouble.message
    assert len(server.bill()) == 3


async def test_a_further_pair_of_the_core_is_made_at_the_cores_gateway(simulator, access, make):
    """The gateways of a fallback and of the core do not have each other's songs."""
    server = simulator({"fault": "status", "on": "submit", "status": 400, "skip": 1}, clip_seconds=0.25)
    other = simulator(clip_seconds=0.25)
    data = {**TWO, "core": {"prompt": "a waltz", "take": "ask"}}
    accounts = [access(server.url), access(other.url)]
    whole = await make(server, data, answers=[None, None, 3], accounts=accounts)
    assert "refused" in make.asked[1].trouble.message
    assert (len(server.bill()), other.bill()) == (3, [])
    assert whole.steps[-1].source == whole.steps[1].songs[0].song_id


async def test_a_failed_further_pair_is_not_paid_again_with_the_next_one(simulator, make, session):
    """Each answer makes one more pair, even if earlier ones failed without takes and failures are paid again."""
    fault = {"fault": "status_word", "word": "FAILURE", "skip": 1, "times": 3}
    server = simulator(fault, clip_seconds=0.25)
    data = {**TWO, "core": {"prompt": "a waltz", "take": "ask"}}
    with pytest.raises(GenerationFailed, match=r"^core: "):
        await make(server, data, choices={"core": "again"})
    assert await (await session()).library.ledger.songs.of_key("K:core.again1") == []
    await make(server, data, answers=[None, None, None, 1], retry_errors=True)
    assert [question.pairs for question in make.asked] == [1, 2, 3, 4]
    assert [question.trouble is None for question in make.asked] == [True, False, False, True]
    assert len(server.bill()) == 1 + 4 + 1


async def test_without_a_person_it_stops_and_continues_with_a_choice(simulator, session, access):
    server = simulator(clip_seconds=0.25)
    recipe = read_recipe(plain_document({**TWO, "core": {"prompt": "a waltz", "take": "ask"}}))
    opened = await session()
    with pytest.raises(ChoiceNeeded) as needed:
        await make_whole_song(opened, recipe, [access(server.url)], PlainCrew(opened), key="K")
    assert needed.value.exit_code == 5
    assert [take["song_id"] for take in needed.value.takes]
    kept = await read_whole_song(opened.library.ledger, recipe, "K")
    assert (len(kept.steps), kept.songs) == (1, ())


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"core": "9"}, "core cannot continue with take 9: there is none"),
        ({"core": "two"}, "core is 'two': allowed are a take's number, again"),
        ({"nowhere": "1"}, "nowhere is not a step of the recipe"),
    ],
)
async def test_an_invalid_choice_is_refused(simulator, make, choices, message):
    server = simulator(clip_seconds=0.25)
    with pytest.raises(InputError, match=message):
        await make(server, TWO, choices=choices)
    assert len(server.bill()) <= 1


async def test_a_failed_take_cannot_be_chosen(simulator, make):
    server = simulator({"fault": "one_take_fails", "take": 1}, clip_seconds=0.25)
    with pytest.raises(InputError, match="core cannot continue with take 1: "):
        await make(server, TWO, choices={"core": "1"})


async def test_a_plan_that_does_not_fit_sends_nothing(simulator, make):
    server = simulator()
    with pytest.raises(SpendingStopped, match="costs up to 2 units, and the budget is 1"):
        await make(server, TWO, budget=1.0)
    wide = [{"name": f"s{number}", "place": "outro", "take": "all"} for number in range(10)]
    with pytest.raises(InputError, match="would make up to"):
        await make(server, {"core": {"prompt": "x", "take": "all"}, "steps": wide})
    assert server.bill() == []


async def test_a_refused_step_keeps_the_earlier_songs(simulator, make):
    server = simulator({"fault": "quota_not_enough", "skip": 1}, clip_seconds=0.25)
    with pytest.raises(songflow.SongflowError, match=r"^outro: .*refused") as refused:
        await make(server, TWO)
    assert refused.value.key == "K"
    assert len((await make(server, TWO)).stored) == 1
    assert len(server.bill()) == 2


async def test_an_unsettled_twin_is_named_by_the_key_of_its_whole_song(simulator, session, make):
    """The core of a dead run is unsettled: the key to continue with is its song's, not its step's."""
    server = simulator({"fault": "unknown_for_ever"}, clip_seconds=0.25)
    recipe = read_recipe(plain_document(TWO))
    with pytest.raises(songflow.SongflowError):
        await _overdue(session, server, recipe, make)
    with pytest.raises(UnsettledTwin) as twin:
        await make(server, TWO, key="new")
    assert "--key K " in twin.value.next
    assert len(server.bill()) == 1


async def _overdue(session: Any, server: Any, recipe: Any, make: Any) -> None:
    from songflow.accounts import Access
    from songflow.gateways import DIALECTS, Account

    opened = await session(deadline=0.0)
    account = Access(Account(DIALECTS["simulator"], server.url, "test"))
    await make_whole_song(opened, recipe, [account], PlainCrew(opened), key="K")


async def test_from_plain_python_with_the_built_in_simulator(tmp_path):
    whole = await songflow.make_song(
        "radio-edit",
        variables={"prompt": "a slow waltz"},
        library=str(tmp_path),
        waiting={"poll_interval": 0.05},
        settings=SessionSettings(embedded_speed=400.0, clip_seconds=0.25),
    )
    assert (len(whole.stored), whole.price, whole.recipe) == (1, 3.0, "Radio edit")
    assert whole.key.startswith("song-")


async def test_a_whole_song_can_be_continued_at_seconds_of_it(simulator, make):
    """Where a family gives back the whole song: each step goes on from the one before, at no price."""
    server = simulator(clip_seconds=3.0)
    core = {"prompt": "a waltz", "model_type": "acestep-v15-turbo", "lyrics": "la", "batch_size": 1}
    steps = [{"name": "bridge", "place": 3}, {"name": "end", "continue_at": 5.5, "duration": 12}]
    whole = await make(server, {"core": core, "steps": steps})
    songs = [piece.songs[0] for piece in whole.steps]
    asked = [(one.body["src_audio_path"], one.body["repainting_end"]) for one in server.bill()[1:]]
    assert asked == [(songs[0].song_id, 33), (songs[1].song_id, 17.5)]
    assert (whole.price, [entry.price for entry in server.bill()]) == (0.0, [0, 0, 0])
    assert whole.songs[0].duration == pytest.approx(8.5, abs=0.1)

    late = {"core": core, "steps": [{"name": "end", "place": 9}]}
    with pytest.raises(InvalidRequest, match=r"end: .*continue_at is 9 s, and the song is 3 s long"):
        await make(server, late, key="L")
    assert len(server.bill()) == 4, "the core alone"


async def test_a_whole_song_of_new_parts_names_the_generation_of_each_source(simulator, make):
    """Where a family continues songs at a second: the placeholder becomes the song and its task; parts are joined."""
    server = simulator(clip_seconds=3.0, takes=1)
    steps = [{"name": "bridge", "place": 2}, {"name": "end", "continue_at": 2.5, "lyrics": "la la"}]
    whole = await make(server, {"core": {"prompt": "a waltz", "model_type": "chirp-auk"}, "steps": steps})
    core, bridge, end = server.bill()
    songs = [piece.songs[0] for piece in whole.steps]
    assert [
        (one.body["task_id"], one.body["continue_clip_id"], one.body["continue_at"]) for one in (bridge, end)
    ] == [
        (core.generation_id, songs[0].song_id, 2),
        (bridge.generation_id, songs[1].song_id, 2.5),
    ]
    assert (whole.price, [entry.price for entry in server.bill()]) == (3.0, [1, 1, 1])
    assert whole.songs[0].whole_path == songs[2].whole_path
    assert songs[2].whole_path is not None

    late = {"core": {"prompt": "a waltz", "model_type": "chirp-auk"}, "steps": [{"name": "end", "place": 9}]}
    with pytest.raises(InvalidRequest, match=r"end: .*continue_at is 9 s, and the song's own part is 3"):
        await make(server, late, key="L")
    assert len(server.bill()) == 4, "the core alone"
