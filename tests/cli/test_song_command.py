"""`songflow song` as a real process: plans, faults, choices, JSON and exit codes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time

import pytest

RECIPE = """\
name: Two steps
variables:
  prompt:
core:
  prompt: ${prompt}
  take: %s
steps:
  - name: outro
    place: outro
    lyrics_type: instrumental
"""


@pytest.fixture
def recipe(shell):
    """Writes a recipe of two steps, the core's take by this rule."""

    def write(take: str = "first") -> str:
        (shell.folder / "two.yaml").write_text(RECIPE % take)
        return "two.yaml"

    return write


def spoken(server) -> list[str | None]:
    """What each billed request extends."""
    return [
        (entry.body["gen_params"]["config"].get("source") or {}).get("song_id") for entry in server.bill()
    ]


def test_the_recipes_are_listed(shell):
    found = shell.run("song", "--list", "--json").json["recipes"]
    assert [one["name"] for one in found] == ["full-song", "instrumental", "jingle-set", "radio-edit"]
    assert all(one["variables"]["prompt"] is None for one in found)
    assert "radio-edit: Under three minutes" in shell.run("song", "--list").out


def test_a_plan_shows_the_price_and_sends_nothing(shell, recipe):
    """It needs no key, creates no library, and does not use Prefect."""
    run = shell.run(
        *("song", recipe("all"), "--set", "prompt=a waltz", "--plan", "--json", "--gateway", "cometapi"),
        env={"COMETAPI_KEY": None, "PREFECT_API_URL": "http://127.0.0.1:9/api"},
    )
    plan = run.json
    assert (run.code, plan["posts_min"], plan["posts_max"]) == (0, 2, 3)
    assert (plan["price_min"], plan["price_max"], plan["budget"], plan["existing"]) == (2, 3, None, 0)
    assert [step["step"] for step in plan["steps"]] == ["core", "outro"]
    assert not shell.library.exists()
    said = shell.run("song", "radio-edit", "--set", "prompt=x", "--plan").out
    assert "Radio edit: 2 generations, 3 units (no budget)" in said
    assert "A person chooses at core." in shell.run("song", recipe("ask"), "--set", "prompt=x", "--plan").out


def test_a_plan_imports_no_prefect(shell, recipe):
    code = (
        "import sys\nfrom cli.main import run\n"
        f"run(['song', {recipe()!r}, '--set', 'prompt=x', '--plan'])\n"
        "heavy = {'prefect', 'pandas', 'alembic', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "heavy |= {'sqlalchemy.orm', 'sqlalchemy.dialects.postgresql'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=shell.folder, env=shell.environment(), capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def test_every_fault_of_a_recipe_is_reported_with_its_line_and_nothing_is_sent(shell, gateways, to, posts):
    server = gateways()
    (shell.folder / "bad.yaml").write_text("core:\n  prompt: ''\nsteps:\n- {name: a, from: b, place: top}\n")
    run = shell.run("song", "bad.yaml", "--set", "tempo=9", *to(server))
    assert run.code == 2
    assert [fault.split(": ")[0] for fault in run.json["faults"]] == ["line 1", "line 2", "line 4", "line 4"]
    assert "bad.yaml has 4 faults:\n  line 1: variables has no 'tempo'" in run.err
    assert posts(server) == 0
    assert not shell.library.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "There is no recipe to make"),
        (["polka"], "There is no recipe 'polka'"),
        (["two.yaml", "--set", "prompt"], "--set 'prompt' has to be NAME=VALUE"),
        (["two.yaml", "--set", "prompt=a", "--set", "prompt=b"], "--set 'prompt=b' is given twice"),
        (["two.yaml", "--set", "prompt=a", "--choose", "chorus=1"], "chorus is not a step of Two steps"),
        (["two.yaml", "--set", "prompt=a", "--choose", "core=0"], "core is '0': allowed are a take's number"),
        (["two.yaml", "--set", "prompt=a", "--choose", "core.1=1"], "core.1 must name no takes"),
        (["two.yaml", "--set", "prompt=a", "--choose", "core.x=1"], "core.x is not a step of Two steps"),
        (["two.yaml", "--set", "prompt=a", "--key", "k" * 250], "with the steps' names behind it"),
    ],
    ids=str,
)
def test_bad_input_is_reported_and_sends_nothing(shell, recipe, gateways, to, posts, arguments, said):
    server = gateways()
    recipe()
    run = shell.run("song", *arguments, *to(server))
    assert (run.code, posts(server)) == (2, 0)
    assert said in run.json["error"]


