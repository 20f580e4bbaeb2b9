"""Many generations in flight at a gateway that answers for several ids: few requests, and no song lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from songflow.errors import GenerationLost, StillRunning
from songflow.families.registry import parse_request
from songflow.gateways import DIALECTS, BatchProblem, FetchProblem, FetchProblemKind, Gateway, Wanted
from songflow.gateways.answer import Answer
from songflow.gateways.batch import read_batch
from songflow.generation.lifecycle import generate_in, wait
from songflow.generation.policy import PaidRequest
from songflow.generation.results import GenerationResult
from songflow.generation.submit import submit_once
from songflow.polling.batch import JointPolls
from songflow.polling.loop import Fixed, wait_until_settled
from songflow.polling.rounds import round_time

IN_FLIGHT, MANY = 12, 200
# Alone, a generation is polled each twentieth of its time.
SLOW = {"speed": 54.0, "poll_interval": 0.05}


def fetches(server: Any) -> int:
    """The requests that asked for generations, whether for one or for several."""
    return int(traffic(server)["seen"])


def traffic(server: Any) -> dict[str, Any]:
    """The requests that asked for generations, and their answers by status."""
    seen: dict[str, Any] = httpx.get(f"{server.url}/_simulator/requests").json()["fetches"]
    return seen


async def make_at_once(
    opened: Any, account: Any, model: str, count: int = IN_FLIGHT
) -> Sequence[GenerationResult]:
    """Make this many songs, all in flight at once."""
    return await asyncio.gather(
        *(
            generate_in(
                opened,
                parse_request({"prompt": f"waltz {number}", "model_type": model}),
                account,
                key=f"key {number}",
            )
            for number in range(count)
        )
    )


@pytest.fixture
def crowd(simulator: Any, access: Any, session: Any) -> Any:
    """Makes songs at once in one session; returns their results and the number of requests that polled them."""

    async def make(
        *faults: dict[str, Any], gateway: str = "openai-hk", model: str = "chirp-auk", **settings: Any
    ) -> tuple[Sequence[GenerationResult], int]:
        server = simulator(*faults, speed=SLOW["speed"], takes=1, pool=4, clip_seconds=0.3, **settings)
        opened = await session(poll_interval=SLOW["poll_interval"])
        results = await make_at_once(opened, access(server.url, gateway, key="any"), model)
        assert len(server.bill()) == IN_FLIGHT
        return results, fetches(server)

    return make


@pytest.mark.parametrize(
    ("gateway", "model"),
    [
        ("openai-hk", "chirp-auk"),
        ("cometapi", "udio32-v1.5"),
        ("acedata", "chirp-auk"),
        ("ace-step", "acestep-v15-turbo"),
    ],
)
async def test_one_request_asks_for_all_that_are_due(crowd: Any, gateway: str, model: str) -> None:
    """Each song is the one that was asked for, and a song costs a fraction of a request."""
    results, asked = await crowd(gateway=gateway, model=model)
    assert all(song.path for one in results for song in one.songs)
    assert len({one.generation_id for one in results}) == IN_FLIGHT
    assert asked < 3 * IN_FLIGHT


REFUSALS = [
    {"status": 404},
    {"status": 405},
    {"status": 400, "envelope": "relay", "code": "invalid_request", "message": "invalid_action"},
    {"status": 200, "body": {"code": "invalid_action", "message": "no", "data": None}},
    {"status": 200, "body": {"unheard": "of"}},
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: str(refusal["status"]))
async def test_where_several_are_refused_each_is_asked_for_alone(
    crowd: Any, refusal: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried once, said once, and no song is lost."""
    caplog.set_level(logging.WARNING, logger="songflow.polling")
    results, _ = await crowd({"fault": "status", "on": "batch", "times": None, **refusal})
    assert all(song.path for one in results for song in one.songs)
    said = [
        record.getMessage() for record in caplog.records if "for each generation alone" in record.getMessage()
    ]
    assert len(said) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"fault": "first_only", "take": 3, "times": None},
        {"fault": "null_data", "on": "batch", "times": None},
        {"fault": "html", "on": "batch", "times": None},
        {"fault": "reset", "on": "batch", "times": 4},
        {"fault": "status", "on": "batch", "status": 429, "retry_after": 0.1, "times": 3},
    ],
    ids=lambda fault: str(fault["fault"]),
)
async def test_an_answer_that_leaves_songs_out_loses_none(crowd: Any, fault: dict[str, Any]) -> None:
    """What several ids do not show is asked for alone, and a failed request is made again."""
    results, _ = await crowd(fault)
    assert all(song.path for one in results for song in one.songs)


async def test_a_generation_that_is_alone_is_asked_for_as_before(
    simulator: Any, access: Any, session: Any
) -> None:
    """Nothing of a batch is sent for it."""
    server = simulator({"fault": "status", "on": "batch", "status": 500, "times": None})
    opened = await session()
    (made,) = await make_at_once(opened, access(server.url, key="any"), "chirp-auk", count=1)
    assert made.songs
    assert set(traffic(server)["answered"]) == {"200"}


