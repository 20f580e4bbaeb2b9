"""Results as HTML for notebooks: a player, title, length, parameters and cost of each take.

Titles, prompts, ids and errors come from strangers: all text is escaped, on one line, and kept from MathJax, whose
links would run what they name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Protocol

from songflow.documents.text import one_line
from songflow.notebooks.player import MOST_EMBEDDED_BYTES, has_player, player

__all__ = ["Origin", "result_html", "song_html"]

_TEXT_LENGTH = 240
# The classes that MathJax 2, 3 and 4 leave alone.
_BLOCK = '<div class="tex2jax_ignore mathjax_ignore" style="margin: 0.4em 0 0.8em">{}</div>'


@dataclass(frozen=True, slots=True)
class Origin:
    """The request that a take was made from, and what its generation cost.

    Attributes:
        parameters: The request's fields that are not at their default.
        cost: A phrase: "2 units", "1 unit, simulated: nothing is billed".
        simulated: True if a simulator made it.
    """

    parameters: Mapping[str, Any]
    cost: str
    simulated: bool = False


class Take(Protocol):
    """The facts of a take that are shown (`songflow.generation.results.SongResult`)."""

    @property
    def title(self) -> str | None: ...
    @property
    def song_id(self) -> str | None: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def path(self) -> str | None: ...
    @property
    def text(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def origin(self) -> Origin | None: ...


def song_html(take: Take) -> str:
    """One take."""
    return _BLOCK.format(_take(take, MOST_EMBEDDED_BYTES) + _origin(take.origin))


def result_html(facts: Mapping[str, str | None], takes: Sequence[Take]) -> str:
    """Takes under the facts of their generation; all players together embed at most `MOST_EMBEDDED_BYTES`.

    Args:
        facts: Facts by their heading; None is left out.
        takes: What was made. Parameters and cost that all of them share are shown once.
    """
    head = " · ".join(f"{_text(name)}: {_text(value)}" for name, value in facts.items() if value is not None)
    share = MOST_EMBEDDED_BYTES // max(1, sum(has_player(take.path) for take in takes))
    origins = [take.origin for take in takes]
    shared = origins[0] if origins and all(one == origins[0] for one in origins) else None
    each = (_take(take, share) + (_origin(take.origin) if shared is None else "") for take in takes)
    return _BLOCK.format("".join((f"<p><small>{head}</small></p>", _origin(shared), *each)))


def _take(take: Take, most_bytes: int) -> str:
    length = f" · {take.duration:.1f} s" if take.duration is not None else ""
    head = f"<p><b>{_text(take.title or take.song_id or 'a take')}</b>{length}</p>"
    if take.text is not None:
        return f"{head}<p>{'<br>'.join(_text(line) for line in take.text.splitlines())}</p>"
    if take.path is None:
        return f"{head}<p>not stored: {_text(take.error or 'not collected yet')}</p>"
    return f"{head}{player(take.path, most_bytes)}<br><small><code>{_text(take.path, 400)}</code></small>"


def _origin(origin: Origin | None) -> str:
    if origin is None:
        return ""
    fields = " · ".join(f"{_text(name)}: <i>{_text(value)}</i>" for name, value in origin.parameters.items())
    return f"<p><small>{fields}<br>cost of the generation: {_text(origin.cost)}</small></p>"


def _text(value: object, length: int = _TEXT_LENGTH) -> str:
    return escape(one_line(value, length))
