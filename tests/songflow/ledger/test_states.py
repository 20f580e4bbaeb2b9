"""The table of states, and that the ledger moves a submission along it and no other way."""

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


def test_the_table_says_what_is_written_here() -> None:
    """Every state has its row, and each row its ways out."""
    assert {state.value: set(rule.then) for state, rule in RULES.items()} == {
        name: {State(word) for word in words.split()} for name, words in ALLOWED.items()
    }


def test_sources_are_the_table_read_backwards() -> None:
    """A state's sources are exactly the states that lead to it."""
    for origin, target in MOVES:
        assert (origin in sources_of(target)) == (target in RULES[origin].then)


def test_only_states_that_cost_nothing_may_be_sent_again() -> None:
    """A new POST is safe only where nothing was billed."""
    for rule in RULES.values():
        assert not rule.sends or rule.billed is Billed.NO


def test_whatever_may_be_billed_and_is_not_over_is_unsettled() -> None:
    """Money that may be spent without an end known is never forgotten by the twins' check."""
    over = {State.SUCCEEDED, State.FAILED}
    for state, rule in RULES.items():
        assert rule.unsettled == (rule.billed is not Billed.NO and state not in over)


def test_nothing_leads_back_to_before_the_post() -> None:
    """No state that may be billed leads to one from which the same row would be sent."""
    assert sources_of(State.SENDING) == {State.INTENDED}
    assert sources_of(State.INTENDED) == frozenset()


@pytest.mark.parametrize("origin", State)
async def test_the_ledger_moves_only_along_the_table(ledger: Ledger, in_state, origin: State) -> None:
    """A move that the table allows happens and says so; any other leaves the row as it was."""
    for target in State:
        submission = await in_state(origin, f"to {target}")
        allowed = target in RULES[origin].then
        assert await _move(ledger, submission, target) is allowed
        assert (await ledger.submissions.get(submission.id)).state is (target if allowed else origin)


async def _move(ledger: Ledger, submission, target: State) -> bool:
    """The ledger's own method for a move; the end of a generation is told by the state alone."""
    moves, known = ledger.submissions, submission.id
    match target:
        case State.SENDING:
            return await moves.begin_send(known, submission.lease)
        case State.ACCEPTED:
            return await moves.accepted(known, "id", (), {"status": 200, "body": "{}"})
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
