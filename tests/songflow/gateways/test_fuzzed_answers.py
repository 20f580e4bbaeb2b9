"""Reading any answer never raises, and nothing without an id is accepted."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from songflow.gateways import (
    DIALECTS,
    SHAPES,
    Accepted,
    Answer,
    FetchProblem,
    Question,
    Refused,
    Report,
    Unknown,
    classify_fetch,
    classify_submit,
    relay_udio,
)
from songflow.gateways.redaction import Redactor

WORDS = ["success", "200", "invalid_request", "quota_not_enough", "fail_to_fetch_task", "do_request_failed"]
NAMES = ["code", "message", "data", "error", "type", "generation_id", "track_ids", "songs", "status"]
NAMES += ["fail_reason", "progress", "id", "title", "duration", "finished", "song_path", "tags", "error_id"]
OWN_NAMES = [
    "msg",
    "taskId",
    "task_id",
    "timestamp",
    "response",
    "sunoData",
    "audioUrl",
    "audio_url",
    "output",
    "input",
]
OWN_NAMES += [
    "meta",
    "created_at",
    "started_at",
    "finished_at",
    "success",
    "state",
    "request",
    "metadata",
    "param",
]
SERVICES = [service for dialect in DIALECTS.ours.values() for service in dialect.services.values()]

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from([*WORDS, "SUCCESS", "FAILURE", "IN_PROGRESS", 200, "100%", "https://h/s.mp3"])
)
values: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)
own_values: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*NAMES, *OWN_NAMES]), inner, max_size=8)
    ),
    max_leaves=25,
)
written = st.text(max_size=60) | st.builds(json.dumps, values, ensure_ascii=st.booleans())
# As the client decodes it: invalid UTF-8 has been replaced, escaped characters have not.
bodies = written.map(lambda text: text.encode("utf-8", "replace").decode())
statuses = st.sampled_from([200, 201, 301, 400, 401, 403, 404, 408, 429, 500, 502, 503]) | st.integers(
    100, 999
)
headers = st.dictionaries(st.sampled_from(["retry-after", "date"]), st.text(max_size=30))
answers = st.builds(Answer, statuses, headers, bodies, st.booleans())


@settings(max_examples=600, deadline=None)
@given(answers)
def test_any_answer_to_a_post_is_classified(answer):
    outcome = classify_submit(answer, relay_udio()["udio"])
    assert isinstance(outcome, Accepted | Refused | Unknown)
    assert outcome.answer is answer
    if isinstance(outcome, Accepted):
        assert 200 <= answer.status < 300
        assert outcome.generation_id or outcome.track_ids
    if isinstance(outcome, Refused):
        assert outcome.retry_after is None or 0 <= outcome.retry_after <= 3600
        # Only these two statuses mean that nothing was started.
        assert not outcome.repeatable or answer.status in (429, 503)


@settings(max_examples=600, deadline=None)
@given(answers, st.sampled_from(SHAPES), st.lists(st.text(max_size=3), max_size=3))
def test_any_answer_to_a_fetch_is_classified(answer, shape, expected):
    result = classify_fetch(answer, relay_udio(shape=shape)["udio"], Question("/", ()))
    assert isinstance(result, Report | FetchProblem)
    if isinstance(result, Report):
        settled = result.settled(expected, result)
        assert settled in (True, False)
        assert not settled or result.takes or result.failure
        assert result.settled(expected, None) <= settled
        kept = [{**take.payload} for take in result.takes]
        json.dumps(kept, allow_nan=False, ensure_ascii=False).encode()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(SERVICES), own_values)
def test_no_reader_of_any_gateway_fails_on_an_answer(service, value):
    """The client would go on, but a song in that answer would be overlooked."""
    service.read_ids(value)
    service.read_envelope(value)
    content = service.read_report(value, Question("/", ("id",)))
    if content is not None:
        assert content.report("", None).settled() in (True, False)


@settings(max_examples=100, deadline=None)
@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=60), st.text(max_size=9)
)
def test_no_form_of_a_long_key_survives(key, around):
    masked = Redactor(key)(around + key + around + json.dumps(key) + around)
    assert key not in masked.replace("***", " ")
