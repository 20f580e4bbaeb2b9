"""A recipe that is killed in each of its steps and resumed: every step is paid once, with the same choices."""

from __future__ import annotations

import signal

import pytest

KILLED = -signal.SIGKILL

CHAIN = """\
core: {{prompt: "{prompt}", take: longest}}
steps:
- {{name: intro, place: intro, take: {{best: rms_db}}}}
- {{name: front, place: front}}
- {{name: back, place: back, take: {{best: peak, prefer: lowest}}}}
- {{name: more, mode: continuation, place: 0.5, take: longest}}
- {{name: outro, place: outro}}
"""
NAMES = ["core", "intro", "front", "back", "more", "outro"]

TREE = """\
core: {{prompt: "{prompt}", take: all}}
steps:
- {{name: intro, place: intro}}
- {{name: outro, place: outro, take: all}}
- {{name: other, from: core, place: outro}}
"""
TREE_PATHS = ["core", "intro.1", "intro.2", "outro.1", "outro.2", "other.1", "other.2"]

POINTS = {
    "spool: after fsync": 1,
    "accepted: after commit": 1,
    "song stored: after commit": 2,
    "choice: before commit": 2,
    "choice: after commit": 1,
}
"""Points of a step's way at which the next process can tell what was paid for; and the arrival there
that is the next step's, since some of these acts are done again for the step that the process before died in."""


def bodies(place) -> list[dict]:
    """What the gateway has billed for this test's prompt, oldest first."""
    entries = place.desk.server.bill()
    found = [entry.body["gen_params"] for entry in entries if "gen_params" in entry.body]
    return [params for params in found if params["prompt"] == place.prompt]


def sources(place) -> list[str | None]:
    """The song that each of them extends."""
    return [(params["config"].get("source") or {}).get("song_id") for params in bodies(place)]


@pytest.mark.parametrize(
    ("any_library", "point"),
    [
        ("sqlite", "spool: after fsync"),
        ("sqlite", "song stored: after commit"),
        ("sqlite", "choice: after commit"),
        pytest.param("postgres", "accepted: after commit", marks=pytest.mark.postgres),
        pytest.param("postgres", "choice: before commit", marks=pytest.mark.postgres),
    ],
    indirect=["any_library"],
)
def test_a_recipe_killed_in_each_of_six_steps_is_paid_six_times_in_all(any_library, place, forks, point: str):
    """Six kills, one in each step, and a seventh process that completes it."""
    plan = place.plan("song", recipe=CHAIN.format(prompt=place.prompt))
    for died, name in enumerate(NAMES):
        killed = forks.run(plan, kill_at=f"{point}#{POINTS[point] if died else 1}")
        assert killed.code == KILLED, (name, killed.log)
        assert died <= len(bodies(place)) <= died + 1
    done = forks.run(plan)
    assert done.code == 0, done.log
    assert len(bodies(place)) == 6
    steps = done.answer["steps"]
    assert [step["path"] for step in steps] == NAMES
    assert [step["key"] for step in steps] == [f"{place.key}:{name}" for name in NAMES]
    chosen = [step["chosen"][0] for step in steps]
    assert sources(place) == [None, *chosen[:-1]]
    assert [song["song_id"] for song in done.answer["songs"]] == chosen[-1:]
    assert all(song["path"] for step in steps for song in step["songs"])


def test_a_tree_that_is_killed_repeatedly_is_paid_once_per_branch(local_place, forks):
    """Every take is extended: the tree's own number of requests, however often it is killed."""
    place = local_place
    plan = place.plan("song", recipe=TREE.format(prompt=place.prompt))
    for _ in ("core", "intro.1", "intro.2", "outro.1"):
        assert forks.run(plan, kill_at="choice: after commit").code == KILLED
    ended = forks.run(plan)
    assert ended.code == 0, ended.log
    assert sorted(step["path"] for step in ended.answer["steps"]) == sorted(TREE_PATHS)
    assert len(bodies(place)) == len(TREE_PATHS)
    assert len(ended.answer["songs"]) == 2 * 2 + 2  # both takes of each outro, one of each other


def test_an_unknown_step_stops_the_song_until_a_person_settles_it(local_place, forks):
    """The machine that dies while the gateway reads: nobody pays again by itself, and adopted it goes on."""
    place = local_place
    plan = place.plan("song", recipe=CHAIN.format(prompt=place.prompt))
    assert forks.run(plan, kill_at="post: after request#3").code == KILLED
    stopped = forks.run(plan)
    assert (stopped.code, stopped.answer["state"]) == (5, "unknown"), stopped.log
    assert stopped.answer["key"] == place.key
    assert stopped.answer["error"].startswith("front: ")
    assert len(bodies(place)) == 3
    [entry] = [
        entry for entry in place.desk.server.bill() if entry.body.get("gen_params") == bodies(place)[-1]
    ]
    adopted = forks.run(place.plan("adopt", key=f"{place.key}:front", id=entry.generation_id))
    assert adopted.code == 0, adopted.log
    done = forks.run(plan)
    assert done.code == 0, done.log
    assert len(bodies(place)) == 6


def test_a_stored_choice_stays_when_the_rule_changes(local_place, forks):
    """Between the choice and the next step's intent nothing else decides: not even another rule."""
    place = local_place
    plan = place.plan("song", recipe=CHAIN.format(prompt=place.prompt), choices={"core": "2"})
    assert forks.run(plan, kill_at="choice: after commit").code == KILLED
    done = forks.run({**plan, "choices": {}})
    assert done.code == 0, done.log
    core = done.answer["steps"][0]
    assert (core["chosen"], core["chosen_by"]) == ([core["songs"][1]["song_id"]], "given beforehand")
    assert sources(place)[1] == core["songs"][1]["song_id"]


def test_two_processes_on_one_song_pay_once_per_step(place, forks):
    """The same key in two processes at the same moment: the same choices, one request each."""
    plan = place.plan("song", recipe=CHAIN.format(prompt=place.prompt))
    ends = forks.wait(forks.start([plan, plan]))
    assert [end.code for end in ends] == [0, 0], [end.log for end in ends]
    assert ends[0].answer["songs"] == ends[1].answer["songs"]
    assert len(bodies(place)) == 6


def test_a_budget_is_held_over_all_processes_of_a_song(local_place, forks):
    """What was spent before a kill counts: a song's budget is one, however many processes it takes."""
    place = local_place
    recipe = f"budget: 6\n{CHAIN.format(prompt=place.prompt)}"
    plan = place.plan("song", recipe=recipe)
    assert forks.run(plan, kill_at="accepted: after commit#4").code == KILLED
    assert forks.run(plan).code == 0
    assert len(bodies(place)) == 6
    small = place.plan("song", recipe=CHAIN.format(prompt=place.prompt), key="other", settings={"budget": 5})
    refused = forks.run(small)
    assert (refused.code, refused.answer["kind"]) == (6, "SpendingStopped")
    assert len(bodies(place)) == 6
