"""How gateways tell what an account has left. Asking is free, and nothing paid depends on the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from songflow.gateways.report import number_or_none

__all__ = ["DASHBOARD", "Credit", "CreditQuery", "data_number"]


@dataclass(frozen=True, slots=True)
class Credit:
    """What is left: an amount in the gateway's own unit ("USD", "credits"), which need not be that of our prices."""

    amount: float
    unit: str

    def __str__(self) -> str:
        return f"{self.amount:,.10g} {self.unit}"

    def falls_short_of(self, price: float, unit: str) -> bool | None:
        """True if a price exceeds it; None if the price is in another unit, so that they cannot be compared."""
        return price > self.amount if self.unit.casefold() == unit.strip().casefold() else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditQuery:
    """How a gateway tells it.

    Attributes:
        paths: The paths of the GETs; `{key}` is replaced by the key, which then stands in no header.
        read: Finds what is left in the parsed answers to them; None where they do not say.
        unit: Its unit.
        host: The address to ask instead of the gateway's own, unless the account has another than the published one.
    """

    paths: tuple[str, ...]
    read: Callable[[Sequence[object]], float | None]
    unit: str
    host: str | None = None

    def targets(self, secret: str) -> tuple[str, ...]:
        """The paths with the key in its place."""
        return tuple(path.replace("{key}", quote(secret, safe="")) for path in self.paths)

    def credit(self, answers: Sequence[object]) -> Credit | None:
        """What is left; None where the answers do not say."""
        amount = self.read(answers)
        return None if amount is None else Credit(amount, self.unit)


def data_number(*names: str) -> Callable[[Sequence[object]], float | None]:
    """A reader of `{"data": number}`, or of the first of these fields in `data` or beside it."""

    def read(answers: Sequence[object]) -> float | None:
        top = _fields(answers[0])
        data = top.get("data")
        if not names:
            return number_or_none(data)
        holders = (_fields(data), top)
        found = (number_or_none(one.get(name)) for name in names for one in holders)
        return next((number for number in found if number is not None), None)

    return read


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dashboard(answers: Sequence[object]) -> float | None:
    """The limit less what is used, which is in hundredths."""
    limit, used = (
        number_or_none(_fields(one).get(name))
        for one, name in zip(answers, ("hard_limit_usd", "total_usage"), strict=True)
    )
    return None if limit is None or used is None else limit - used / 100


# The open relay's module "Account Billing Dashboard" (docs of QuantumNous/new-api). It is optional, and the limit of a
# key without one is 100 million.
DASHBOARD = CreditQuery(
    paths=("/v1/dashboard/billing/subscription", "/v1/dashboard/billing/usage"),
    read=_dashboard,
    unit="USD",
)
"""How relays tell it that speak OpenAI's protocol."""
