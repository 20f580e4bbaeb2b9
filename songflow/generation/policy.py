"""What a caller allows to be paid for: the request with its key, and the policy that decides about paying again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from songflow.accounts import Access
from songflow.families.family import Request
from songflow.ledger.rows import RunIds
from songflow.ledger.states import State

__all__ = ["AFTER_ERRORS", "BY_A_PERSON", "PAY_ONCE", "IfUnsettled", "PaidRequest", "PayingPolicy"]

IfUnsettled = Literal["stop", "new"]

AFTER_ERRORS = frozenset({State.FAILED})
"""The states after which --retry-errors pays again, if an earlier run made the submission."""
BY_A_PERSON = frozenset({State.FAILED, State.UNKNOWN, State.LOST, State.OVERDUE})
"""The states after which `rescue --resubmit` pays again, once a person has confirmed it."""


@dataclass(frozen=True, slots=True)
class PaidRequest:
    """A request and the key under which it is paid for once.

    Attributes:
        request: What to make.
        key: The request key: the same key returns the same generation and never pays twice.
        kin: The common prefix of the keys of intended repeats of this body; an unsettled one of these is no
            reason to stop (None: every other key with this body is).
        runs: The Prefect runs that ask for it (None: those of the session).
        part_of: The key of the generation that it completes: both are under one budget.
    """

    request: Request
    key: str
    kin: str | None = None
    runs: RunIds | None = None
    part_of: str | None = None


@dataclass(frozen=True, slots=True)
class PayingPolicy:
    """When a request may be paid for, and by which accounts.

    The budget belongs to the run and not to one request: see `SessionSettings.budget`.

    Attributes:
        if_unsettled: If a crashed run left the same body unsettled under another key: "stop", or pay for a "new" one.
        retry_errors: Pay again for a generation that failed at the gateway in an earlier run.
        fallbacks: Accounts to try in order, each only after the one before has certainly not billed. A song is
            extended by its own gateway only.
        resubmit: Pay again for an unknown, lost, overdue or failed generation. Only for a person who asked for it.
    """

    if_unsettled: IfUnsettled = "stop"
    retry_errors: bool = False
    fallbacks: tuple[Access, ...] = ()
    resubmit: bool = False

    @property
    def repayable(self) -> frozenset[State]:
        """The states of an earlier submission after which this policy allows a new one."""
        if self.resubmit:
            return BY_A_PERSON
        return AFTER_ERRORS if self.retry_errors else frozenset()

    def accounts(self, first: Access) -> tuple[Access, ...]:
        """The account asked for, followed by the fallbacks."""
        return (first, *self.fallbacks)


PAY_ONCE = PayingPolicy()
"""The default: never pay again, stop at an unsettled request of a crashed run, and ask one account only."""
