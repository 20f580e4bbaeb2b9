"""Suggest new cells of a sweep's space that should be rated well (needs the extra `search`).

The search learns from the library's rated songs in the sweep's space and asks Optuna (TPE) for promising points,
without those that the constraints exclude or that exist already. It makes nothing and pays nothing: suggestions
are rows for a spec's `list`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from songflow.documents.yaml_file import write_document
from songflow.errors import InputError, InvalidRequest
from songflow.families.family import Request
from songflow.families.field_types import FieldKind
from songflow.families.registry import family_of_fields, fields_of_kind, parse_request, place_at
from songflow.sweeps.sampling import KINDS
from songflow.sweeps.spec import Row, Sweep
from songflow.sweeps.values import FIELDS, PLACE, Range, read_range

if TYPE_CHECKING:
    import optuna
    import pandas

__all__ = ["MAX_SUGGESTIONS", "Seen", "next_spec", "seen_in", "suggest"]

MAX_SUGGESTIONS = 1000
_ASKS_FOR_EACH = 30
# Seeds are random: the ratings of some do not predict others.
_NOT_SEARCHED = fields_of_kind(FieldKind.SEED)


@dataclass(frozen=True, slots=True)
class Knob:
    """One search dimension: a number of a range, or one of several rows of fields.

    Attributes:
        fields: The fields that it sets.
        rows: The values of all its fields, for each choice; empty for a range.
    """

    fields: tuple[str, ...]
    rows: tuple[Row, ...] = ()
    span: Range | None = None

    @property
    def name(self) -> str:
        """Its name in Optuna."""
        return "+".join(self.fields)

    def read(self, values: Mapping[str, Any]) -> float | int | None:
        """The number or choice of a request's values; None if they are outside the space."""
        if self.span is not None:
            value = values[self.fields[0]]
            return value if value is not None and self.span.low <= value <= self.span.high else None
        fits = (all(values[name] == row[name] for name in row) for row in self.rows)
        return next((place for place, fit in enumerate(fits) if fit), None)

    def row(self, chosen: float) -> Row:
        """The field values of a number or choice."""
        if self.span is None:
            return self.rows[int(chosen)]
        share = (chosen - self.span.low) / (self.span.high - self.span.low)
        return {self.fields[0]: self.span.at(share)}


@dataclass(frozen=True, slots=True)
class Seen:
    """A generation in the space: its choices, and the mean rating of its takes (None: not rated)."""

    chosen: Mapping[str, float]
    rating: float | None


def seen_in(sweep: Sweep, frame: pandas.DataFrame) -> list[Seen]:
    """The generations of a manifest in a sweep's space, oldest first."""
    knobs = _knobs(sweep)
    seen: list[Seen] = []
    for _, rows in frame.groupby("key", sort=False):
        request = _request_of(rows.iloc[0])
        chosen = None if request is None else _read(sweep, knobs, request)
        if chosen is not None:
            ratings = rows["rating"].dropna()
            seen.append(Seen(chosen, float(ratings.mean()) if len(ratings) else None))
    return seen


def suggest(sweep: Sweep, seen: Iterable[Seen], count: int, *, seed: int = 0) -> list[Row]:
    """Suggest up to `count` new rows of fields that should be rated well; repeatable for one history and seed.

    Fewer are returned if the space has no more rows that are new and allowed.

    Raises:
        InputError: Optuna is not installed, `count` is out of range, or the sweep has nothing to search.
    """
    if not 1 <= count <= MAX_SUGGESTIONS:
        raise InputError(
            f"The number of suggestions is {count}: allowed are 1 to {MAX_SUGGESTIONS}.", next="correct it."
        )
    knobs = _knobs(sweep)
    if not knobs:
        raise InputError(
            f"{sweep.document.name} has nothing to search: only one value for each field (a seed is not searched).",
            next="give it ranges under random, sobol or lhs, or several values under grid, zip or list.",
        )
    history = list(seen)
    study = _study(history, knobs, seed)
    known = {_same(one.chosen) for one in history}
    rows: list[Row] = []
    valid = 0
    for _ in range(count * _ASKS_FOR_EACH):
        trial = study.ask(_distributions(knobs))
        row = {name: value for knob in knobs for name, value in knob.row(trial.params[knob.name]).items()}
        request = _request(sweep, row)
        valid += request is not None
        chosen = None if request is None else _read(sweep, knobs, request)
        if request is None or chosen is None or _same(chosen) in known or not _allowed(sweep, request, row):
            study.tell(trial, state=_optuna().trial.TrialState.FAIL)
            continue
        known.add(_same(chosen))
        rows.append(row)
        if len(rows) == count:
            break
    if not valid:
        raise InputError(
            "No cell of the sweep is a valid request without what an extension inherits from its song.",
            next="write its prompt into the spec, and see `songflow sweep plan`.",
        )
    return rows


def next_spec(sweep: Sweep, rows: Sequence[Row]) -> str:
    """A spec (YAML) whose cells are the suggestions."""
    data: dict[str, Any] = {
        "name": f"{sweep.name} next"[:60],
        **sweep.fixed,
        "list": [dict(row) for row in rows],
    }
    if sweep.replicates > 1:
        data["replicates"] = sweep.replicates
    if (review := sweep.document.data.get("review")) is not None:
        data["review"] = review
    return write_document(data)