def test_a_song_is_made_and_its_key_returns_it(shell, recipe, gateways, to):
    server = gateways()
    command = ("song", recipe(), "--set", "prompt=a waltz", "--key", "K", *to(server))
    made = shell.run(*command)
    answer = made.json
    assert (made.code, answer["state"], answer["billed"], answer["price"]) == (0, "succeeded", "yes", 2)
    assert {"key", "generation_id", "songs", "steps", "recipe"} < answer.keys()
    assert answer["songs"][0]["path"]
    assert spoken(server) == [None, answer["steps"][0]["chosen"][0]]
    assert shell.run(*command).json == answer
    assert len(server.bill()) == 2
    planned = shell.run("song", recipe(), "--set", "prompt=a waltz", "--plan", "--json", "--key", "K")
    assert planned.json["existing"] == 2


def test_for_people_the_tree_is_shown(shell, recipe, gateways, to):
    options = [option for option in to(gateways()) if option != "--json"]
    run = shell.run("song", recipe(), "--set", "prompt=a waltz", "--key", "K", *options)
    assert run.code == 0
    lines = run.out.splitlines()
    assert [line[:9] for line in lines[:4]] == ["> core 1:", "  core 2:", "> outro 1", "  outro 2"]
    assert lines[-1] == "key K, 2 generations, price 2 units (billed: yes)"


def test_a_recipe_over_a_budget_sends_nothing(shell, recipe, gateways, to, posts):
    """The command's, the library's and the day's: the largest price of the plan must fit before anything is sent."""
    server = gateways()
    command = ("song", recipe("all"), "--set", "prompt=a waltz", *to(server))
    for more, env in (
        (["--budget", "2"], {}),
        ([], {"SONGFLOW_BUDGET": "2"}),
        ([], {"SONGFLOW_BUDGET_PER_DAY": "2"}),
    ):
        run = shell.run(*command, *more, env=env)
        assert (run.code, run.json["billed"], posts(server)) == (6, "no", 0)
        assert "the recipe" in run.json["error"]
    shell.run("pause", "end of month")
    assert "end of month" in shell.run(*command).json["error"]
    assert posts(server) == 0


def test_without_a_terminal_a_question_stops_and_says_how_to_continue(shell, recipe, gateways, to):
    """Exit 5: songs are stored, another pair is paid for once even if requested again, and a choice continues."""
    server = gateways()
    command = ("song", recipe("ask"), "--set", "prompt=a waltz", "--key", "K", *to(server))
    asked = shell.run(*command)
    assert (asked.code, asked.json["step"], asked.json["key"]) == (5, "core", "K")
    assert [take["take"] for take in asked.json["takes"]] == [1, 2]
    assert all(take["path"] and take["seconds"] for take in asked.json["takes"])
    assert "--key K --choose core=1, or core=again1 for another pair (1 unit)" in asked.json["next"]
    assert [step["path"] for step in asked.json["steps"]] == ["core"]
    for _ in range(2):
        again = shell.run(*command, "--choose", "core=again1")
        assert [take["take"] for take in again.json["takes"]] == [1, 2, 3, 4]
        assert (again.code, len(server.bill())) == (5, 2)
    beyond = shell.run(*command, "--choose", "core=5")
    assert (beyond.code, len(server.bill())) == (2, 2)
    made = shell.run(*command, "--choose", "core=3")
    assert made.code == 0
    assert spoken(server) == [None, None, again.json["takes"][2]["song_id"]]
    other = shell.run(*command, "--choose", "core=1")
    assert other.code == 2
    assert "core continues with take 3 since" in other.json["error"]
    assert len(server.bill()) == 3


