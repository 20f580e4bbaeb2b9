"""The events of a session: hands notices to its listener, and can be muted for what goes well in a sweep."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from songflow.events import GOOD_NEWS, Listener, Notice, nearly_spent, tell
from songflow.ledger.money import LIBRARY_SCOPE, Money
from songflow.settings import LibrarySettings

__all__ = ["EventSink"]


class EventSink:
    """Emits the notices of one session.

    Args:
        listener: Called with each notice (None: nobody listens).
        settings: The library's: its caps and its unit.
        money: The ledger's balances.
    """

    def __init__(self, listener: Listener | None, settings: LibrarySettings, money: Money) -> None:
        self._listener = listener
        self._settings = settings
        self._money = money
        self._emitted: set[tuple[str, str]] = set()
        self._muting = 0

    @property
    def success_level(self) -> int:
        """The level of log lines about one song that goes well."""
        return logging.DEBUG if self._muting else logging.INFO

    @contextmanager
    def successes_muted(self) -> Iterator[None]:
        """Emit no notices and no INFO lines about single songs that go well; several sweeps may do so at once."""
        self._muting += 1
        try:
            yield
        finally:
            self._muting -= 1

    def emit(self, notice: Notice) -> None:
        """Hand a notice to the listener."""
        if not (self._muting and notice.kind in GOOD_NEWS):
            tell(self._listener, notice)

    def emit_once(self, notice: Notice) -> None:
        """Hand a notice to the listener, once in this session for each kind and subject."""
        identity = (notice.kind, notice.about)
        if identity not in self._emitted:
            self._emitted.add(identity)
            self.emit(notice)

    async def emit_budgets(self, day: str) -> None:
        """Emit a notice for each cap of the library that is nearly reached.

        Without a listener or a cap the ledger is not read.

        Args:
            day: The day whose cap counts, as YYYY-MM-DD.

        Raises:
            LibraryError: the ledger cannot be read.
        """
        if self._listener is None:
            return
        settings = self._settings
        for cap, scope in ((settings.budget, LIBRARY_SCOPE), (settings.budget_per_day, f"day:{day}")):
            if cap is not None:
                notice = nearly_spent(await self._money.balance(scope), cap, settings.unit)
                if notice is not None:
                    self.emit_once(notice)
