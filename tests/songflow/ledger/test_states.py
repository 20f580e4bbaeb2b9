"""The table of states, and that the ledger changes states only along it."""

from __future__ import annotations

import itertools

import pytest

from songflow.ledger import RULES, Billed, Ledger, State
from songflow.ledger.songs import Lineage
from songflow.ledger.states import sources_of

ALLOWED = {
    "intended": "sending unsent",
    "sending": "accepted unsent refused unknown",
    "accepted": "running succeeded failed overdue lost",
    "running": "succeeded failed overdue lost",
    "overdue": "running succeeded failed overdue lost",
    "lost": "running succeeded failed overdue lost",
    "succeeded": "",
    "failed": "succeeded",
    "unsent": "",
    "refused": "",
    "unknown": "accepted unsent refused",
}
"""Written out again on purpose: a change of the table must be meant."""

MOVES = [(State(a), State(b)) for a, b in itertools.product(ALLOWED, repeat=2)]


def test_the_table_is_as_specified_here() -> None:
    """Every state with its next states."""
    assert {state.value: set(rule.then) for state, rule in RULES.items()} == {
        name: {State(word) for word in words.split()} for name, words in ALLOWED.items()
    }


def test_sources_are_the_inverse_of_the_table() -> None:
    """A state's sources are exactly the states that lead to it."""
    for origin, target in MOVES:
        assert (origin in sources_of(target)) == (target in RULES[origin].then)


def test_only_unbilled_states_may_be_sent_again() -> None:
    """A new POST is safe only if nothing was billed."""
    for rule in RULES.values():
        assert not rule.sends or rule.billed is Billed.NO


def test_billable_states_that_are_not_final_are_unsettled() -> None:
    """So that the search for twins finds them."""
    over = {State.SUCCEEDED, State.FAILED}
    for state, rule in RULES.items():
        assert rule.unsettled == (rule.billed is not Billed.NO and state not in over)


def test_no_state_leads_back_to_before_the_post() -> None:
    """No state that may be billed leads to one from which the same row would be sent."""
    assert sources_of(State.SENDING) == {State.INTENDED}
    assert sources_of(State.INTENDED) == frozenset()


@pytest.mark.parametrize("origin", State)
async def test_the_ledger_changes_states_only_along_the_table(
    ledger: Ledger, in_state, origin: State
) -> None:
    """An allowed change happens and returns True; any other leaves the row unchanged."""
    for target in State:
        submission = await in_state(origin, f"to {target}")
        allowed = target in RULES[origin].then
        assert await _move(ledger, submission, target) is allowed
        assert (await ledger.submissions.get(submission.id)).state is (target if allowed else origin)


async def _move(ledger: Ledger, submission, target: State) -> bool:
    """The ledger's own method for a state change."""
    moves, known = ledger.submissions, submission.id
    match target:
        case State.SENDING:
            return await moves.begin_send(known, submission.lease)
        case State.ACCEPTED:
            return await moves.accepted(known, "id", (), {"status": 200, "body": "{}"}) is not None
        case State.UNSENT | State.REFUSED:
            return await moves.settle_sending(known, target, "no")
        case State.UNKNOWN:
            return await moves.unknown(known, submission.lease.fence, "died")
        case State.RUNNING:
            return await moves.running(known)
        case State.OVERDUE | State.LOST:
            return await moves.stop_waiting(known, target, "late")
        case State.SUCCEEDED | State.FAILED:
            failure = None if target is State.SUCCEEDED else "failed"
            payload = {"status": 200, "body": "{}"}
            await ledger.songs.ended(known, submission.key, Lineage("regular", None), [], payload, failure)
            return (await moves.get(known)).state is target and submission.state is not target
    return False
