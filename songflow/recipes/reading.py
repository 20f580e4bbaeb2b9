"""Read a recipe from YAML text or plain data, and report all of its faults at once.

core:                      # fields of SongRequest under their wire names
  prompt: ${prompt}
  take: longest            # first (the default), longest, {best: rms_db}, all, ask
steps:
  - name: intro
    place: intro           # intro, front, back, outro, or a number with mode: precede or continuation
    from: core             # the default is the step before
    lyrics_type: instrumental
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from songflow.accounts import DEFAULT_PRICES
from songflow.documents.validation import Reader
from songflow.documents.yaml_file import Document, Fault, Place, read_document
from songflow.errors import InvalidRequest
from songflow.families.family import Family, Mode, Request
from songflow.families.registry import (
    extension_only,
    extension_request,
    family_of_fields,
    family_of_model,
    parse_request,
    request_fields,
    source_fields,
)
from songflow.library.review import MEASURES, Review, read_review
from songflow.recipes.finishing import read_finish
from songflow.recipes.model import CORE, NAME, Recipe, Rule, Step, TakeRule
from songflow.recipes.sizes import Link, circles, in_order, price_range
from songflow.recipes.variables import Values, substituted
from songflow.settings import amount, range_text

__all__ = ["plain_document", "read_recipe", "recipe_of_text"]

DEFAULT_ASK_TIMEOUT = 3600.0
LONGEST_ASK_TIMEOUT = 30 * 86400.0

_FIELDS = tuple(name for name in request_fields() if name not in {"mode", *source_fields()})
_EVERY_STEP = ("take", "on_failed_take", "review")
_OF_THE_CORE = (*_EVERY_STEP, *(name for name in _FIELDS if name not in extension_only()))
_OF_A_STEP = ("name", "from", "mode", "place", *_EVERY_STEP, *_FIELDS)
_OF_A_RECIPE = (
    "name", "description", "variables", "budget", "ask_timeout", "ask_default", "on_failed_take", "review", "core",
    "steps", "finish",
)  # fmt: skip
_NOTHING: Mapping[str, Any] = MappingProxyType({})
# The prompt of a stand-in parent, to validate an extension whose own parent is not valid.
_ANY_PROMPT = "any"


def recipe_of_text(
    text: str, name: str, given: Values = _NOTHING, prices: Mapping[str, float] = DEFAULT_PRICES
) -> Recipe:
    """Read a recipe from YAML text; `name` is its name in error messages.

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
    """Read the recipe of a document.

    Args:
        document: The document.
        given: Values of its variables.
        prices: Units per generation by model, to compare the recipe with its own budget.
        faults: Faults found before, to report together with the others.

    Raises:
        InvalidDocument: with every fault and its line, including `faults`.
    """
    reader = Reader(document, faults)
    if not isinstance(document.data, Mapping):
        reader.fault((), "must be a mapping with a core and steps")
        reader.refuse()
    data = reader.known((), substituted(reader, given), _OF_A_RECIPE)
    drafts = _drafts(reader, data)
    _check_sources(reader, drafts)
    recipe = Recipe(
        name=reader.text(("name",), data.get("name"), document.name),
        description=reader.text(("description",), data.get("description")),
        steps=_steps(reader, drafts),
        budget=_budget(reader, data.get("budget"), drafts, prices),
        ask_timeout=reader.number(("ask_timeout",), data.get("ask_timeout"), 1, LONGEST_ASK_TIMEOUT)
        or DEFAULT_ASK_TIMEOUT,
        ask_default=_default_answer(reader, data.get("ask_default")),
        finish=read_finish(reader, data.get("finish")),
    )
    reader.refuse()
    return recipe


# --- the parts of a recipe ---------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Draft:
    """A step before its request is built."""

    name: str
    place: Place
    source: str | None
    take: TakeRule
    stop_at_failed: bool
    review: Review | None
    fields: dict[str, Any]
    mode: Any = None
    where: Any = None


