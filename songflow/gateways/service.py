"""The type that describes how a gateway sells one model family: paths, wire bodies, and readers of its answers.

A gateway with other paths, bodies and answers is one file with a `Service` for each family that it sells. The
outcome of a POST and the status of a report are still decided in one place each (`songflow.gateways.submit`,
`songflow.gateways.report`): readers only find the facts that these decide by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from songflow.gateways.envelope import Envelope, read_envelope
from songflow.gateways.relay import Ids, relay_ids
from songflow.gateways.report import ReportContent

__all__ = ["Act", "Batch", "Question", "Service", "as_it_is"]


class Act(StrEnum):
    """What people do with a gateway's families; some gateways cannot do all of it."""

    IDEA = "an idea"
    OWN_WORDS = "words of one's own"
    INSTRUMENTAL = "an instrumental"
    EXTENSION = "an extension"
    INSTRUMENTAL_EXTENSION = "an extension without words"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How a gateway reports on several generations at once.

    Attributes:
        path: The path of the request; `{ids}` is replaced by the ids with commas between.
        most: The most ids of one request.
        elements: Takes the parsed answer apart: each id with what concerns it. An element may come under several ids,
            an id with several elements. Raises ValueError if it is no answer to several ids.
        single: Makes of a generation's elements the answer to a fetch of it alone, for the service's `read_report`;
            None if the gateway does not know the generation.
        body: The JSON body of a POST with these ids; without it, the request is a GET.
    """

    path: str
    most: int
    elements: Callable[[object], Iterable[tuple[str, object]]]
    single: Callable[[Sequence[object]], object | None]
    body: Callable[[Sequence[str]], Mapping[str, Any]] | None = None


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
        batch: How several generations are fetched at once; None where the gateway cannot do that.
        with_callback: Adds the address for callbacks, and their secret, to a wire body; None where there are none.
        headers: Further headers of every request.
        settings: What the ledger stores in order to speak to a user-defined gateway again.
        models: The models of the family that the gateway sells; None for all of them.
        cannot: What the gateway cannot do, and why; `wire_body` refuses it with that reason.
        key_for_files: True if the gateway serves the songs itself, and wants the key for them, too.
    """

    submit_path: str
    fetch_path: str
    read_report: Callable[[object, Question], ReportContent | None]
    wire_body: Callable[[Mapping[str, Any]], Mapping[str, Any]] = as_it_is
    route: Callable[[Mapping[str, Any]], str] | None = None
    read_ids: Callable[[object], Ids] = relay_ids
    read_envelope: Callable[[object], Envelope] = read_envelope
    fetch_body: Callable[[Sequence[str]], Mapping[str, Any]] | None = None
    batch: Batch | None = None
    with_callback: Callable[[Mapping[str, Any], str, str], Mapping[str, Any]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    models: frozenset[str] | None = None
    cannot: Mapping[Act, str] = field(default_factory=dict)
    key_for_files: bool = False

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

    def ids_of(self, generation_id: str | None, track_ids: Sequence[str] = ()) -> tuple[str, ...]:
        """The ids under which a generation is fetched together with others."""
        own = (generation_id,) if generation_id else ()
        return (*track_ids, *own) if self.by_tracks else own or tuple(track_ids)

    def joint_question(self, ids: Sequence[str], base_url: str = "") -> Question:
        """The one fetch of several generations, for a service that has a `batch`."""
        assert self.batch is not None
        body = None if self.batch.body is None else self.batch.body(ids)
        return Question(_with_ids(self.batch.path, "{ids}", ids), tuple(ids), body, base_url)

    def _question(self, ids: tuple[str, ...], base_url: str) -> Question:
        placeholder = "{ids}" if self.by_tracks else "{id}"
        body = None if self.fetch_body is None else self.fetch_body(ids)
        return Question(_with_ids(self.fetch_path, placeholder, ids), ids, body, base_url)


def _with_ids(path: str, placeholder: str, ids: Sequence[str]) -> str:
    return path.replace(placeholder, ",".join(_quoted(one) for one in ids))


def _quoted(opaque_id: str) -> str:
    """Quote an id as one path segment or query value: ids are opaque and may contain "/", "?", "," or be ".."."""
    quoted = quote(opaque_id, safe="", errors="replace")
    return quoted if quoted.strip(".") else quoted.replace(".", "%2E")
