"""What an account has left at its gateway, compared with what a run is about to spend. It only informs."""

from __future__ import annotations

import logging

from songflow import events
from songflow.accounts import Access
from songflow.gateways import Credit, read_credit
from songflow.generation.session import Session
from songflow.settings import amount

__all__ = ["about_credit", "warn_if_low"]

log = logging.getLogger(__name__)


def about_credit(credit: Credit | str | None, price: float, unit: str) -> str | None:
    """A sentence about an account's credit and a price in `unit`; None where the gateway does not tell it."""
    if credit is None:
        return None
    if isinstance(credit, str):
        return f"What the account has left could not be read ({credit})."
    match credit.falls_short_of(price, unit):
        case True:
            verdict = f"less than {amount(price, unit)}: the gateway will refuse what it does not cover"
        case False:
            verdict = f"enough for {amount(price, unit)}"
        case None:
            verdict = "in another unit than the prices here, so the two cannot be compared"
    return f"The account has {credit} left: {verdict}."


async def warn_if_low(session: Session, access: Access, price: float) -> None:
    """Log a warning and emit an event if an account has less left than a price in the library's unit.

    What is in another unit counts as too little when nothing is left. No problem stops anything: it is not even logged
    as one.
    """
    if price <= 0 or access.is_embedded:
        return
    credit = await read_credit(access.account)
    unit = session.library.settings.unit
    if not isinstance(credit, Credit):
        log.debug("Credit of %s: %s.", access.account.alias, credit)
        return
    if credit.falls_short_of(price, unit) or credit.amount <= 0:
        log.warning("%s: %s", access.gateway, about_credit(credit, price, unit))
        session.events.emit_once(events.credit_low(access.gateway, access.account.alias, credit, price, unit))
