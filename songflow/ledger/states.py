"""The states of a submission: one table that says what each means for money and for the next step.

intended -> sending -> accepted -> running -> succeeded | failed
with the ways out: unsent, refused (nothing billed), unknown (perhaps billed), overdue, lost
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["RULES", "Billed", "SongState", "State", "StateRule", "sources_of"]


class State(StrEnum):
    """Where a submission (one POST) stands."""

    INTENDED = "intended"
    SENDING = "sending"
    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNSENT = "unsent"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    OVERDUE = "overdue"
    LOST = "lost"


class Billed(StrEnum):
    """Whether the gateway bills a submission."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"


class SongState(StrEnum):
    """Where one take stands: announced by the gateway, whole on disk, or failed at the gateway."""

    ANNOUNCED = "announced"
    STORED = "stored"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StateRule:
    """What a state means.

    Attributes:
        billed: Whether the gateway bills a submission in this state.
        rank: Which of several submissions of one generation speaks for it: the highest.
        sends: True where a new POST for the same generation is safe.
        waits: True where the stored id is to be asked for.
        unsettled: True where money may have been spent and the end is not known.
        then: The states it may move to.
    """

    billed: Billed
    rank: int
    sends: bool = False
    waits: bool = False
    unsettled: bool = False
    then: frozenset[State] = frozenset()


_ENDS = frozenset({State.SUCCEEDED, State.FAILED, State.OVERDUE, State.LOST})

RULES: Mapping[State, StateRule] = {
    # An intent that nobody sent costs nothing: whoever holds its lease (or finds it dead) may send it.
    State.INTENDED: StateRule(Billed.NO, rank=5, then=frozenset({State.SENDING, State.UNSENT})),
    State.SENDING: StateRule(
        Billed.MAYBE,
        rank=6,
        unsettled=True,
        then=frozenset({State.ACCEPTED, State.UNSENT, State.REFUSED, State.UNKNOWN}),
    ),
    State.ACCEPTED: StateRule(Billed.YES, rank=8, waits=True, unsettled=True, then=_ENDS | {State.RUNNING}),
    State.RUNNING: StateRule(Billed.YES, rank=8, waits=True, unsettled=True, then=_ENDS),
    State.OVERDUE: StateRule(Billed.YES, rank=7, waits=True, unsettled=True, then=_ENDS | {State.RUNNING}),
    # A gateway that forgot an id may remember it later (a restarted relay): rescue asks again.
    State.LOST: StateRule(Billed.MAYBE, rank=4, unsettled=True, then=_ENDS | {State.RUNNING}),
    State.SUCCEEDED: StateRule(Billed.YES, rank=9),
    # Gateways differ on refunds and document none; a song that shows up after a failure is still collected.
    State.FAILED: StateRule(Billed.MAYBE, rank=2, then=frozenset({State.SUCCEEDED})),
    State.UNSENT: StateRule(Billed.NO, rank=1, sends=True),
    State.REFUSED: StateRule(Billed.NO, rank=1, sends=True),
    # A late writer may still bring the answer, even after a person has resubmitted.
    State.UNKNOWN: StateRule(
        Billed.MAYBE, rank=3, unsettled=True, then=frozenset({State.ACCEPTED, State.UNSENT, State.REFUSED})
    ),
}


def sources_of(state: State) -> frozenset[State]:
    """The states from which a submission may move to `state`."""
    return frozenset(origin for origin, rule in RULES.items() if state in rule.then)
