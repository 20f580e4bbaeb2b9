"""Base class of gateway credentials: the account, its prices, and its alias in the ledger."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar, Self

from prefect.blocks.abstract import CredentialsBlock
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, field_validator, model_validator

from blocks.prefect_ui import LOGO
from songflow.accounts import DEFAULT_PRICES, Access
from songflow.errors import InputError
from songflow.families.registry import priced_models
from songflow.gateways import Account, Dialect, Gateway

__all__ = ["ALIAS_PREFIX", "UNSAVED", "GatewayCredentials"]

ALIAS_PREFIX = "block:"
UNSAVED = "unsaved"


class GatewayCredentials(CredentialsBlock, ABC):
    """One account at one gateway. Subclasses define its dialect.

    The key is a `SecretStr`: Prefect stores it encrypted, and it never appears in parameters of flow runs, logs or
    errors. Invalid values are refused before the block is saved or money is spent.
    """

    # Otherwise pydantic's error for an invalid key would quote the key.
    model_config = ConfigDict(hide_input_in_errors=True)

    _logo_url: ClassVar[HttpUrl | None] = LOGO

    # Subclasses redefine these two; they are here so that forms have them first.
    api_key: SecretStr | None = Field(default=None, title="API key", description="The account's key.")
    base_url: str | None = Field(default=None, title="Base URL", description="The gateway's address.")

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
        known = priced_models()
        for model, price in prices.items():
            if model not in known:
                raise ValueError(f"there is no model {model!r}: allowed are {', '.join(known)}")
            if not math.isfinite(price) or price < 0:
                raise ValueError(f"the price of {model} must be a number from 0")
        return prices

    @model_validator(mode="after")
    def _check_account(self) -> Self:
        self._account("")
        return self

    @abstractmethod
    def _dialect(self) -> Dialect:
        """The gateway's dialect; ValueError if fields contradict each other."""

    @abstractmethod
    def _address(self) -> str:
        """The gateway's base URL."""

    @property
    def alias(self) -> str:
        """The account's name in the ledger, `block:<type>/<document>`, from which its key is loaded again."""
        return f"{ALIAS_PREFIX}{self.get_block_type_slug()}/{self._block_document_name or UNSAVED}"

    def _account(self, alias: str) -> Account:
        return Account(self._dialect(), self._address(), alias, self.api_key)

    def get_access(self) -> Access:
        """The account with its prices, for the paid step."""
        return Access(self._account(self.alias), dict(self.prices), self.refunds_failed)

    def get_client(self) -> Gateway:
        """Create a client of the gateway, to be opened by `async with block.get_client() as gateway`.

        Raises:
            InputError: the embedded simulator has no address outside of a session.
        """
        access = self.get_access()
        if access.is_embedded:
            raise InputError(
                "The embedded simulator runs only inside a Songflow session, so it has no separate client.",
                next="give the block the base URL of a simulator started with `songflow simulate`.",
            )
        return Gateway(access.account)
