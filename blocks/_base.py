"""What all gateway credentials share: the account, its prices, and how the ledger names them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, TypeAdapter, field_validator, model_validator

from songflow.accounts import DEFAULT_PRICES, Access
from songflow.errors import InputError
from songflow.families.registry import models
from songflow.gateways import Account, Dialect, Gateway

__all__ = ["ALIAS_PREFIX", "UNSAVED", "GatewayCredentials", "web_address"]

# The one place that knows where the project is published. It has no public address yet, and `.invalid` belongs
# to nobody: better no picture in the UI than a stranger's.
_HOME = "https://songflow.invalid"

ALIAS_PREFIX = "block:"
UNSAVED = "unsaved"

_URL = TypeAdapter(HttpUrl)


def web_address(path: str, *, logo: bool = False) -> HttpUrl:
    """The public address of a page of the documentation, or of a logo in this folder."""
    return _URL.validate_python(f"{_HOME}/blocks/logos/{path}" if logo else f"{_HOME}/{path}")


class GatewayCredentials(CredentialsBlock, ABC):
    """One account at one gateway. Subclasses say which dialect it speaks.

    The key is a `SecretStr`: Prefect stores it encrypted, and neither a flow run's parameters, a log nor an
    error ever shows it. Wrong values are refused here, before anything is saved or spent.
    """

    # Without this, pydantic's message for a key that is refused would quote the key.
    model_config = ConfigDict(hide_input_in_errors=True)

    _documentation_url: ClassVar[HttpUrl | None] = web_address("README.md")

    prices: dict[str, float] = Field(
        default_factory=lambda: dict(DEFAULT_PRICES),
        title="Prices",
        description="What one request costs by model, in units of your choice (budgets count in them).",
    )

    refunds_failed: bool = Field(
        default=False,
        title="Refunds failures",
        description="Whether the gateway gives the price of a failed generation back (ask it; few document it).",
    )

    @field_validator("prices")
    @classmethod
    def _check_prices(cls, prices: dict[str, float]) -> dict[str, float]:
        for model, price in prices.items():
            if model not in models():
                raise ValueError(f"there is no model {model!r}: allowed are {', '.join(models())}")
            if not math.isfinite(price) or price < 0:
                raise ValueError(f"the price of {model} must be a number from 0")
        return prices

    @model_validator(mode="after")
    def _check_account(self) -> Self:
        self._account("")
        return self

    @abstractmethod
    def _dialect(self) -> Dialect:
        """How the gateway is spoken to; ValueError where the fields do not fit together."""

    @abstractmethod
    def _address(self) -> str:
        """The gateway's base URL."""

    @property
    def _secret(self) -> SecretStr | None:
        return getattr(self, "api_key", None)

    @property
    def alias(self) -> str:
        """The account's name in the ledger: `block:<type>/<document>`, by which its key is found again."""
        return f"{ALIAS_PREFIX}{self.get_block_type_slug()}/{self._block_document_name or UNSAVED}"

    def _account(self, alias: str) -> Account:
        return Account(self._dialect(), self._address(), alias, self._secret)

    def get_access(self) -> Access:
        """The account with its prices, as the paid step takes it."""
        return Access(self._account(self.alias), dict(self.prices), self.refunds_failed)

    def get_client(self) -> Gateway:
        """A client of the gateway, not opened yet: `async with block.get_client() as gateway`.

        Raises:
            InputError: the embedded simulator has no address of its own outside a session.
        """
        access = self.get_access()
        if access.is_embedded:
            raise InputError(
                "The embedded simulator runs only inside a Songflow session, so it has no client of its own.",
                next="give the block the base URL of a simulator started with `songflow simulate`.",
            )
        return Gateway(access.account)
