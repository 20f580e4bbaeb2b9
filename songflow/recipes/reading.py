"""From a YAML text, or the same as plain data, to a recipe; or to all of its faults at once, with their lines.

core:                      # fields of SongRequest under their wire names
  prompt: ${prompt}
  take: longest            # first (the default), longest, {best: rms_db}, all, ask
steps:
  - name: intro
    place: intro           # intro, front, back, outro, or a number with mode: precede or continuation
    from: core             # the step before, where it is left out
    lyrics_type: instrumental
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from songflow.accounts import DEFAULT_PRICES
from songflow.documents.yaml_file import Document, Fault, Place, read_document, refuse_faults
from songflow.errors import InvalidRequest
from songflow.families.family import Mode, Request
from songflow.families.registry import (
    extension_request,
    family_of_fields,
    parse_request,
    place_names,
    request_fields,
)
from songflow.recipes.model import CORE, MEASURES, NAME, Recipe, Rule, Step, TakeRule
from songflow.recipes.sizes import Link, circles, in_order, price_range
from songflow.recipes.variables import Values, substituted

__all__ = ["plain_document", "read_recipe", "recipe_of_text"]

DEFAULT_ASK_TIMEOUT = 3600.0
LONGEST_ASK_TIMEOUT = 30 * 86400.0

_FIELDS = tuple(name for name in request_fields() if name not in {"mode", "source_song_id"})
_EVERY_STEP = ("take", "on_failed_take")
_OF_THE_CORE = (*_EVERY_STEP, *(name for name in _FIELDS if name != "context_length"))
_OF_A_STEP = ("name", "from", "mode", "place", *_EVERY_STEP, *_FIELDS)
_OF_A_RECIPE = (
    "name",
    "description",
    "variables",
    "budget",
    "ask_timeout",
    "ask_default",
    "on_failed_take",
    "core",
    "steps",
)
_NOTHING: Mapping[str, Any] = MappingProxyType({})
# The prompt of a parent to check an extension against whose own parent is wrong.
_ANY_PROMPT = "any"


@dataclass(slots=True)
class _Draft:
    """A step as it is written."""

    name: str
    place: Place
    source: str | None
    take: TakeRule
    stop_at_failed: bool
    fields: dict[str, Any]
    mode: Any = None
    where: Any = None


@dataclass(slots=True)
class _Reader:
    """One document on its way; every fault is kept until the end."""

    document: Document
    faults: list[Fault] = field(default_factory=list)

    def fault(self, place: Place, message: str) -> None:
        self.faults.append(self.document.fault(place, message))

    def one_of(self, place: Place, value: Any, allowed: Sequence[str], default: str) -> str:
        if value is None:
            return default
        if isinstance(value, str) and value in allowed:
            return value
        self.fault(place, f"is {value!r}: allowed are {', '.join(allowed)}")
        return default

    def number(self, place: Place, value: Any, least: float, most: float) -> float | None:
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
            return float(value)
        self.fault(place, f"is {value!r}: allowed is a number from {least:g} to {most:g}")
        return None

    def refuse_unknown(self, place: Place, keys: Sequence[Any], allowed: Sequence[str]) -> None:
        for key in keys:
            if key not in allowed:
                self.fault((*place, str(key)), f"is not known here (there are: {', '.join(allowed)})")


def recipe_of_text(
    text: str, name: str, given: Values = _NOTHING, prices: Mapping[str, float] = DEFAULT_PRICES
) -> Recipe:
    """A recipe from YAML text; `name` is what messages call it.

    Raises:
        InvalidDocument: with every fault and its line.
    """
    twice: list[Fault] = []
    return read_recipe(read_document(text, name, twice=twice), given, prices, twice)


def plain_document(data: Mapping[str, Any], name: str = "the recipe") -> Document:
    """Plain data, such as a flow's parameter, as a document without lines."""
    return Document(name, dict(data))


def read_recipe(
    document: Document,
    given: Values = _NOTHING,
    prices: Mapping[str, float] = DEFAULT_PRICES,
    faults: Sequence[Fault] = (),
) -> Recipe:
    """The recipe of a document.

    Args:
        given: Values of its variables.
        prices: Units per generation by model, to hold the recipe against its own budget.
        faults: What is known to be wrong already.

    Raises:
        InvalidDocument: with every fault and its line, those of `faults` too.
    """
    reader = _Reader(document, list(faults))
    if not isinstance(document.data, Mapping):
        reader.fault((), "must be a mapping with a core and steps")
        refuse_faults(document.name, reader.faults)
    data = substituted(document, given, reader.faults)
    reader.refuse_unknown((), list(data), _OF_A_RECIPE)
    drafts = _drafts(reader, data)
    _check_sources(reader, drafts)
    recipe = Recipe(
        name=_text(reader, ("name",), data.get("name")) or document.name,
        description=_text(reader, ("description",), data.get("description")),
        steps=_steps(reader, drafts),
        budget=_budget(reader, data.get("budget"), drafts, prices),
        ask_timeout=reader.number(("ask_timeout",), data.get("ask_timeout"), 1, LONGEST_ASK_TIMEOUT)
        or DEFAULT_ASK_TIMEOUT,
        ask_default=_default_answer(reader, data.get("ask_default")),
    )
    refuse_faults(document.name, reader.faults)
    return recipe


