"""Access to a gateway: an account with its prices, chosen by name, by environment, or by a stored submission.

The embedded simulator is a gateway like any other, except that its server runs in our own process on a port that
changes with every start. The ledger therefore stores a fixed name under `.invalid`, the domain that never resolves,
and the session replaces it by the live address.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pydantic import SecretStr

from songflow.errors import InputError, InvalidEnvironment, MissingCredentials
from songflow.families.family import Request
from songflow.families.registry import family_of_model, models, priced_models
from songflow.gateways import (
    DIALECTS,
    Account,
    Dialect,
    Place,
    bills_nothing,
    custom_dialect,
    place_of,
    sellers,
)
from songflow.gateways.custom import FETCH_PATH, SHAPE, SUBMIT_PATH
from songflow.gateways.dialects import CUSTOM, stored_dialect
from songflow.ledger.rows import Submission
from songflow.settings import FALLBACK_KEY_VARIABLE, gateway_address, gateway_key, price_list

__all__ = [
    "EMBEDDED_URL",
    "Access",
    "Resolver",
    "access_from_environment",
    "fallbacks_from_environment",
    "gateway_names",
    "place_text",
    "prices_from_environment",
    "reason_not_to_ask",
    "resolve_from_environment",
    "that_can_take",
    "that_took",
]

EMBEDDED_URL = "http://simulator.invalid"
DEFAULT_PRICES: Mapping[str, float] = {name: model.price for name, model in priced_models().items()}


def place_text(gateway: str, base_url: str) -> str:
    """A gateway and its address, for people; the simulator inside a process has no address."""
    return "the built-in simulator" if base_url == EMBEDDED_URL else f"{gateway} ({base_url})"


@dataclass(frozen=True, slots=True)
class Access:
    """An account and its prices.

    Attributes:
        prices: Units of the user's choice, by model.
        refunds_failed: True if the gateway refunds failed generations (few document it).
    """

    account: Account
    prices: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_PRICES))
    refunds_failed: bool = False

    @property
    def gateway(self) -> str:
        """The gateway's name."""
        return self.account.dialect.name

    @property
    def place(self) -> Place:
        """Where its songs are: the same for all host names of one gateway."""
        return place_of(self.gateway, self.account.base_url)

    @property
    def pace_name(self) -> str:
        """Names what shares one rate limit: a key at a place, without revealing the key."""
        return f"{self.place[1][:96]}#{self.account.fingerprint}"

    @property
    def place_text(self) -> str:
        """The gateway and its address, for people."""
        return place_text(self.gateway, self.account.base_url)

    @property
    def is_simulated(self) -> bool:
        """True for a simulator, which bills nothing."""
        return bills_nothing(self.gateway)

    @property
    def is_embedded(self) -> bool:
        """True for the simulator that runs in our own process."""
        return self.account.base_url == EMBEDDED_URL

    def sells(self, request: Request) -> bool:
        """True if the gateway sells the request's model."""
        return self.sells_model(request.model_type)

    def sells_model(self, name: str) -> bool:
        """True if the gateway sells a model, by its wire name."""
        service = self.account.dialect.services.get(family_of_model(name).name)
        return service is not None and service.sells(name)

    def price_of(self, request: Request) -> float:
        """Units that this account charges for a request."""
        return self.prices.get(request.model_type, request.model.price)

    def dialect_text(self) -> str:
        """The dialect as the ledger stores it, so that a custom gateway can be asked again later."""
        return self.account.dialect.stored()

    def took(self, submission: Submission) -> bool:
        """True if this account is at the gateway that took a submission, even if its key has changed since."""
        return self.place == submission.place


Resolver = Callable[[Submission], Awaitable[Access | None]]
"""Finds the access that took a submission by its stored alias; None if it is not available."""


def gateway_names() -> tuple[str, ...]:
    """The gateways that can be chosen by name."""
    return (*DIALECTS.names(), CUSTOM)


def access_from_environment(
    gateway: str | None = None,
    base_url: str | None = None,
    *,
    submit_path: str | None = None,
    fetch_path: str | None = None,
    shape: str | None = None,
) -> Access:
    """The access to a gateway by its name, with the key from the environment; without a name, the embedded simulator.

    Keys come from the gateway's own variable or from SONGFLOW_API_KEY, prices from SONGFLOW_PRICES, and the address of
    a gateway that people host themselves from its own variable.

    Raises:
        InputError: an unknown gateway, or a base URL that cannot be used.
        MissingCredentials: a real gateway without a key in the environment.
    """
    name = gateway or "simulator"
    if name not in gateway_names():
        raise InputError(
            f"There is no gateway {name!r}.",
            next=f"choose one of {', '.join(gateway_names())}; nothing was sent.",
        )
    if (fault := DIALECTS.fault(name)) is not None:
        raise InputError(
            f"The gateway {name!r} cannot be used: {fault}.",
            next="repair or uninstall that package; nothing was sent.",
        )
    try:
        is_custom = name == CUSTOM
        dialect = _custom(base_url, submit_path, fetch_path, shape) if is_custom else DIALECTS[name]
        if name == "simulator" and base_url is None:
            return Access(Account(dialect, EMBEDDED_URL, "simulator"), prices_from_environment())
        variable, key = _key_for(dialect)
        if key is None and dialect.key_required:
            raise MissingCredentials(
                f"There is no key for {name}.",
                next=f"set {variable} in the environment, or name a credentials block with --credentials; "
                "without --gateway songs are made on the built-in simulator, which needs no key.",
            )
        address = base_url or gateway_address(dialect.address_variable) or ""
        return Access(Account(dialect, address, f"env:{variable}", key), prices_from_environment())
    except ValueError as error:
        raise InputError(
            f"The gateway cannot be used: {error}.", next="correct it; nothing was sent."
        ) from None