def _drafts(reader: Reader, data: Mapping[str, Any]) -> list[_Draft]:
    stops = _stops(reader, (), data, False)
    review = read_review(reader, ("review",), data.get("review"))
    drafts: list[_Draft] = []
    core = data.get("core")
    if isinstance(core, Mapping):
        drafts.append(_draft(reader, ("core",), core, CORE, None, stops, review))
    elif isinstance(core, list):
        reader.fault(("core",), "is a list: a recipe has one core")
    else:
        reader.fault(("core",), "is required: the fields of the song that the recipe begins with")
    before = CORE
    for number, step in enumerate(reader.items(("steps",), data.get("steps"))):
        place = ("steps", number)
        if not isinstance(step, Mapping):
            reader.fault(place, "must be a mapping with a name, a place and the fields that differ")
            continue
        draft = _draft(reader, place, step, _step_name(reader, place, step, drafts), before, stops, review)
        drafts.append(draft)
        before = draft.name
    return drafts


def _draft(
    reader: Reader,
    place: Place,
    given: Mapping[str, Any],
    name: str,
    before: str | None,
    stops: bool,
    review: Review | None,
) -> _Draft:
    step = reader.known(place, given, _OF_THE_CORE if before is None else _OF_A_STEP)
    source = step.get("from", before)
    if before is not None and (not isinstance(source, str) or not source):
        reader.fault((*place, "from"), "names no source: a step, or leave it out for the step before")
        source = before
    mode = step.get("mode")
    if mode == Mode.REGULAR:
        reader.fault((*place, "mode"), "is regular, a second core: a recipe has one, and steps extend it")
        mode = None
    return _Draft(
        name=name,
        place=place,
        source=source,
        take=_take(reader, (*place, "take"), step.get("take")),
        stop_at_failed=_stops(reader, place, step, stops),
        review=read_review(reader, (*place, "review"), step["review"]) if "review" in step else review,
        fields={key: step[key] for key in _FIELDS if step.get(key) is not None},
        mode=mode,
        where=step.get("place"),
    )


def _step_name(reader: Reader, place: Place, step: Mapping[str, Any], drafts: Sequence[_Draft]) -> str:
    """The step's name; a name that no step can have if its own is not valid."""
    name = step.get("name")
    first = next((draft for draft in drafts if draft.name == name), None)
    if name == CORE:
        message = "is 'core', a second core: a recipe has one, and steps extend it"
    elif not isinstance(name, str) or not NAME.fullmatch(name):
        value = "is required" if name is None else f"is {name!r}"
        message = f"{value}: a name of small letters, digits, - and _, at most 32"
    elif first is not None:
        line = reader.document.line_of(first.place)
        message = f"is {name!r}, as another step is called" + (f" (line {line})" if line else "")
    else:
        return name
    reader.fault((*place, "name"), message)
    return ".".join(map(str, place))


def _stops(reader: Reader, place: Place, data: Mapping[str, Any], default: bool) -> bool:
    at, given = (*place, "on_failed_take"), data.get("on_failed_take")
    return reader.one_of(at, given, ("other", "stop"), "stop" if default else "other") == "stop"


def _take(reader: Reader, place: Place, given: Any) -> TakeRule:
    if isinstance(given, Mapping):
        best = reader.known(place, given, ("best", "prefer"))
        measure = reader.one_of((*place, "best"), best.get("best"), tuple(MEASURES))
        prefer = reader.one_of((*place, "prefer"), best.get("prefer"), ("highest", "lowest"), "highest")
        return TakeRule(Rule.BEST, measure, prefer == "lowest")
    if given == Rule.BEST:
        reader.fault(place, "is 'best' without a measure: write {best: rms_db}")
        return TakeRule()
    rules = [str(rule) for rule in Rule if rule is not Rule.BEST]
    return TakeRule(Rule(reader.one_of(place, given, rules, str(Rule.FIRST), also=", {best: MEASURE}")))


def _default_answer(reader: Reader, given: Any) -> TakeRule:
    rule = _take(reader, ("ask_default",), given)
    if rule.rule in {Rule.ASK, Rule.ALL}:
        reader.fault(("ask_default",), f"is {given!r}: allowed are first, longest, {{best: MEASURE}}")
    return rule


# --- the whole recipe --------------------------------------------------------------------------------------------


def _check_sources(reader: Reader, drafts: Sequence[_Draft]) -> None:
    names = [draft.name for draft in drafts]
    for draft in drafts:
        if draft.source is not None and draft.source not in names:
            reader.fault(
                (*draft.place, "from"),
                f"is {draft.source!r}, which is not the name of a step ({', '.join(names)})",
            )
    for circle in circles(_links(drafts)):
        first = next(draft for draft in drafts if draft.name in circle)
        reader.fault((*first.place, "from"), f"forms a circle: {' <- '.join([*circle, circle[0]])}")