# --- what is written ---------------------------------------------------------------------------------------------


def _drafts(reader: _Reader, data: Mapping[str, Any]) -> list[_Draft]:
    stops = _stops(reader, (), data, False)
    drafts: list[_Draft] = []
    core = data.get("core")
    if isinstance(core, Mapping):
        drafts.append(_draft(reader, ("core",), core, CORE, None, stops))
    elif isinstance(core, list):
        reader.fault(("core",), "is a list: a recipe has one core")
    else:
        reader.fault(("core",), "is required: the fields of the song that the recipe begins with")
    steps = data.get("steps") or []
    if not isinstance(steps, list):
        reader.fault(("steps",), "must be a list")
        return drafts
    before = CORE
    for number, step in enumerate(steps):
        place = ("steps", number)
        if not isinstance(step, Mapping):
            reader.fault(place, "must be a mapping with a name, a place and what is different")
            continue
        draft = _draft(reader, place, step, _step_name(reader, place, step, drafts), before, stops)
        drafts.append(draft)
        before = draft.name
    return drafts


def _draft(
    reader: _Reader, place: Place, step: Mapping[str, Any], name: str, before: str | None, stops: bool
) -> _Draft:
    allowed = _OF_THE_CORE if before is None else _OF_A_STEP
    reader.refuse_unknown(place, list(step), allowed)
    source = step.get("from", before)
    if before is not None and (not isinstance(source, str) or not source):
        reader.fault((*place, "from"), "names no source: a step, or leave it out for the step before")
        source = before
    if step.get("mode") == Mode.REGULAR:
        reader.fault((*place, "mode"), "is regular, a second core: a recipe has one, and steps extend it")
    return _Draft(
        name=name,
        place=place,
        source=source if before is not None else None,
        take=_take(reader, (*place, "take"), step.get("take")),
        stop_at_failed=_stops(reader, place, step, stops),
        fields={key: step[key] for key in _FIELDS if step.get(key) is not None and key in allowed},
        mode=None if step.get("mode") == Mode.REGULAR else step.get("mode"),
        where=step.get("place"),
    )