# --- the space ---


def _knobs(sweep: Sweep) -> tuple[Knob, ...]:
    """The search dimensions: each sampled field, each grid axis, and the rows of a zip or a list."""
    ranges, sampled = _sampled(sweep)
    knobs: list[Knob] = []
    for factor in sweep.factors:
        names = [
            name
            for name in dict.fromkeys(name for row in factor for name in row)
            if name not in _NOT_SEARCHED
        ]
        groups = [(name,) for name in names] if sampled.issuperset(names) else [tuple(names)]
        for group in groups:
            if group and group[0] in ranges:
                knobs.append(Knob(group, span=ranges[group[0]]))
                continue
            rows = [{name: row[name] for name in group if name in row} for row in factor]
            distinct = tuple({json.dumps(row, sort_keys=True): row for row in rows if row}.values())
            if len(distinct) > 1:
                knobs.append(Knob(group, rows=distinct))
    return tuple(knobs)


def _sampled(sweep: Sweep) -> tuple[dict[str, Range], set[str]]:
    """The ranges of samples, and all sampled fields."""
    fields = {
        name: given
        for kind in KINDS
        for name, given in sweep.document.data.get(kind, {}).get("fields", {}).items()
    }
    ranges = {
        name: read_range(name, given)
        for name, given in fields.items()
        if isinstance(given, dict) and "from" in given and name not in _NOT_SEARCHED
    }
    return ranges, set(fields)


def _read(sweep: Sweep, knobs: Sequence[Knob], request: Request) -> dict[str, float] | None:
    """The choices of a request in the space; None if it differs in any other field."""
    values = {name: getattr(request, name, None) for name in FIELDS if name != PLACE}
    values[PLACE] = place_at(request.model_type, request.mode, request.start)
    chosen = {knob.name: knob.read(values) for knob in knobs}
    known = {name: number for name, number in chosen.items() if number is not None}
    if len(known) < len(knobs):
        return None
    row: dict[str, Any] = {}
    for knob in knobs:
        # A number with more digits than a sample is still in the range.
        row |= (
            knob.row(known[knob.name]) if knob.span is None else {name: values[name] for name in knob.fields}
        )
    same = _request(sweep, row)
    if same is None or _searched(same) != _searched(request):
        return None
    return known


def _searched(request: Request) -> dict[str, Any]:
    return request.model_dump(exclude=set(_NOT_SEARCHED))


def _request(sweep: Sweep, row: Row) -> Request | None:
    fields = {**sweep.fixed, **row}
    if (place := fields.pop(PLACE, None)) is not None:
        fields |= family_of_fields(fields).placement(place)
    try:
        return parse_request(fields)
    except InvalidRequest:
        return None


def _allowed(sweep: Sweep, request: Request, row: Row) -> bool:
    values = {name: row.get(PLACE) if name == PLACE else getattr(request, name, None) for name in FIELDS}
    return all(constraint.holds(values) for constraint in sweep.constraints)


def _request_of(row: pandas.Series[Any]) -> Request | None:
    """Rebuild the request of a manifest row."""
    import pandas

    columns: dict[str, Any] = {
        name.removeprefix("request."): row[name] for name in row.index if name.startswith("request.")
    }
    fields = columns | {"mode": row["mode"], "source_song_id": row["parent_song_id"]}
    known = {name: value for name, value in fields.items() if pandas.notna(value)}
    # Strict fields refuse numpy's numbers.
    plain = {name: value.item() if hasattr(value, "item") else value for name, value in known.items()}
    try:
        return family_of_fields(plain).request.from_sent_fields(plain)
    except InvalidRequest:
        return None


def _same(chosen: Mapping[str, float]) -> str:
    return json.dumps(dict(chosen), sort_keys=True)


# --- Optuna ---


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise InputError(
            "Searching needs Optuna, which is not installed.",
            next="install it with: pip install 'songflow[search]'.",
        ) from None
    return optuna


def _study(history: Sequence[Seen], knobs: Sequence[Knob], seed: int) -> optuna.Study:
    """An Optuna study with every rated generation."""
    found = _optuna()
    found.logging.set_verbosity(found.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", found.exceptions.ExperimentalWarning)
        # constant_liar: suggestions of one batch differ from each other.
        sampler = found.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    study: optuna.Study = found.create_study(direction="maximize", sampler=sampler)
    distributions = _distributions(knobs)
    for one in history:
        if one.rating is not None:
            trial = found.trial.create_trial(
                params=dict(one.chosen), distributions=distributions, value=one.rating
            )
            study.add_trial(trial)
    return study


def _distributions(knobs: Sequence[Knob]) -> dict[str, Any]:
    found = _optuna().distributions
    return {
        knob.name: found.FloatDistribution(knob.span.low, knob.span.high)
        if knob.span is not None
        else found.CategoricalDistribution(range(len(knob.rows)))
        for knob in knobs
    }