def prices_from_environment() -> dict[str, float]:
    """The prices of accounts whose keys are in the environment: SONGFLOW_PRICES, and the defaults for other models.

    Raises:
        InvalidEnvironment: it cannot be read, or names a model that does not exist.
    """
    given = price_list()
    for name in given:
        if name not in DEFAULT_PRICES:
            raise InvalidEnvironment(
                f"SONGFLOW_PRICES has a price of {name!r}: there is no such model.",
                next=f"name one of {', '.join(DEFAULT_PRICES)}; nothing was sent.",
            )
    return {**DEFAULT_PRICES, **given}


def fallbacks_from_environment(names: Sequence[str]) -> list[Access]:
    """The accesses of gateways to try in order, each as `NAME` or, at another address, `NAME=URL`.

    Raises:
        InputError, MissingCredentials: as `access_from_environment`; nothing was sent.
    """
    pairs = (text.partition("=") for text in names)
    return [access_from_environment(name.strip(), url.strip() or None) for name, _, url in pairs]


def reason_not_to_ask(access: Access, request: Request) -> InputError | None:
    """The error of a request that this gateway cannot serve, found without asking it; None if it can.

    Either the gateway does not sell the model, or it cannot express the request in its own body.
    """
    family, model = family_of_model(request.model_type).name, request.model_type
    service = access.account.dialect.services.get(family)
    if service is None or not service.sells(model):
        selling = ", ".join(sellers(family, model)) or "none"
        what, short = (f"{family} (model {model})", family) if service is None else (model, model)
        its_own = ", ".join(name for name in models() if access.sells_model(name))
        instead = f"choose a model that it sells ({its_own}), or a gateway"
        return InputError(
            f"{access.gateway} does not sell {what}.",
            next=f"{instead if model in models() else 'choose a gateway'} that sells {short} ({selling}); "
            "nothing was sent.",
        )
    try:
        service.wire_body(request.body())
    except ValueError as error:
        return InputError(
            f"{access.gateway} cannot make this song: {error}.", next="correct the request; nothing was sent."
        )
    return None


def that_can_take(choices: Sequence[Access], request: Request) -> tuple[Access, ...]:
    """Select the accounts that a request may be sent to: the first choice, and fallbacks that can serve it.

    A fallback must sell the request's model and have a place for every field of it, and only the gateway that has a
    song can extend it. The first choice is the one that was asked for, so a source song is there; other accounts of
    that gateway see it, too.
    """
    first, *fallbacks = choices
    extends = request.source_song_id is not None
    there = (one for one in fallbacks if not extends or one.place == first.place)
    return (first, *(one for one in there if reason_not_to_ask(one, request) is None))


def that_took(choices: Sequence[Access], submission: Submission) -> Access | None:
    """The account that took a submission: by its key, else by its alias, else by its gateway; None if none fits.

    Two accounts of one gateway may not see each other's generations.
    """
    there = [choice for choice in choices if choice.took(submission)]
    by_key = [choice for choice in there if choice.account.fingerprint == submission.key_fingerprint]
    by_alias = [choice for choice in there if choice.account.alias == submission.account]
    return next(iter((*by_key, *by_alias, *there)), None)


async def resolve_from_environment(submission: Submission) -> Access | None:
    """The access of a stored submission, if the environment still has its key."""
    dialect = stored_dialect(submission.gateway, submission.dialect)
    if dialect is None:
        return None
    if submission.base_url == EMBEDDED_URL:
        return Access(Account(dialect, EMBEDDED_URL, submission.account), prices_from_environment())
    if not submission.account.startswith("env:"):
        return None
    _variable, key = _key_for(dialect)
    if key is None and dialect.key_required:
        return None
    return Access(Account(dialect, submission.base_url, submission.account, key), prices_from_environment())


def at_url(access: Access, url: str) -> Account:
    """The account at another address (the live one of the embedded simulator)."""
    return replace(access.account, base_url=url)


def _custom(
    base_url: str | None, submit_path: str | None, fetch_path: str | None, shape: str | None
) -> Dialect:
    if not base_url:
        raise ValueError("a custom gateway needs a base URL")
    return custom_dialect(base_url, submit_path or SUBMIT_PATH, fetch_path or FETCH_PATH, shape or SHAPE)


def _key_for(dialect: Dialect) -> tuple[str, SecretStr | None]:
    # A gateway that needs no key does not get that of another one.
    variables = (dialect.key_variable, *((FALLBACK_KEY_VARIABLE,) if dialect.key_required else ()))
    for variable in variables:
        key = gateway_key(variable)
        if key is not None:
            return variable, key
    return dialect.key_variable, None
