"""Access to a gateway: an account, what it charges, and where it comes from.

The embedded simulator is a gateway like any other, except that its server lives in our own process on a port
that changes with every start. The ledger therefore knows it by a fixed name under `.invalid`, the domain that
never resolves, and the session puts the live address in its place.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from songflow.errors import InputError, MissingCredentials
from songflow.families.family import Request
from songflow.families.registry import models
from songflow.gateways import DIALECTS, Account, Dialect, Place, custom_dialect, place_of
from songflow.ledger.rows import Submission
from songflow.settings import FALLBACK_KEY_VARIABLE, gateway_key

__all__ = [
    "EMBEDDED_URL",
    "GATEWAYS",
    "Access",
    "Resolver",
    "access_from_environment",
    "fallbacks_from_environment",
    "resolve_from_environment",
    "that_can_take",
    "that_took",
]

EMBEDDED_URL = "http://simulator.invalid"
GATEWAYS = (*DIALECTS, "custom")
DEFAULT_PRICES: Mapping[str, float] = {name: model.price for name, model in models().items()}


@dataclass(frozen=True, slots=True)
class Access:
    """An account and its prices, in units of the user's choice, by model.

    `refunds_failed` says that the gateway gives the price of a failed generation back (neither documents it).
    """

    account: Account
    prices: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_PRICES))
    refunds_failed: bool = False

    @property
    def gateway(self) -> str:
        """The adapter's name."""
        return self.account.dialect.name

    @property
    def place(self) -> Place:
        """Where its songs are: the same for all host names of one gateway."""
        return place_of(self.gateway, self.account.base_url)

    @property
    def pace_name(self) -> str:
        """What shares one rate limit at the gateway: its key, named without giving it away."""
        return f"{self.account.base_url[:96]}#{self.account.fingerprint}"

    @property
    def is_embedded(self) -> bool:
        """True for the simulator inside our own process."""
        return self.account.base_url == EMBEDDED_URL

    def price_of(self, request: Request) -> float:
        """Units that this account charges for a request."""
        return self.prices.get(request.model_type, request.model.price)

    def dialect_text(self) -> str:
        """The dialect as the ledger keeps it, so that a custom gateway can be asked again later."""
        return self.account.dialect.stored()

    def took(self, submission: Submission) -> bool:
        """True where this account is at the gateway that took a submission (its key may have changed since)."""
        return self.place == submission.place


Resolver = Callable[[Submission], Awaitable[Access | None]]
"""Finds the access that took a submission by its stored alias, or None where it cannot tell."""


def access_from_environment(
    gateway: str | None = None,
    base_url: str | None = None,
    *,
    submit_path: str | None = None,
    fetch_path: str | None = None,
    shape: str | None = None,
) -> Access:
    """The access that a gateway's name and the environment give; without a name, the embedded simulator.

    Keys come from the gateway's own variable (COMETAPI_KEY, OPENAI_HK_KEY) or from SONGFLOW_API_KEY.

    Raises:
        InputError: an unknown gateway or a base URL that cannot be used.
        MissingCredentials: a real gateway, and no key in the environment.
    """
    name = gateway or "simulator"
    if name not in GATEWAYS:
        raise InputError(
            f"There is no gateway {name!r}.", next=f"choose one of {', '.join(GATEWAYS)}; nothing was sent."
        )
    try:
        is_custom = name == "custom"
        dialect = _custom(base_url, submit_path, fetch_path, shape) if is_custom else DIALECTS[name]
        if name == "simulator" and base_url is None:
            return Access(Account(dialect, EMBEDDED_URL, "simulator"))
        variable, key = _key_for(dialect)
        if key is None and name != "simulator":
            raise MissingCredentials(
                f"There is no key for {name}.",
                next=f"set {variable} in the environment, or name a credentials block with --credentials; "
                "without --gateway songs are made on the built-in simulator, which needs no key.",
            )
        return Access(Account(dialect, base_url or "", f"env:{variable}", key))
    except ValueError as error:
        raise InputError(
            f"The gateway cannot be used: {error}.", next="correct it; nothing was sent."
        ) from None


def fallbacks_from_environment(names: Sequence[str]) -> list[Access]:
    """The accesses of gateways to try in order, each as `NAME` or, at another address, `NAME=URL`.

    Raises:
        InputError, MissingCredentials: as `access_from_environment`; nothing was sent.
    """
    pairs = (text.partition("=") for text in names)
    return [access_from_environment(name.strip(), url.strip() or None) for name, _, url in pairs]


def that_can_take(choices: Sequence[Access], request: Request) -> tuple[Access, ...]:
    """Those of the choices that a request may be sent to, in their order: only a gateway that has a song extends it.

    The first choice is the one that was asked for, so a source is at its gateway; other accounts there have it, too.
    """
    if request.source_song_id is None:
        return tuple(choices)
    return tuple(choice for choice in choices if choice.place == choices[0].place)


def that_took(choices: Sequence[Access], submission: Submission) -> Access | None:
    """The choice that took a submission: by its key, else by its alias, else by its gateway; None where none is there.

    Two accounts of one gateway may not see each other's generations.
    """
    there = [choice for choice in choices if choice.took(submission)]
    by_key = [choice for choice in there if choice.account.fingerprint == submission.key_fingerprint]
    by_alias = [choice for choice in there if choice.account.alias == submission.account]
    return next(iter((*by_key, *by_alias, *there)), None)


async def resolve_from_environment(submission: Submission) -> Access | None:
    """The access of a stored submission, as far as the environment still holds its key."""
    dialect = stored_dialect(submission)
    if submission.base_url == EMBEDDED_URL:
        return Access(Account(dialect, EMBEDDED_URL, submission.account))
    if not submission.account.startswith("env:"):
        return None
    _variable, key = _key_for(dialect)
    if key is None and dialect.name != "simulator":
        return None
    return Access(Account(dialect, submission.base_url, submission.account, key))


def stored_dialect(submission: Submission) -> Dialect:
    """How the gateway of a stored submission is spoken to."""
    known = DIALECTS.get(submission.gateway)
    return known or Dialect(**json.loads(submission.dialect))


def at_url(access: Access, url: str) -> Account:
    """The account at another address (the embedded simulator's live one)."""
    return replace(access.account, base_url=url)


def _custom(
    base_url: str | None, submit_path: str | None, fetch_path: str | None, shape: str | None
) -> Dialect:
    if not base_url:
        raise ValueError("a custom gateway needs a base URL")
    relay = DIALECTS["openai-hk"]
    return custom_dialect(
        base_url, submit_path or relay.submit_path, fetch_path or relay.fetch_path, shape or relay.shape
    )


def _key_for(dialect: Dialect) -> tuple[str, SecretStr | None]:
    for variable in (dialect.key_variable, FALLBACK_KEY_VARIABLE):
        key = gateway_key(variable)
        if key is not None:
            return variable, key
    return dialect.key_variable, None
