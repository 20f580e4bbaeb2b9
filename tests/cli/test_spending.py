"""Spending in real processes: budgets, pause and resume, sums, and fallback gateways."""

from __future__ import annotations

from typing import Any

import pytest


def cost(shell: Any, **kwargs: Any) -> dict[str, Any]:
    """`songflow songs --cost`."""
    run = shell.run("songs", "--cost", "--json", **kwargs)
    assert run.code == 0, run.err
    found: dict[str, Any] = run.json["cost"]
    return found


def over(run: Any, words: str) -> None:
    """Exit 6, not billed, and the message names the budget."""
    assert run.code == 6, run.err
    assert (run.json["billed"], run.json["state"]) == ("no", None)
    assert words in run.json["error"]
    assert run.json["next"]


# --- pause and resume ---


def test_a_pause_stops_all_spending_and_nothing_else(
    shell: Any, gateways: Any, to: Any, posts: Any, heal: Any
) -> None:
    """No POST is sent (exit 6), rescue still collects, and after `resume` songs are made again."""
    server = gateways({"fault": "unknown_for_ever", "times": None}, takes=1)
    assert shell.run("generate", "x", "--deadline", "0.2", *to(server)).code == 5
    paused = shell.run("pause", "end of month", "--json")
    assert (paused.code, paused.json["spending"], paused.json["changed"]) == (0, "paused", True)
    over(shell.run("generate", "y", *to(server)), "spending is paused for this library since")
    assert posts(server) == 1
    heal(server)
    assert shell.run("rescue", "--json").code == 0
    resumed = shell.run("resume", "--json")
    assert (resumed.code, resumed.json["spending"], resumed.json["changed"]) == (0, "allowed", True)
    assert shell.run("generate", "y", *to(server)).code == 0
    assert len(server.bill()) == 2


def test_pausing_and_resuming_twice_is_the_same_as_once(shell: Any) -> None:
    """A pause creates the library and keeps its reason until a new one is given; a resume creates none."""
    assert shell.run("resume", "--json").json["changed"] is False
    assert not shell.library.exists()
    first = shell.run("pause", "too dear", "--json")
    again = shell.run("pause", "--json")
    assert (again.code, again.json["changed"]) == (0, False)
    assert first.json["message"] == again.json["message"]
    assert "too dear" in again.json["message"]
    assert "holiday" in shell.run("pause", "holiday").out
    assert cost(shell)["spending"] == "paused"
    assert "holiday" in cost(shell)["reason"]
    assert "Spending is allowed" in shell.run("resume").out
    assert "it was not paused" in shell.run("resume").out
    assert shell.run("pause", "x" * 501).code == 2
    assert cost(shell)["spending"] == "allowed"


# --- what was spent ---


def test_cost_shows_what_was_spent_reserved_and_allowed(shell: Any, gateways: Any, to: Any) -> None:
    """In total and today, in the user's unit, with the budgets; as JSON or sentences."""
    assert cost(shell)["spent"] == 0
    assert not shell.library.exists()
    server = gateways({"fault": "lost_answer", "skip": 1}, takes=1)
    assert shell.run("generate", "x", *to(server)).code == 0
    assert shell.run("generate", "y", "--model", "udio130-v1.5", *to(server)).code == 5
    caps = {"SONGFLOW_BUDGET": "10", "SONGFLOW_BUDGET_PER_DAY": "5.5", "SONGFLOW_UNIT": "cents"}
    found = cost(shell, env=caps)
    assert (found["spent"], found["reserved"], found["refunded"]) == (1, 2, 0)
    assert (found["today"]["spent"], found["today"]["reserved"]) == (1, 2)
    assert (found["budget"], found["budget_per_day"], found["unit"]) == (10, 5.5, "cents")
    assert (found["spending"], found["reason"]) == ("allowed", None)
    people = shell.run("songs", "--cost", env=caps).out
    assert "In all: 1 cents spent, 2 reserved, 0 refunded; budget 10." in people
    assert "budget 5.5." in people
    assert shell.run("songs", "--cost", "--where", "take == 0").code == 2


