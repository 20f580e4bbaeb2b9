"""The type that describes how a gateway sells one model family: paths, wire bodies, and readers of its answers.

A gateway with other paths, bodies and answers is one file with a `Service` for each family that it sells. The
outcome of a POST and the status of a report are still decided in one place each (`songflow.gateways.submit`,
`songflow.gateways.report`): readers only find the facts that these decide by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from songflow.gateways.envelope import Envelope, read_envelope
from songflow.gateways.relay import Ids, relay_ids
from songflow.gateways.report import ReportContent

__all__ = ["Question", "Service", "as_it_is"]


@dataclass(frozen=True, slots=True)
class Question:
    """One fetch of a generation's report.

    Attributes:
        target: The path with its query, below `base_url`.
        ids: The ids that it asks for.
        body: The JSON body of a POST; None for a GET.
        base_url: The gateway's address, for readers of answers with relative URLs.
    """

    target: str
    ids: tuple[str, ...]
    body: Mapping[str, Any] | None = None
    base_url: str = ""


def as_it_is(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The canonical body itself, for gateways that take it unchanged."""
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How a gateway sells one model family.

    Attributes:
        submit_path: The path of the paid POST.
        fetch_path: The path of a fetch. `{id}` is replaced by one id, `{ids}` by several with commas between; without
            either, `fetch_body` names the ids.
        read_report: Finds a report in the parsed JSON of a fetch; None if there is none.
        wire_body: Translates a canonical body to the gateway's. Raises ValueError if the gateway cannot make that song;
            then nothing is sent.
        route: The path of a canonical body's POST, if it is not always `submit_path` (extensions, for example).
        read_ids: Finds the ids in the parsed JSON of a submit.
        read_envelope: Finds the gateway's verdict and error codes in any parsed JSON.
        fetch_body: The JSON body of a fetch of these ids, for gateways that are polled by POST.
        headers: Further headers of every request.
        settings: What the ledger stores in order to speak to a user-defined gateway again.
        models: The models of the family that the gateway sells; None for all of them.
    """

    submit_path: str
    fetch_path: str
    read_report: Callable[[object, Question], ReportContent | None]
    wire_body: Callable[[Mapping[str, Any]], Mapping[str, Any]] = as_it_is
    route: Callable[[Mapping[str, Any]], str] | None = None
    read_ids: Callable[[object], Ids] = relay_ids
    read_envelope: Callable[[object], Envelope] = read_envelope
    fetch_body: Callable[[Sequence[str]], Mapping[str, Any]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    models: frozenset[str] | None = None

    def sells(self, model_type: str) -> bool:
        """True if the gateway sells this model of the family."""
        return self.models is None or model_type in self.models

    def path_for(self, body: Mapping[str, Any]) -> str:
        """The path of a canonical body's POST."""
        return self.submit_path if self.route is None else self.route(body)

    @property
    def by_tracks(self) -> bool:
        """True if a generation is fetched by its track ids first, and only then by its own id."""
        return "{ids}" in self.fetch_path

    def questions(
        self, generation_id: str | None, track_ids: Sequence[str] = (), base_url: str = ""
    ) -> tuple[Question, ...]:
        """The fetches to try in order until one lists the generation's songs."""
        own = [generation_id] if generation_id else []
        if self.by_tracks:
            groups = [group for group in (tuple(track_ids), tuple(own)) if group]
        else:
            groups = [(one,) for one in own or track_ids]
        return tuple(self._question(group, base_url) for group in groups)

    def _question(self, ids: tuple[str, ...], base_url: str) -> Question:
        placeholder = "{ids}" if self.by_tracks else "{id}"
        target = self.fetch_path.replace(placeholder, ",".join(_quoted(one) for one in ids))
        body = None if self.fetch_body is None else self.fetch_body(ids)
        return Question(target, ids, body, base_url)


def _quoted(opaque_id: str) -> str:
    """Quote an id as one path segment or query value: ids are opaque and may contain "/", "?", "," or be ".."."""
    quoted = quote(opaque_id, safe="", errors="replace")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")
