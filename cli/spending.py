"""`songflow pause` and `songflow resume`, and what `songflow songs --cost` shows."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from cli.options import Common
from cli.output import Output
from songflow.errors import InputError
from songflow.ledger.money import Balance
from songflow.library.library import Library
from songflow.settings import LibrarySettings, number_text

__all__ = ["cost", "pause", "resume", "show_cost"]

_LONGEST_REASON = 500


def pause(reason: str | None = None, /, *, common: Common = Common()) -> None:
    """Stop all new spending of this library, everywhere and at once; what runs is still collected.

    Parameters
    ----------
    reason
        Shown to everybody who is stopped by it.
    """
    if reason is not None and len(reason) > _LONGEST_REASON:
        raise InputError(
            f"The reason is longer than {_LONGEST_REASON} characters.",
            next="shorten it; nothing was changed.",
        )
    output = Output(as_json=common.json, quiet=common.quiet)
    changed, message = asyncio.run(_pause(common.library_settings(), reason))
    _show(output, common, "paused", changed, f"{message[:1].upper()}{message[1:]}.")


def resume(*, common: Common = Common()) -> None:
    """Allow spending of this library again."""
    output = Output(as_json=common.json, quiet=common.quiet)
    settings = common.library_settings()
    changed = settings.exists() and asyncio.run(_resume(settings))
    was = "" if changed else " (it was not paused)"
    _show(output, common, "allowed", changed, f"Spending is allowed for this library{was}.")


def _show(output: Output, common: Common, spending: str, changed: bool, message: str) -> None:
    folder = str(common.library_settings().folder)
    if output.as_json:
        output.object({"spending": spending, "changed": changed, "library": folder, "message": message})
    else:
        output.line(f"{message} Library: {folder}")


async def _pause(settings: LibrarySettings, reason: str | None) -> tuple[bool, str]:
    """Pause spending; returns whether this changed anything, and the state. A repeated pause keeps time and reason."""
    async with Library(settings) as library:
        money = library.ledger.money
        before = await money.stop_reason()
        if before is None or reason is not None:
            await money.pause(reason)
        return before is None, await money.stop_reason() or "spending was resumed meanwhile"


async def _resume(settings: LibrarySettings) -> bool:
    async with Library(settings) as library:
        return await library.ledger.money.resume()


async def cost(settings: LibrarySettings) -> dict[str, Any]:
    """What the library has spent and may spend, in units; a library that is not there has spent nothing."""
    day = datetime.now(UTC).date().isoformat()
    total, today, stopped = Balance("", 0.0, 0.0, 0.0), Balance("", 0.0, 0.0, 0.0), None
    if settings.exists():
        async with Library(settings, reads_only=True) as library:
            money = library.ledger.money
            total, today = await money.balance(), await money.balance(f"day:{day}")
            stopped = await money.stop_reason()
    return {
        "unit": settings.unit,
        **_amounts(total),
        "budget": settings.budget,
        "today": {"day": day, **_amounts(today), "budget": settings.budget_per_day},
        "budget_per_day": settings.budget_per_day,
        "spending": "paused" if stopped else "allowed",
        "reason": stopped,
    }


def show_cost(output: Output, found: dict[str, Any]) -> None:
    """For people."""
    for name, amounts in (("In all", found), (f"Today ({found['today']['day']} UTC)", found["today"])):
        cap = "no budget" if amounts["budget"] is None else f"budget {number_text(amounts['budget'])}"
        output.line(
            f"{name}: {number_text(amounts['spent'])} {found['unit']} spent, "
            f"{number_text(amounts['reserved'])} reserved, {number_text(amounts['refunded'])} refunded; {cap}."
        )
    stopped = found["reason"]
    output.line(f"{stopped[:1].upper()}{stopped[1:]}." if stopped else "Spending is allowed.")


def _amounts(balance: Balance) -> dict[str, float]:
    """Rounded, since sums of decimal prices are off by a little in binary."""
    return {name: round(value, 6) + 0.0 for name, value in asdict(balance).items() if name != "scope"}
