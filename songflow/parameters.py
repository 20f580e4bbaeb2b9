"""Parameter groups that flows, the command line and Python share: who pays, how to wait, when to pay again.

The groups of a request are in `songflow.families.parameters`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from songflow.accounts import Access, access_from_environment, fallbacks_from_environment, gateway_names
from songflow.families.parameter_group import ParameterGroup
from songflow.gateways.custom import FETCH_PATHS, SUBMIT_PATH
from songflow.generation.policy import IfUnsettled, PayingPolicy
from songflow.generation.session_settings import SessionSettings

__all__ = [
    "BUDGET_TEXT",
    "FETCH_PATH_TEXT",
    "SUBMIT_PATH_TEXT",
    "EnvironmentAccount",
    "GatewayName",
    "KeyedSafety",
    "Safety",
    "Shape",
    "SweepSafety",
    "Waiting",
    "members",
    "session_settings",
]

if TYPE_CHECKING:
    GatewayName = str
else:
    GatewayName = Literal[gateway_names()]
Shape = Literal["A", "B", "C", "D"]

SUBMIT_PATH_TEXT = f"A custom gateway's path for submits, such as {SUBMIT_PATH}."
FETCH_PATH_TEXT = f"A custom gateway's path for status requests, such as {' or '.join(FETCH_PATHS)}."
BUDGET_TEXT = (
    "The most that this run, with all its subflows, may spend, in the units of the prices. Empty: no cap."
)


class EnvironmentAccount(ParameterGroup):
    """An account whose key is in the environment, for runs without a credentials block."""

    model_config = ConfigDict(title="Gateway without a block")

    gateway: GatewayName | None = Field(
        default=None,
        title="Gateway",
        description="The gateway whose key is in the environment. Empty: the built-in simulator, which needs no key "
        "and costs nothing.",
    )
    base_url: str | None = Field(
        default=None, title="Base URL", description="The gateway's address. Empty: its published one."
    )
    submit_path: str | None = Field(
        default=None,
        title="Submit path",
        description=SUBMIT_PATH_TEXT,
    )
    fetch_path: str | None = Field(
        default=None,
        title="Fetch path",
        description=FETCH_PATH_TEXT,
    )
    shape: Shape | None = Field(
        default=None, title="Shape", description="The shape of a custom gateway's answers: A, B, C or D."
    )

    @property
    def is_empty(self) -> bool:
        """True if nothing is chosen: the built-in simulator, or for an extension the song's own account."""
        return not any(self.given().values())

    def access(self) -> Access:
        """The account of these parameters and the environment.

        Raises:
            InputError, MissingCredentials: nothing was sent.
        """
        return access_from_environment(
            self.gateway,
            self.base_url or None,
            submit_path=self.submit_path,
            fetch_path=self.fetch_path,
            shape=self.shape,
        )


class Waiting(ParameterGroup):
    """How often to poll the gateway, and for how long."""

    model_config = ConfigDict(title="Waiting")

    poll_interval: Annotated[float, Field(gt=0, strict=True)] | None = Field(
        default=None,
        title="Poll interval",
        description="Seconds between polls. Empty: learned from earlier songs, and 5 s until there are some.",
    )
    deadline: Annotated[float, Field(ge=0, strict=True)] | None = Field(
        default=None,
        title="Deadline",
        description="Seconds to wait for one generation; after that it continues at the gateway and can be collected. "
        "Empty: by model.",
    )


class Safety(ParameterGroup):
    """What may be sent or paid for again."""

    model_config = ConfigDict(title="Safety")

    if_unsettled: IfUnsettled = Field(
        default="stop",
        title="If unsettled",
        description="If a crashed run left the same request unsettled: stop, or pay for a new one.",
    )
    retry_errors: Annotated[bool, Field(strict=True)] = Field(
        default=False,
        title="Retry errors",
        description="Pay again for a generation that failed at the gateway in an earlier run; a retry of this run "
        "does not.",
    )
    retries: Annotated[int, Field(ge=0, le=100, strict=True)] = Field(
        default=4,
        title="Retries",
        description="How often a request that was certainly not billed is sent again (rate limit, no connection).",
    )
    fallback_gateways: list[str] = Field(
        default=[],
        title="Fallback gateways",
        description="Gateways to try next, each only if the one before has certainly not billed: NAME or NAME=URL, "
        "with the key in the environment.",
    )

    @field_validator("fallback_gateways", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return [] if value is None else value

    def fallback_accounts(self) -> tuple[Access, ...]:
        """The accounts to try next, in order.

        Raises:
            InputError, MissingCredentials: one cannot be used; nothing was sent.
        """
        return tuple(fallbacks_from_environment(self.fallback_gateways))

    def policy(self) -> PayingPolicy:
        """These parameters as the policy of a paid request.

        Raises:
            InputError, MissingCredentials: a fallback cannot be used; nothing was sent.
        """
        return PayingPolicy(
            if_unsettled=self.if_unsettled,
            retry_errors=self.retry_errors,
            fallbacks=self.fallback_accounts(),
        )


class RequestKey(ParameterGroup):
    """The name under which a request is paid for once."""

    key: str | None = Field(
        default=None,
        title="Request key",
        description="Reusing a request key returns the same song and never pays twice. Empty: the id of this run and "
        "the step.",
    )
    step: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        title="Step",
        description="Distinguishes several songs of one parent flow; give each its own.",
    )


class KeyedSafety(Safety, RequestKey):
    """The same for one song, which has a request key."""


class SweepSafety(Safety):
    """The same for a sweep, whose cells have request keys of their own."""

    max_failures: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        default=None,
        title="Maximum failures",
        description="Start no more cells after this many have failed. Empty: no limit.",
    )


def members(**groups: type[ParameterGroup]) -> dict[str, str]:
    """Where each parameter of these groups is: `{"deadline": "waiting.deadline", ...}`."""
    return {member: f"{name}.{member}" for name, group in groups.items() for member in group.model_fields}


def session_settings(
    waiting: Waiting | None, safety: Safety, budget: float | None, rest: SessionSettings | None = None
) -> SessionSettings:
    """The settings of a session: what the parameters give, and `rest` for everything that they leave out."""
    given = {
        **({} if waiting is None else waiting.model_dump(exclude_unset=True)),
        **safety.model_dump(include={"retries"}, exclude_unset=True),
    }
    if budget is not None:
        given["budget"] = budget
    return replace(rest or SessionSettings(), **given)
