"""Validate what people write in a document; every fault names its field, its line, its value and what is allowed.

    reader = Reader(document)
    sample = reader.mapping(("sobol",), document.data["sobol"], ("n", "seed"), "needs n and seed")
    count = reader.number(("sobol", "n"), sample.get("n"), 1, 100, whole=True)
    reader.refuse()                                     # raises InvalidDocument with every fault

A check that fails adds a fault and returns a default, so that one reading finds all faults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from songflow.documents.text import close_names, one_line
from songflow.documents.yaml_file import Document, Fault, Place, refuse_faults

__all__ = ["Reader"]


class Reader:
    """Collects the faults of one document while its parts are read.

    Args:
        document: The document.
        faults: Faults found before, to report together with the others.
        synonyms: Further names that "did you mean" may name.
    """

    def __init__(
        self, document: Document, faults: Sequence[Fault] = (), synonyms: Sequence[str] = ()
    ) -> None:
        self.document = document
        self._synonyms = synonyms
        self._faults = list(faults)
        self._settled = {fault.place for fault in faults if fault.only}

    def fault(self, place: Place, message: str) -> None:
        """Add a fault; the message follows the place: "is 7: allowed is ..."."""
        found = self.document.fault(place, message)
        if found.place not in self._settled:
            self._faults.append(found)

    def refuse(self) -> None:
        """Raise InvalidDocument with every fault, in the order of the text; nothing if there is none."""
        refuse_faults(self.document.name, self._faults)

    def mapping(self, place: Place, given: Any, known: Sequence[str], expected: str) -> dict[str, Any]:
        """The known entries of a mapping; `expected` is the message for any other value or an empty one."""
        if isinstance(given, Mapping) and given:
            return self.known(place, given, known)
        self.fault(place, expected)
        return {}

    def known(self, place: Place, given: Mapping[Any, Any], known: Sequence[str]) -> dict[str, Any]:
        """The known entries of a mapping; each unknown key is a fault."""
        for name in given:
            if name not in known:
                close = close_names(str(name), (*known, *self._synonyms))
                hint = (
                    f": did you mean {' or '.join(close)}?" if close else f" (there are: {', '.join(known)})"
                )
                self.fault((*place, str(name)), f"is not known here{hint}")
        return {name: entry for name, entry in given.items() if name in known}

    def one_of(
        self, place: Place, given: Any, allowed: Sequence[str], default: str | None = None, *, also: str = ""
    ) -> str:
        """One of several words; the default without a value (None: a word is required).

        `also` is what else the message names as allowed, for a caller that handles it.
        """
        if isinstance(given, str) and given in allowed:
            return given
        if given is not None or default is None:
            self.fault(place, f"{_value(given)}: allowed are {', '.join(allowed)}{also}")
        return default or ""

    def number(self, place: Place, given: Any, least: float, most: float) -> float | None:
        """A number within bounds; None without a value."""
        if given is None:
            return None
        if isinstance(given, int | float) and not isinstance(given, bool) and least <= given <= most:
            return float(given)
        self.fault(place, f"{_value(given)}: allowed is a number from {least:g} to {most:.12g}")
        return None

    def whole(self, place: Place, given: Any, least: int, most: int) -> int | None:
        """A whole number within bounds; it is required."""
        if isinstance(given, int) and not isinstance(given, bool) and least <= given <= most:
            return given
        self.fault(place, f"{_value(given)}: allowed is a whole number from {least} to {most}")
        return None

    def text(self, place: Place, given: Any, default: str = "") -> str:
        """A text; the default without a value or for a blank one."""
        if given is None or isinstance(given, str):
            return given if given and given.strip() else default
        self.fault(place, f"{_value(given)}: allowed is a text")
        return default

    def items(self, place: Place, given: Any) -> list[Any]:
        """The items of a list; none without a value."""
        if given is None or isinstance(given, list):
            return given or []
        self.fault(place, "must be a list")
        return []


def _value(given: Any) -> str:
    return "is missing" if given is None else f"is {one_line(repr(given))}"
