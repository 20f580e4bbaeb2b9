"""Registries of what Songflow knows by name, to which other installed packages can add through entry points.

A package declares its entry in its pyproject.toml, under the registry's group:

    [project.entry-points."songflow.gateways"]
    hummery = "hummery.gateway:HUMMERY"

Songflow's own entries are always there. Installed packages are searched once a name is asked for that is not ours, or
all names are, and a module is imported when its entry is used. An entry that cannot be used is left out with a warning
that names its package; it never affects the others.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, TypeVar

__all__ = ["Registry"]

log = logging.getLogger(__name__)

_NAME = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_GROUPS = "songflow."
_MARK = b"[songflow."


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_T = TypeVar("_T", bound=_Named)


@dataclass(frozen=True, slots=True)
class _Declared:
    """An entry point.

    Attributes:
        value: `module:attribute`.
        package: The name and version of the package that declares it.
    """

    value: str
    package: str


class Registry(MutableMapping[str, _T]):
    """Entries by name, ours first. Iterating imports those of other packages and leaves out what cannot be used.

    Args:
        group: The entry points' group.
        kind: The type of an entry.
        ours: Songflow's own entries.
        reserved: Further names that no package can use.
        objection: Why an entry cannot stand beside the others; None if it can.
    """

    def __init__(
        self,
        group: str,
        kind: type[_T],
        ours: Iterable[_T],
        *,
        reserved: Iterable[str] = (),
        objection: Callable[[_T, Mapping[str, _T]], str | None] = lambda _one, _others: None,
    ) -> None:
        self._group = group
        self._kind = kind
        self._entries: dict[str, _T] = {one.name: one for one in ours}
        self._ours = frozenset(self._entries)
        self._reserved = frozenset(reserved)
        self._objection = objection
        self._faults: dict[str, str] = {}
        self._loading: set[str] = set()

    @property
    def ours(self) -> dict[str, _T]:
        """Songflow's own entries."""
        return {name: entry for name, entry in self._entries.items() if name in self._ours}

    def names(self) -> tuple[str, ...]:
        """All names, without importing anything; those of entries that cannot be used are among them."""
        return tuple(dict.fromkeys((*self._entries, *self._installed())))

    def is_installed(self, name: str) -> bool:
        """True for a name that another package declares."""
        return name not in self._ours and name in self._installed()

    def fault(self, name: str) -> str | None:
        """Why a declared entry cannot be used, with its package; None if it can, or if there is none of this name."""
        return None if name in self else self._faults.get(name)

    def __getitem__(self, name: str) -> _T:
        if name not in self._entries:
            self._load(name)
        return self._entries[name]

    def __setitem__(self, name: str, entry: _T) -> None:
        self._entries[name] = entry

    def __delitem__(self, name: str) -> None:
        del self._entries[name]

    def __iter__(self) -> Iterator[str]:
        there = tuple(self._entries)
        yield from there
        yield from (name for name in self._installed() if name not in there and name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _installed(self) -> Mapping[str, tuple[_Declared, ...]]:
        """What other packages declare by a name that is not ours; a name of ours is reported once."""
        found = _declared().get(self._group)
        if not found:  # registries are read many times for each request
            return {}
        taken = {name for name in found if name in self._ours | self._reserved}
        for name in sorted(taken - self._faults.keys()):
            self._refuse(name, found[name], "Songflow has one of that name itself")
        return {name: declared for name, declared in found.items() if name not in taken}

    def _load(self, name: str) -> None:
        """Import a declared entry, unless it cannot be used."""
        if name in self._faults or name in self._loading:
            return
        declared = self._installed().get(name)
        if declared is None:
            return
        if len(declared) > 1:
            self._refuse(name, declared, "each of them declares it, so uninstall all but one")
            return
        self._loading.add(name)
        try:
            self._entries[name] = self._imported(name, declared[0].value)
        except (Exception, SystemExit) as error:
            self._refuse(name, declared, f"{type(error).__name__}: {error}")
        finally:
            self._loading.discard(name)

    def _imported(self, name: str, value: str) -> _T:
        module, _, attribute = value.partition(":")
        entry = getattr(import_module(module.strip()), attribute.strip())
        if not isinstance(entry, self._kind):
            raise TypeError(f"{value} is a {type(entry).__name__} and no {self._kind.__name__}")
        if entry.name != name:
            raise ValueError(f"{value} is named {entry.name!r}")
        if not _NAME.fullmatch(name):
            raise ValueError("a name is made of small letters and digits, with dashes between them")
        if (objection := self._objection(entry, self._entries)) is not None:
            raise ValueError(objection)
        return entry

    def _refuse(self, name: str, declared: Iterable[_Declared], reason: str) -> None:
        packages = ", ".join(one.package for one in declared)
        self._faults[name] = f"{packages}: {reason}"
        log.warning("%s: the entry point %r of %s is not used: %s.", packages, name, self._group, reason)


@cache
def _declared() -> dict[str, dict[str, tuple[_Declared, ...]]]:
    """The entry points of our groups by group and name.

    `importlib.metadata.entry_points` parses the files of all packages, which takes 10 ms of each command's start. This
    reads them, and parses those that mention us.
    """
    found: dict[str, dict[str, list[_Declared]]] = defaultdict(lambda: defaultdict(list))
    seen: set[str] = set()
    for folder in _folders_with_entries():
        from importlib.metadata import PathDistribution

        distribution = PathDistribution(folder)
        try:
            package = distribution.name
            if package.lower() in seen:  # as for imports, the first folder counts
                continue
            seen.add(package.lower())
            points = list(distribution.entry_points)
            package = f"{package} {distribution.version}"
        except Exception as error:
            log.warning("%s cannot be read (%s): what it declares is left out.", folder, type(error).__name__)
            continue
        for point in points:
            if point.group.startswith(_GROUPS):
                found[point.group][point.name].append(_Declared(point.value, package))
    return {
        group: {name: tuple(entries) for name, entries in names.items()} for group, names in found.items()
    }


def _folders_with_entries() -> Iterator[Path]:
    """The metadata folders of installed packages whose entry points mention us."""
    for place in sys.path:
        try:
            with os.scandir(place or ".") as listed:
                folders = [one.path for one in listed if one.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for folder in sorted(folders):
            with suppress(OSError):
                path = Path(folder)
                if _MARK in (path / "entry_points.txt").read_bytes():
                    yield path