def _step_name(reader: _Reader, place: Place, step: Mapping[str, Any], drafts: Sequence[_Draft]) -> str:
    name = step.get("name")
    at = (*place, "name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        said = "is required" if name is None else f"is {name!r}"
        reader.fault(at, f"{said}: a name of small letters, digits, - and _, at most 32")
        return f"steps.{place[1]}"
    if name == CORE:
        reader.fault(at, "is 'core', a second core: a recipe has one, and steps extend it")
    elif any(draft.name == name for draft in drafts):
        first = next(draft for draft in drafts if draft.name == name)
        line = reader.document.line_of(first.place)
        reader.fault(at, f"is {name!r}, as another step is called" + (f" (line {line})" if line else ""))
    else:
        return name
    return f"steps.{place[1]}"


def _stops(reader: _Reader, place: Place, data: Mapping[str, Any], default: bool) -> bool:
    given = data.get("on_failed_take")
    words = {"other": False, "stop": True}
    word = reader.one_of((*place, "on_failed_take"), given, tuple(words), "stop" if default else "other")
    return words[word]


def _take(reader: _Reader, place: Place, given: Any) -> TakeRule:
    if isinstance(given, Mapping):
        return _best(reader, place, given)
    if given == Rule.BEST:
        reader.fault(place, "is 'best' without a measure: write {best: rms_db}")
        return TakeRule()
    rules = [str(rule) for rule in Rule if rule is not Rule.BEST]
    return TakeRule(Rule(reader.one_of(place, given, (*rules, "{best: MEASURE}"), str(Rule.FIRST))))


def _best(reader: _Reader, place: Place, given: Mapping[str, Any]) -> TakeRule:
    reader.refuse_unknown(place, list(given), ("best", "prefer"))
    measure = given.get("best")
    if not isinstance(measure, str) or measure not in MEASURES:
        reader.fault((*place, "best"), f"is {measure!r}: allowed are {', '.join(MEASURES)}")
        return TakeRule()
    prefer = reader.one_of((*place, "prefer"), given.get("prefer"), ("highest", "lowest"), "highest")
    return TakeRule(Rule.BEST, measure, prefer == "lowest")


def _default_answer(reader: _Reader, given: Any) -> TakeRule:
    rule = _take(reader, ("ask_default",), given)
    if rule.rule in {Rule.ASK, Rule.ALL}:
        reader.fault(("ask_default",), f"is {given!r}: allowed are first, longest, {{best: MEASURE}}")
    return rule


def _text(reader: _Reader, place: Place, given: Any) -> str:
    if given is None or isinstance(given, str):
        return given or ""
    reader.fault(place, "must be a text")
    return ""


# --- what it means together --------------------------------------------------------------------------------------


def _check_sources(reader: _Reader, drafts: Sequence[_Draft]) -> None:
    names = [draft.name for draft in drafts]
    for draft in drafts:
        if draft.source is not None and draft.source not in names:
            reader.fault(
                (*draft.place, "from"), f"is {draft.source!r}, which no step is called ({', '.join(names)})"
            )
    for circle in circles(_links(drafts)):
        first = next(draft for draft in drafts if draft.name in circle)
        reader.fault((*first.place, "from"), f"goes round in a circle: {' <- '.join([*circle, circle[0]])}")


def _steps(reader: _Reader, drafts: Sequence[_Draft]) -> tuple[Step, ...]:
    """The steps in order, as far as their requests can be made; what cannot is a fault."""
    steps: dict[str, Step] = {}
    by_name = {draft.name: draft for draft in drafts}
    ordered = in_order(_links(drafts))
    for name in [*ordered, *(name for name in by_name if name not in ordered)]:
        draft = by_name[name]
        parent = steps.get(draft.source or "")
        request = _request(reader, draft, parent.request if parent else None)
        if request is not None:
            steps[name] = Step(name, draft.source, request, draft.take, draft.stop_at_failed)
    return tuple(steps.values())


def _request(reader: _Reader, draft: _Draft, parent: Request | None) -> Request | None:
    """The step's request. What fields say together is looked at again without those that are wrong alone."""
    fields, whole = dict(draft.fields), True
    place, start = (None, {}) if draft.source is None else _where(reader, draft)
    while True:
        try:
            if draft.source is None:
                request = parse_request(fields)
            else:
                source = parent or parse_request({"prompt": _ANY_PROMPT})
                request = extension_request(
                    source, draft.source, mode=draft.mode, place=place, overrides={**fields, **start}
                )
        except InvalidRequest as error:
            wrong = _tell(reader, draft, error)
            whole = False
            if not wrong & fields.keys():
                return None
            fields = {name: value for name, value in fields.items() if name not in wrong}
            if "prompt" in wrong:
                fields["prompt"] = _ANY_PROMPT
        else:
            return request if whole else None


def _tell(reader: _Reader, draft: _Draft, error: InvalidRequest) -> set[str]:
    """Each fault of a request at its line; what returns are the fields' names."""
    names: set[str] = set()
    for fault in error.faults:
        name, _, message = fault.partition(" ")
        names.add(name)
        if name == "song_section_start" and name not in draft.fields:
            name = "place"  # where it was written
        reader.fault((*draft.place, name), message)
    return names


def _where(reader: _Reader, draft: _Draft) -> tuple[str | None, dict[str, Any]]:
    """A placement by name, or by number as the field that it stands for."""
    at = (*draft.place, "place")
    if draft.where is None:
        if draft.mode is None and "song_section_start" not in draft.fields:
            reader.fault(at, f"is required: {', '.join(place_names())}, or a number with a mode")
            return "outro", {}
        return None, {}
    if isinstance(draft.where, str):
        return draft.where, {}
    if draft.mode is None:
        reader.fault((*draft.place, "mode"), "is required with a place in numbers: precede or continuation")
        return "outro", {}
    if "song_section_start" in draft.fields:
        reader.fault(at, "and song_section_start say the same: give one of them")
    return None, {"song_section_start": draft.where}


def _budget(
    reader: _Reader, given: Any, drafts: Sequence[_Draft], prices: Mapping[str, float]
) -> float | None:
    """The recipe's own cap, held against what it costs as far as that can be told."""
    budget = reader.number(("budget",), given, 0, 1e12)
    if budget is None:
        return None
    least, most = price_range(_links(drafts), _models(drafts), prices)
    if most > budget + 1e-6:
        range_text = f"{most:g}" if least == most else f"{least:g} to {most:g}"
        reader.fault(("budget",), f"is {budget:g} units, and the recipe costs {range_text}")
    return budget


def _models(drafts: Sequence[_Draft]) -> dict[str, str]:
    """Each step's model: its own, or that of the nearest step above it that says one."""
    by_name = {draft.name: draft for draft in drafts}
    default = family_of_fields({}).request.model_fields["model_type"].default
    models: dict[str, str] = {}
    for draft in drafts:
        at: _Draft | None = draft
        seen: set[str] = set()
        while at is not None and "model_type" not in at.fields and at.name not in seen:
            seen.add(at.name)
            at = by_name.get(at.source or "")
        models[draft.name] = str(at.fields.get("model_type", default) if at is not None else default)
    return models


def _links(drafts: Sequence[_Draft]) -> dict[str, Link]:
    return {draft.name: Link(draft.source, draft.take.rule is Rule.ALL) for draft in drafts}
