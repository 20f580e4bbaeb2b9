"""Several generations in one fetch: which ids it names, and each generation's own part of the answer."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from songflow.gateways.answer import Answer
from songflow.gateways.envelope import Envelope, parse_json
from songflow.gateways.fetch import FetchProblem, FetchProblemKind, classify_value, problem_of
from songflow.gateways.report import Report
from songflow.gateways.service import Question, Service

__all__ = ["BatchProblem", "Wanted", "read_batch"]

log = logging.getLogger("songflow.gateways")

# 4xx that say nothing against the request itself: a time limit, too early, too many.
_PASSING = (408, 425, 429)
# A body, an address or headers that are too long.
_TOO_LONG = (413, 414, 431)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One generation to fetch together with others, by its own id and those of its takes."""

    generation_id: str | None
    track_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchProblem:
    """A fetch of several generations without an answer to any of them.

    Attributes:
        problem: What went wrong.
        refused: The gateway does not take this request. It may still answer for each generation alone.
        too_long: The request is too long, or its answer was cut off for its length: fewer ids make both shorter.
    """

    problem: FetchProblem
    refused: bool = False
    too_long: bool = False


def read_batch(
    answer: Answer, service: Service, wanted: Sequence[Wanted], base_url: str
) -> list[Report | FetchProblem] | BatchProblem:
    """Each generation's report, or the problem with it, in the given order.

    Args:
        answer: The answer to `service.joint_question` of all their ids.
        service: Has a `batch`.
        wanted: The generations that were asked for.
        base_url: The gateway's address, for relative URLs.
    """
    batch = service.batch
    assert batch is not None
    try:
        value = parse_json(answer.body)
    except ValueError:
        return _no_answer(answer, problem_of(answer, Envelope()))
    try:
        envelope = service.read_envelope(value)
        success = 200 <= answer.status < 300
        if not success or (envelope.style is not None and not envelope.says_success):
            problem = problem_of(answer, envelope)
            if problem.kind is FetchProblemKind.NOT_FOUND:
                return [problem] * len(wanted)
            return BatchProblem(problem, refused=True) if success else _no_answer(answer, problem)
        elements = _by_id(batch.elements(value))
    except Exception:
        # An answer may hold anything: each generation can still be asked for alone.
        log.debug("The answer to several ids could not be read.", exc_info=True)
        return BatchProblem(problem_of(answer, Envelope()), refused=True)
    return [_part(elements, answer, service, one, base_url) for one in wanted]


def _no_answer(answer: Answer, problem: FetchProblem) -> BatchProblem:
    too_long = answer.truncated or answer.status in _TOO_LONG
    refused = 300 <= answer.status < 500 and answer.status not in _PASSING and not too_long
    return BatchProblem(problem, refused=refused, too_long=too_long)


def _by_id(elements: Iterable[tuple[str, object]]) -> Mapping[str, list[object]]:
    found: defaultdict[str, list[object]] = defaultdict(list)
    for name, element in elements:
        found[name].append(element)
    return found


def _part(
    elements: Mapping[str, list[object]], answer: Answer, service: Service, wanted: Wanted, base_url: str
) -> Report | FetchProblem:
    assert service.batch is not None
    ids = service.ids_of(wanted.generation_id, wanted.track_ids)
    # A song may be listed under its own id and under its generation's.
    own = {id(element): element for name in ids for element in elements.get(name, ())}
    part = service.batch.single(list(own.values()))
    if part is None:
        message = "the answer to several ids does not list it"
        return FetchProblem(FetchProblemKind.NOT_FOUND, message, answer.retry_after, None)
    alone = replace(answer, body=json.dumps(part, ensure_ascii=False))
    return classify_value(part, alone, service, Question("", ids, base_url=base_url))
