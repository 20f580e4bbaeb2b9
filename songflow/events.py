"""Events: notices of what a session has just committed, for listeners. The domain's side, without Prefect.

Each notice has a sentence that a person can act on. A listener must not block, and its failure changes nothing about a
song.

    song.stored            a take is complete and stored
    generation.accepted    the gateway has accepted a request: it is billed
    generation.refused     the gateway refused for good (bad key, no credit, bad request): not billed
    generation.unknown     perhaps billed, and only a person can settle it
    generation.failed      the gateway accepted it and made no song
    generation.overdue     we stopped waiting; it is still running and billed
    generation.lost        the gateway no longer knows what it accepted
    budget.nearly-spent    four fifths of a cap are spent or reserved
    budget.used-up         a request was stopped by a cap or a pause
    account.credit-low     an account has less left at its gateway than a sweep will cost
    sweep.ended            a sweep has ended, with its counts
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from songflow.errors import SongflowError
from songflow.settings import amount, number_text

if TYPE_CHECKING:
    from songflow.gateways import Credit
    from songflow.ledger.money import Balance
    from songflow.ledger.rows import Song, Submission

__all__ = [
    "GOOD_NEWS",
    "NEARLY_SPENT",
    "Listener",
    "Notice",
    "accepted",
    "credit_low",
    "nearly_spent",
    "stored",
    "tell",
    "trouble",
    "used_up",
]

log = logging.getLogger(__name__)

NEARLY_SPENT = 0.8
"""The share of a cap from which a notice is emitted."""

GOOD_NEWS = frozenset({"song.stored", "generation.accepted"})
"""Successes of single songs: a sweep emits none of them, only `sweep.ended`."""

Fact = str | float | None


@dataclass(frozen=True, slots=True)
class Notice:
    """One event.

    Attributes:
        kind: One of the list above.
        about: The subject: `generation.<request key>`, `budget.<scope>` or `sweep.<name>`.
        facts: Plain values, never a secret; `said` is a sentence and `next` the next step.
    """

    kind: str
    about: str
    facts: Mapping[str, Fact]


Listener = Callable[[Notice], None]
"""Called with each notice on the event loop of the life cycle; must return at once."""


def tell(listener: Listener | None, notice: Notice) -> None:
    """Hand a notice to a listener; its exceptions are logged and do not propagate."""
    if listener is None:
        return
    try:
        listener(notice)
    except Exception as error:
        log.warning(
            "The event %s could not be handed to its listener (%s).", notice.kind, type(error).__name__
        )


def stored(submission: Submission, song: Song) -> Notice:
    """A take is stored."""
    return Notice(
        "song.stored",
        f"generation.{submission.key}",
        {
            **_about(submission),
            "song_id": song.song_id,
            "title": song.title,
            "seconds": song.seconds,
            "path": song.path,
            "sha256": song.sha256,
            "said": f"'{song.title or song.song_id or 'a take'}' is stored as {song.path}.",
            "next": "listen to it.",
        },
    )


def accepted(submission: Submission, unit: str) -> Notice:
    """A request was accepted; `unit` is the library's, of its price."""
    price = amount(submission.price, unit)
    sentence = f"{submission.gateway} makes the generation {submission.any_id} for {price}."
    return Notice(
        "generation.accepted",
        f"generation.{submission.key}",
        {**_about(submission), "said": sentence, "next": "nothing: its run waits for it."},
    )


def trouble(kind: str, submission: Submission, error: SongflowError) -> Notice:
    """An outcome that a person should know of, with the message of its error."""
    return Notice(
        f"generation.{kind}",
        f"generation.{submission.key}",
        {
            **_about(submission),
            "state": error.state or str(submission.state),
            "billed": error.billed,
            "said": error.message,
            "next": error.next,
        },
    )


def nearly_spent(balance: Balance, cap: float, unit: str) -> Notice | None:
    """A cap is nearly reached; None if it is not."""
    taken = balance.spent + balance.reserved
    if taken < NEARLY_SPENT * cap:
        return None
    whose = "The library's budget" if balance.scope == "library" else f"The budget of {balance.scope}"
    return Notice(
        "budget.nearly-spent",
        f"budget.{balance.scope}",
        {
            "cap": cap,
            "spent": balance.spent,
            "reserved": balance.reserved,
            "unit": unit,
            "said": f"{whose} is nearly spent: {number_text(taken)} of {amount(cap, unit)}.",
            "next": "raise it, or let it stop the next requests.",
        },
    )


def used_up(key: str, error: SongflowError) -> Notice:
    """A request was stopped: over budget, or spending is paused."""
    return Notice("budget.used-up", "budget.library", {"key": key, "said": error.message, "next": error.next})


def credit_low(gateway: str, account: str, credit: Credit, price: float, unit: str) -> Notice:
    """An account has less left than a run is about to spend; `unit` is that of the price."""
    return Notice(
        "account.credit-low",
        f"account.{account}",
        {
            "gateway": gateway,
            "account": account,
            "left": credit.amount,
            "left_unit": credit.unit,
            "price": price,
            "unit": unit,
            "said": f"{account!r} at {gateway} has {credit} left, and this run costs {amount(price, unit)}.",
            "next": "pay in there; what the gateway refuses is not billed, and the same run makes it later.",
        },
    )


def _about(submission: Submission) -> dict[str, Fact]:
    return {
        "key": submission.key,
        "generation_id": submission.any_id,
        "gateway": submission.gateway,
        "price": submission.price,
        "state": str(submission.state),
        "billed": submission.billed,
    }
