"""The exceptions of Songflow as one tree; each branch has its exit code on the command line.

    SongflowError                    1   anything else
    |- InputError                    2   nothing was sent: the caller must change something
    |  |- InvalidRequest                 a field of the request
    |  |- InvalidDocument                a recipe or a sweep, with all its faults at once
    |  |- KeyConflict                    the same request key with a different body
    |  |- MissingCredentials             no key, or an unknown credentials block
    |  |- InvalidEnvironment             a variable of the environment, such as a proxy
    |  `- LibraryError                   the library cannot be used (path, space, schema, file system)
    |- NotBilled                     3   the gateway did not accept the request
    |  |- RequestRefused                 it refused
    |  `- RequestNotSent                 no byte of it left this machine
    |- GenerationFailed              4   the gateway accepted it and reported a failure
    |- Unsettled                     5   paid or perhaps paid, and not collected yet
    |  |- StillRunning                   the deadline passed; the gateway continues
    |  |- OutcomeUnknown                 the POST's answer was lost
    |  |- GenerationLost                 the gateway no longer knows the id it gave us
    |  |- NotCollected                   ended at the gateway, and not stored yet
    |  |- LedgerOutdated                 the spool knows paid generations that the ledger does not
    |  |- UnsettledTwin                  the same body is unsettled under another key
    |  `- ChoiceNeeded                   a recipe continues once a person has chosen a take
    `- SpendingStopped               6   over budget, or spending is paused

A message says what happened, what it cost, and what to do next. It never contains a gateway's key.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

__all__ = [
    "ChoiceNeeded",
    "GenerationFailed",
    "GenerationLost",
    "InputError",
    "InvalidDocument",
    "InvalidEnvironment",
    "InvalidRequest",
    "KeyConflict",
    "LedgerOutdated",
    "LibraryError",
    "MissingCredentials",
    "NotBilled",
    "NotCollected",
    "OutcomeUnknown",
    "RequestNotSent",
    "RequestRefused",
    "SongflowError",
    "SpendingStopped",
    "StillRunning",
    "Unsettled",
    "UnsettledTwin",
    "worst_exit_code",
]


class SongflowError(Exception):
    """The root of the tree; carries the facts that a person or a program needs to continue.

    Args:
        message: One or two sentences: what happened and why.
        key: The request key, if there is one.
        generation_id: The gateway's id of the generation, if it is known.
        state: The submission's state in the ledger.
        billed: "no", "maybe" or "yes".
        next: The next step, in the imperative.
        repeatable: The same request may be sent again: nothing was or will be billed for this one.
        retry_after: Seconds to wait first, if the gateway asks for it.
    """

    exit_code: ClassVar[int] = 1
    default_billed: ClassVar[str] = "no"

    def __init__(
        self,
        message: str,
        *,
        key: str | None = None,
        generation_id: str | None = None,
        state: str | None = None,
        billed: str | None = None,
        next: str | None = None,
        repeatable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.generation_id = generation_id
        self.state = state
        self.billed = billed or self.default_billed
        self.next = next
        self.repeatable = repeatable
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message} Next: {self.next}" if self.next else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the keyword-only facts, too: Prefect stores exceptions that way."""
        return _rebuild, (type(self), self.message, self.facts())

    def facts(self) -> dict[str, Any]:
        """All attributes but the message, by name."""
        return {name: value for name, value in vars(self).items() if name != "message"}

    @classmethod
    def rebuild(cls, message: str, facts: dict[str, Any]) -> Self:
        """Rebuild an exception from its message and its `facts`."""
        return cls(message, **facts)


def _rebuild(cls: type[SongflowError], message: str, facts: dict[str, Any]) -> SongflowError:
    return cls.rebuild(message, facts)


class InputError(SongflowError):
    """Nothing was sent; the caller must change something."""

    exit_code = 2


class _Faulty(InputError):
    """An input with several faults; `faults` names each."""

    def __init__(self, message: str, *, faults: tuple[str, ...] = (), **facts: Any) -> None:
        super().__init__(message, **facts)
        self.faults = faults


class InvalidRequest(_Faulty):
    """A field of the request is wrong, unknown, missing or forbidden; each of `faults` begins with its name."""


class InvalidDocument(_Faulty):
    """A recipe or a sweep is wrong; `faults` names every fault with its line."""


class KeyConflict(InputError):
    """The request key belongs to a request with a different body."""


class MissingCredentials(InputError):
    """No key for the gateway, or credentials that cannot be loaded."""


class InvalidEnvironment(InputError):
    """A variable of the environment cannot be used; the message names it."""


class LibraryError(InputError):
    """The library cannot be opened or written, or its ledger cannot be used."""


class NotBilled(SongflowError):
    """The gateway did not accept the request, so it bills nothing."""

    exit_code = 3


class RequestRefused(NotBilled):
    """The gateway refused the request; `kind` is the kind of refusal, such as "rate_limited"."""

    def __init__(self, message: str, *, kind: str | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.kind = kind


class RequestNotSent(NotBilled):
    """The gateway was not reached: no byte of the request left this machine."""


class GenerationFailed(SongflowError):
    """The gateway accepted the request and then reported that it failed."""

    exit_code = 4
    default_billed = "maybe"


class Unsettled(SongflowError):
    """Paid or perhaps paid, and nothing collected yet; never sent again automatically."""

    exit_code = 5
    default_billed = "yes"


class StillRunning(Unsettled):
    """The deadline passed, or waiting was stopped; the generation continues at the gateway."""


class OutcomeUnknown(Unsettled):
    """The request may have been accepted and billed: its answer was lost."""

    default_billed = "maybe"


class GenerationLost(Unsettled):
    """The gateway no longer knows a generation that it accepted."""


class NotCollected(Unsettled):
    """The generation succeeded, but no song of it could be stored yet."""


class LedgerOutdated(Unsettled):
    """The ledger was restored, replaced or lost: the spool knows paid generations that it does not."""

    default_billed = "no"


class UnsettledTwin(Unsettled):
    """The same body is unsettled under another key whose run is dead."""

    default_billed = "no"


class ChoiceNeeded(Unsettled):
    """A recipe waits until a person chooses the take to continue from.

    Args:
        step: The step's path in the recipe.
        takes: The takes that can be chosen, as plain data.
        another: The price of another pair of takes (None: no further pair is allowed).
        again: The answer that asks for another pair.
    """

    def __init__(
        self,
        message: str,
        *,
        step: str = "",
        takes: tuple[dict[str, Any], ...] = (),
        another: float | None = None,
        again: str = "again",
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.step = step
        self.takes = takes
        self.another = another
        self.again = again


class SpendingStopped(SongflowError):
    """The budget is used up, or spending is paused."""

    exit_code = 6


_EXIT_ORDER = (0, 3, 4, 5, 6)


def worst_exit_code(codes: Iterable[int]) -> int:
    """The exit code of several generations together: the worst one in the order 0 3 4 5 6, or 0 for none.

    Any other code counts as unsettled.
    """
    settled = (code if code in _EXIT_ORDER else Unsettled.exit_code for code in codes)
    return max(settled, key=_EXIT_ORDER.index, default=0)
