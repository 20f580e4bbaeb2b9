"""The states of a submission: one table of what each means for billing and for the next step.

intended -> sending -> accepted -> running -> succeeded | failed
other states: unsent, refused (not billed), unknown (may be billed), overdue, lost
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["RULES", "Billed", "SongState", "State", "StateRule", "sources_of"]


class State(StrEnum):
    """The state of a submission (one POST)."""

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
    """The state of one take: announced by the gateway, stored, or failed at the gateway."""

    ANNOUNCED = "announced"
    STORED = "stored"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class StateRule:
    """The rules of one state.

    Attributes:
        billed: Whether the gateway bills a submission in this state.
        rank: The submission of the highest rank represents its generation.
        sends: True if a new POST for the same generation is safe.
        waits: True if the generation is polled by its stored id.
        unsettled: True if money may have been spent and the outcome is not final.
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
    # An unsent intent costs nothing: the holder of its lease (or who finds it dead) may send it.
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
    # A gateway that does not know an id may know it again later (a restarted relay): rescue polls again.
    State.LOST: StateRule(Billed.MAYBE, rank=4, unsettled=True, then=_ENDS | {State.RUNNING}),
    State.SUCCEEDED: StateRule(Billed.YES, rank=9),
    # Gateways differ on refunds and do not document them; songs that appear after a failure are still collected.
    State.FAILED: StateRule(Billed.MAYBE, rank=2, then=frozenset({State.SUCCEEDED})),
    State.UNSENT: StateRule(Billed.NO, rank=1, sends=True),
    State.REFUSED: StateRule(Billed.NO, rank=1, sends=True),
    # The answer may still be recorded later, even after a resubmission.
    State.UNKNOWN: StateRule(
        Billed.MAYBE, rank=3, unsettled=True, then=frozenset({State.ACCEPTED, State.UNSENT, State.REFUSED})
    ),
}


def sources_of(state: State) -> frozenset[State]:
    """The states from which a submission may move to `state`."""
    return frozenset(origin for origin, rule in RULES.items() if state in rule.then)