def _steps(reader: Reader, drafts: Sequence[_Draft]) -> tuple[Step, ...]:
    """The steps in order, without those whose request is not valid (each of these is a fault)."""
    steps: dict[str, Step] = {}
    by_name = {draft.name: draft for draft in drafts}
    ordered = in_order(_links(drafts))
    for name in [*ordered, *(name for name in by_name if name not in ordered)]:
        draft = by_name[name]
        parent = steps.get(draft.source or "")
        request = _request(reader, draft, parent.request if parent else None)
        if request is not None:
            steps[name] = Step(name, draft.source, request, draft.take, draft.stop_at_failed, draft.review)
    return tuple(steps.values())


def _request(reader: Reader, draft: _Draft, parent: Request | None) -> Request | None:
    """The step's request; fields that are not valid are removed, so that rules across fields are checked too."""
    fields, whole = dict(draft.fields), True
    family = family_of_fields(fields) if parent is None else family_of_model(parent.model_type)
    start_field = family.start_field
    place, start = (None, {}) if draft.source is None else _where(reader, draft, family)
    while True:
        try:
            if draft.source is None:
                request = parse_request(fields)
            else:
                source = parent or parse_request({"prompt": _ANY_PROMPT})
                request = extension_request(
                    source,
                    draft.source,
                    generation_id=draft.source,
                    mode=draft.mode,
                    place=place,
                    overrides={**fields, **start},
                )
        except InvalidRequest as error:
            wrong = _report(reader, draft, error, start_field)
            whole = False
            if not wrong & fields.keys():
                return None
            fields = {name: value for name, value in fields.items() if name not in wrong}
            if "prompt" in wrong:
                fields["prompt"] = _ANY_PROMPT
        else:
            return request if whole else None


def _report(reader: Reader, draft: _Draft, error: InvalidRequest, start_field: str) -> set[str]:
    """Add each fault of a request at its line; returns the names of the faulty fields."""
    names: set[str] = set()
    for fault in error.faults:
        name, _, message = fault.partition(" ")
        names.add(name)
        if name == start_field and name not in draft.fields:
            name = "place"  # the key in the document
        reader.fault((*draft.place, name), message)
    return names


def _where(reader: Reader, draft: _Draft, family: Family) -> tuple[str | None, dict[str, Any]]:
    """A step's placement: a name, or a number as the family's `start_field`."""
    at, start_field = (*draft.place, "place"), family.start_field
    if not family.places:
        return _where_in_seconds(reader, draft, start_field)
    if draft.where is None:
        if draft.mode is None and start_field not in draft.fields:
            reader.fault(at, f"is required: {', '.join(family.places)}, or a number with a mode")
            return "outro", {}
        return None, {}
    if isinstance(draft.where, str):
        return draft.where, {}
    if draft.mode is None:
        reader.fault((*draft.place, "mode"), "is required with a place in numbers: precede or continuation")
        return "outro", {}
    if start_field in draft.fields:
        reader.fault(at, f"and {start_field} set the same field: give one of them")
    return None, {start_field: draft.where}


def _where_in_seconds(reader: Reader, draft: _Draft, start_field: str) -> tuple[str | None, dict[str, Any]]:
    """The placement of a step whose family has no named ones: a second of its source."""
    at = (*draft.place, "place")
    if isinstance(draft.where, str):
        return draft.where, {start_field: draft.fields.get(start_field, 1.0)}
    if draft.where is None and start_field not in draft.fields:
        reader.fault(at, f"is required: the second of its source at which it begins (also as {start_field})")
        return None, {start_field: 1.0}
    if draft.where is not None and start_field in draft.fields:
        reader.fault(at, f"and {start_field} set the same field: give one of them")
    return None, {} if draft.where is None else {start_field: draft.where}


def _budget(
    reader: Reader, given: Any, drafts: Sequence[_Draft], prices: Mapping[str, float]
) -> float | None:
    """The recipe's own budget, compared with what its steps cost."""
    budget = reader.number(("budget",), given, 0, 1e12)
    least, most = price_range(_links(drafts), _models(drafts), prices)
    if budget is not None and most > budget + 1e-6:
        reader.fault(("budget",), f"is {amount(budget)}, and the recipe costs {range_text(least, most)}")
    return budget


def _models(drafts: Sequence[_Draft]) -> dict[str, str]:
    """Each step's model: its own, or that of its nearest ancestor that sets one."""
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