async def test_only_the_answer_about_one_id_says_that_it_is_lost(
    simulator: Any, access: Any, session: Any, change: Any
) -> None:
    """One generation has vanished, the other one has not, and both are asked for at once."""
    server = simulator({"fault": "vanishes", "fetches": 0, "match": "gone"}, speed=54.0)
    opened, account = await session(), access(server.url, key="any")
    submitted = []
    for prompt in ("gone", "here"):
        request = parse_request({"prompt": prompt, "model_type": "chirp-auk"})
        one = await submit_once(opened, PaidRequest(request, prompt), account)
        submitted.append(await change(opened, one, answered_at=datetime.now(UTC) - timedelta(minutes=20)))
    gone, here = await asyncio.gather(
        *(wait(opened, one, account) for one in submitted), return_exceptions=True
    )
    assert isinstance(gone, GenerationLost)
    assert len(here) == 2


async def test_two_hundred_in_flight_need_a_tenth_of_the_requests(simulator: Any, access: Any) -> None:
    """Each would be polled ten times alone, at its fixed interval; together they take a tenth of that at most."""
    server = simulator(speed=27.0, takes=1, pool=1, clip_seconds=0.3)
    account = access(server.url).account
    async with httpx.AsyncClient(base_url=server.url) as client, Gateway(account) as gateway:
        body = {"mv": "chirp-auk", "gpt_description_prompt": "a cat"}
        ids = [(await client.post("/suno/submit/music", json=body)).json()["data"] for _ in range(MANY)]
        polls = JointPolls(
            "simulator",
            lambda one: gateway.fetch("suno", one.generation_id),
            lambda several: gateway.fetch_many("suno", several),
            gateway.most_at_once("suno"),
        )

        async def ended(generation_id: str) -> bool:
            schedule = Fixed(0.2)
            with polls.waiting(Wanted(generation_id), schedule, 0.0) as waiter:
                report = await wait_until_settled(
                    waiter.get, schedule, age=0.0, deadline=60.0, sleep=waiter.sleep
                )
            return f'"task_id": "{generation_id}"' in report.raw and bool(report.collectable)

        assert await asyncio.gather(*map(ended, ids)) == [True] * MANY
        await polls.aclose()
    alone = MANY * 10
    assert fetches(server) <= alone / 10


@pytest.mark.parametrize(
    ("waits", "at"),
    [
        ([(10.0, 4.0)], 14.0),  # alone: its own next poll
        ([(10.0, 4.0)] * 50, 14.0),  # all alike: one request for all of them in place of one for each
        ([(10.0, 1.0), (10.0, 10.0)], 10.0 + 1.1 / 1.01),  # the one that may end now outweighs the other one
        ([(0.0, 1.0), (100.0, 1.0)], 50.0),  # one has waited for far too long: the time has passed
    ],
)
def test_a_round_comes_when_the_lag_of_all_is_that_of_their_own_polls(
    waits: list[tuple[float, float]], at: float
) -> None:
    """The rate of rounds is sum(1/G^2) / sum(1/G) for waits with gaps G, or that of fixed polling."""
    assert round_time(waits, interval=5.0) == pytest.approx(at)
    assert round_time(waits, interval=1.0) <= at


async def test_a_pause_that_the_gateway_asks_for_keeps_no_wait_beyond_its_deadline(
    simulator: Any, access: Any, session: Any
) -> None:
    """Both songs are still paid for, and the next rescue asks again."""
    busy = {"fault": "status", "status": 429, "retry_after": 600, "times": None}
    server = simulator({**busy, "on": "batch"}, {**busy, "on": "fetch"})
    opened = await session(poll_interval=0.05, deadline=0.5)
    making = make_at_once(opened, access(server.url, "openai-hk", key="any"), "chirp-auk", count=2)
    async with asyncio.timeout(60):
        with pytest.raises(StillRunning, match="the gateway asks for a pause"):
            await making


async def test_a_request_names_no_more_ids_than_the_gateway_takes() -> None:
    """A generation may have several."""
    asked: list[int] = []

    async def one(_: Wanted) -> FetchProblem:
        return FetchProblem(FetchProblemKind.NOT_FOUND, "none", None, None)

    async def several(wanted: Sequence[Wanted]) -> list[FetchProblem]:
        asked.append(len(wanted))
        return [await one(each) for each in wanted]

    polls = JointPolls("a gateway", one, several, 7, ids_of=lambda _: 3)

    async def get(name: str) -> None:
        with polls.waiting(Wanted(name), Fixed(0.01), 0.0) as waiter:
            await waiter.sleep(0.01)
            await waiter.get()
            await asyncio.sleep(0.1)

    await asyncio.gather(*(get(str(number)) for number in range(5)))
    await polls.aclose()
    assert max(asked) == 2


@pytest.mark.parametrize(
    ("status", "body", "refused", "too_long"),
    [
        (414, "<html>", False, True),
        (413, '{"code": "x", "message": "long", "data": null}', False, True),
        (404, "no such page", True, False),
        (429, "<html>", False, False),
        (502, "<html>", False, False),
    ],
)
def test_a_page_in_place_of_several_answers_says_how_to_go_on(
    status: int, body: str, refused: bool, too_long: bool
) -> None:
    """Fewer ids, each alone, or the same again."""
    service = DIALECTS["openai-hk"].services["suno"]
    read = read_batch(Answer(status, {}, body), service, [Wanted("a"), Wanted("b")], "http://gateway")
    assert isinstance(read, BatchProblem)
    assert (read.refused, read.too_long) == (refused, too_long)
