"""The task that pays, under Prefect's retries: no answer of a gateway makes it pay twice."""

from __future__ import annotations

import time

import pytest
from prefect import flow

from songflow.errors import OutcomeUnknown, RequestRefused
from songflow.families.udio import SongRequest
from songflow.generation.session_settings import SessionSettings
from tasks.submit import submit

pytestmark = [
    pytest.mark.prefect,
    pytest.mark.xdist_group("prefect"),
    pytest.mark.usefixtures("prefect_server"),
]

QUICK = submit.with_options(retries=5, retry_delay_seconds=0)
REQUEST = SongRequest(prompt="paid once")


@pytest.mark.parametrize(
    ("fault", "bill"),
    [
        ({"fault": "lost_answer"}, 1),
        ({"fault": "status", "on": "submit", "status": 502, "billed": True}, 1),
        ({"fault": "status", "on": "submit", "status": 502}, 0),
        ({"fault": "do_request_failed", "billed": True}, 1),
        ({"fault": "non_json_2xx"}, None),
    ],
    ids=lambda value: value["fault"] if isinstance(value, dict) else str(value),
)
@pytest.mark.parametrize("condition", ["as shipped", "taken away"])
async def test_an_unknown_outcome_is_never_sent_again(studio, fault, bill, condition):
    here = studio({**fault, "times": None})
    task = QUICK if condition == "as shipped" else QUICK.with_options(retry_condition_fn=lambda *_: True)

    @flow
    async def parent():
        return await task(REQUEST, here.credentials, library=here.library)

    with pytest.raises(OutcomeUnknown, match="may have been billed"):
        await parent()
    assert here.simulator.gateway.traffic.posts == 1
    if bill is not None:
        assert here.billed == bill


async def test_rate_limits_are_waited_out_by_prefects_retries(studio):
    here = studio({"fault": "status", "on": "submit", "status": 429, "times": 2})

    @flow
    async def parent():
        return await QUICK(REQUEST, here.credentials, library=here.library)

    submission = await parent()
    assert submission.generation_id
    assert here.billed == 1
    submissions, _songs = await here.ledger(submission.key)
    assert [one.state for one in submissions] == ["refused", "refused", "accepted"]


async def test_retry_after_is_respected_before_prefects_retry(studio):
    here = studio({"fault": "status", "on": "submit", "status": 429, "retry_after": 2})

    @flow
    async def parent():
        return await QUICK(REQUEST, here.credentials, library=here.library)

    start = time.monotonic()
    await parent()
    assert time.monotonic() - start >= 2
    assert here.billed == 1


async def test_a_final_refusal_is_not_repeated(studio):
    here = studio({"fault": "quota_not_enough", "times": None})

    @flow
    async def parent():
        return await QUICK(REQUEST, here.credentials, library=here.library)

    with pytest.raises(RequestRefused, match="not billed"):
        await parent()
    assert here.simulator.gateway.traffic.posts == 1


async def test_the_task_alone_takes_its_own_runs_key(studio):
    here = studio({"fault": "status", "on": "submit", "status": 429})
    submission = await QUICK(
        REQUEST, here.credentials, library=here.library, settings=SessionSettings(poll_interval=0.1)
    )
    assert submission.key == f"{submission.runs.task_run_id}:core"
    assert here.billed == 1