# --- caps ---


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"SONGFLOW_BUDGET": "1"}, "The library's budget of 1 unit is used up"),
        ({"SONGFLOW_BUDGET_PER_DAY": "1.5"}, "Today's budget of 1.5 units is used up"),
    ],
)
def test_the_budgets_of_the_library_and_the_day_apply(
    shell: Any, gateways: Any, to: Any, posts: Any, env: dict[str, str], words: str
) -> None:
    """The first song fits, the second is exit 6 without a POST; the first song's key still returns it."""
    server = gateways(takes=1)
    assert shell.run("generate", "x", "--key", "k", *to(server), env=env).code == 0
    over(shell.run("generate", "y", *to(server), env=env), words)
    assert shell.run("generate", "x", "--key", "k", *to(server), env=env).code == 0
    assert posts(server) == 1


def test_each_run_has_its_own_budget(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """Too little for the expensive model, enough for the other; another run starts anew."""
    server = gateways(takes=1)
    dear = ["--model", "udio130-v1.5", "--budget", "1.5"]
    over(shell.run("generate", "x", *dear, *to(server)), "This run's budget of 1.5 units is used up")
    assert posts(server) == 0
    for prompt in ("x", "y"):
        assert shell.run("generate", prompt, "--budget", "1", *to(server)).code == 0


@pytest.mark.parametrize("budget", ["-1", "nan", "inf"])
def test_an_invalid_budget_is_bad_input(shell: Any, gateways: Any, to: Any, budget: str) -> None:
    """Nothing is sent."""
    run = shell.run("generate", "x", "--budget", budget, *to(gateways()))
    assert run.code == 2
    assert "--budget is" in run.json["error"]


# --- other gateways ---


@pytest.mark.parametrize("first", ["no channel", "refused connection"])
def test_a_fallback_makes_what_the_first_gateway_did_not(
    shell: Any, gateways: Any, to: Any, first: str
) -> None:
    """After a refusal, or if nothing was sent; the ledger records the gateway, and the key returns to it."""
    server = gateways({"fault": "no_channel", "times": None})
    second = gateways(takes=1)
    options = to(server)
    if first == "refused connection":
        options[options.index("--base-url") + 1] = "http://127.0.0.1:1"
    options += ["--retries", "0", "--fallback", f"openai-hk={second.url}", "--key", "mine"]
    run = shell.run("generate", "x", *options)
    assert run.code == 0, run.err
    assert "Trying openai-hk (env:OPENAI_HK_KEY)" in run.err
    assert run.json["generation_id"] == second.bill()[0].generation_id
    rows = shell.run("songs", "--json").json["songs"]
    assert [row["gateway"] for row in rows] == ["cometapi", "openai-hk"]
    assert [row["billed"] for row in rows] == ["no", "yes"]
    assert shell.run("generate", "x", *options).json["generation_id"] == run.json["generation_id"]
    assert (len(server.bill()), len(second.bill())) == (0, 1)
    assert cost(shell)["spent"] == 1


def test_after_a_lost_answer_no_fallback_is_tried(shell: Any, gateways: Any, to: Any, posts: Any) -> None:
    """It may be billed: exit 5, and the second gateway receives nothing."""
    server, second = gateways({"fault": "lost_answer"}), gateways()
    run = shell.run("generate", "x", *to(server), "--fallback", f"openai-hk={second.url}")
    assert (run.code, run.json["state"]) == (5, "unknown")
    assert (posts(server), posts(second)) == (1, 0)


def test_if_every_gateway_refuses_the_last_refusal_is_reported(shell: Any, gateways: Any, to: Any) -> None:
    """Three gateways, exit 3."""
    refusing = [gateways({"fault": "no_channel", "times": None}) for _ in range(2)]
    others = [f"openai-hk={refusing[1].url}", f"simulator={refusing[0].url}"]
    fallbacks = [word for other in others for word in ("--fallback", other)]
    run = shell.run("generate", "x", "--retries", "0", *to(refusing[0]), *fallbacks)
    assert (run.code, run.json["state"], run.json["billed"]) == (3, "refused", "no")
    assert "simulator (" in run.json["error"]


@pytest.mark.parametrize(
    ("fallback", "words"),
    [("suno", "There is no gateway 'suno'"), ("openai-hk", "There is no key for openai-hk")],
)
def test_a_fallback_that_cannot_be_used_is_bad_input_before_anything_is_sent(
    shell: Any, gateways: Any, to: Any, posts: Any, fallback: str, words: str
) -> None:
    """Even if the first gateway would accept the request."""
    server = gateways()
    run = shell.run("generate", "x", "--fallback", fallback, *to(server), env={"OPENAI_HK_KEY": None})
    assert run.code == 2
    assert words in run.json["error"]
    assert posts(server) == 0
