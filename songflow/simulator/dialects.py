"""The dialects that have bodies and reports of their own, beside the relay's Udio in its four shapes.

To add one, write its file beside this one, list it here, and mount its paths in `songflow.simulator.app`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from songflow.simulator import ace_step, acedata, kie, piapi, suno
from songflow.simulator.answers import Answer, Report, Speak, as_the_relay

__all__ = ["ACEDATA", "ACE_STEP", "DIALECTS", "KIE", "PIAPI", "SUNO", "Dialect"]


ReportAll = Callable[
    [Sequence[str], Mapping[str, Report | None], Mapping[str, Mapping[str, Any]], str],
    Answer,
]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a gateway speaks.

    Attributes:
        plain_params: Turns a body into the parameters that songs are synthesised from.
        report: A generation's report, from the report, the body of its submit, and the simulator's own address.
        speak: How it says an answer of the relay's to a submit, or an error.
        shows_unfinished: Whether a report lists songs that are still being made.
        family: The model family that its songs stand for.
        key_header: The header with the key; None: Authorization.
        report_all: The reports on all generations that a fetch for several asks for: their ids, the reports and
            bodies of those that are known, and the simulator's own address. None for dialects without such a fetch.
    """

    plain_params: Callable[[Mapping[str, Any]], dict[str, Any]]
    report: Callable[[Report, Mapping[str, Any], str], Answer]
    speak: Speak = as_the_relay
    shows_unfinished: bool = True
    family: str = "Suno"
    key_header: str | None = None
    report_all: ReportAll | None = None


SUNO, KIE, PIAPI, ACEDATA, ACE_STEP = "suno", "kie", "piapi", "acedata", "ace-step"

DIALECTS: Mapping[str, Dialect] = {
    SUNO: Dialect(plain_params=suno.plain_params, report=suno.envelope, report_all=suno.batch),
    KIE: Dialect(plain_params=kie.plain_params, report=kie.record_info, speak=kie.spoken),
    PIAPI: Dialect(
        plain_params=piapi.plain_params,
        report=piapi.report,
        speak=piapi.spoken,
        shows_unfinished=False,
        family="Udio",
        key_header="x-api-key",
    ),
    ACEDATA: Dialect(
        plain_params=acedata.plain_params,
        report=acedata.task,
        speak=acedata.spoken,
        report_all=acedata.tasks,
    ),
    ACE_STEP: Dialect(
        plain_params=ace_step.plain_params,
        report=ace_step.report,
        speak=ace_step.spoken,
        shows_unfinished=False,
        family="ACE-Step",
        report_all=ace_step.query_result,
    ),
}
"""By the name that is stored with their jobs."""