def test_at_a_terminal_the_question_is_asked_there(shell, recipe, gateways, to):
    """An invalid answer is asked again; another pair and then a take of it continue in the same command."""
    server = gateways()
    options = [option for option in to(server) if option != "--json"]
    ours, theirs = pty.openpty()
    process = shell.forks.start(
        ("song", recipe("ask"), "--set", "prompt=a waltz", "--key", "K", *options),
        shell.folder,
        shell.environment(),
        given={0: theirs},
    )
    shell.running.append(process)
    os.close(theirs)
    os.write(ours, b"9\na\n4\n")
    run = shell.end(process)
    os.close(ours)
    assert run.code == 0, run.err
    assert "core: which take should the song continue from?" in run.err
    assert "9 is not one of these." in run.err
    assert run.err.count("Take 1, 2") == 3  # asked, asked again, and asked with the new pair
    assert "Take 1, 2, 3, 4" in run.err
    assert len(server.bill()) == 3
    assert "> core.again1 2:" in run.out


def test_ctrl_c_detaches_and_the_key_continues(shell, recipe, gateways, to):
    server = gateways(speed=20.0)
    command = ("song", recipe(), "--set", "prompt=a waltz", "--key", "K", *to(server))
    left = shell.interrupt(shell.start(*command), "Accepted as generation")
    assert (left.code, left.json["key"]) == (5, "K")
    assert "continues at the gateway and is billed" in left.json["error"]
    assert shell.run(*command).code == 0
    assert len(server.bill()) == 2


def test_ctrl_c_at_the_question_keeps_what_was_paid_for(shell, recipe, gateways, to):
    """The key continues; nothing says that nothing was sent."""
    server = gateways()
    options = [option for option in to(server) if option != "--json"]
    command = ("song", recipe("ask"), "--set", "prompt=a waltz", *options)
    ours, theirs = pty.openpty()
    process = shell.forks.start(command, shell.folder, shell.environment(), given={0: theirs})
    shell.running.append(process)
    os.close(theirs)
    run = shell.interrupt(process, "which take should the song continue from?")
    os.close(ours)
    key = re.search(r"^key: (\S+)$", run.err, re.MULTILINE)[1]
    assert (run.code, "nothing was sent" in run.err) == (5, False), run.err
    assert f"--key {key} --choose core=1" in " ".join(run.err.split())
    made = shell.run(*command, "--key", key, "--choose", "core=1")
    assert (made.code, len(server.bill())) == (0, 2)


def test_ctrl_c_does_not_need_the_recipe_again(shell, recipe, gateways, to):
    """It may have changed meanwhile, or have come through a pipe."""
    server, path = gateways(speed=20.0), shell.folder / recipe()
    command = ("song", str(path), "--set", "prompt=a waltz", "--key", "K", *to(server))
    process = shell.start(*command)
    while not server.bill():
        time.sleep(0.02)
    path.write_text("half of a")
    left = shell.interrupt(process, "Accepted as generation")
    assert (left.code, left.json["key"]) == (5, "K")
    assert "continues at the gateway" in left.json["error"]


def test_a_failed_step_names_the_stored_songs(shell, recipe, gateways, to):
    server = gateways({"fault": "failure", "fail_reason": "out of tune", "skip": 1})
    command = ("song", recipe(), "--set", "prompt=a waltz", "--key", "K", *to(server))
    failed = shell.run(*command)
    answer = failed.json
    assert (failed.code, answer["key"], answer["songs"]) == (4, "K", [])
    assert answer["error"].startswith("outro: ")
    assert [step["state"] for step in answer["steps"]] == ["succeeded", "failed"]
    assert all(song["path"] for song in answer["steps"][0]["songs"])
    assert shell.run(*command, "--retry-errors").code == 0
    assert len(server.bill()) == 3
