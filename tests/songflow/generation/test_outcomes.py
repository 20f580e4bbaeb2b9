"""The outcome of a POST for each fault of a gateway: what is billed, and whether it is sent again."""

from __future__ import annotations

import logging

import pytest

from songflow import errors
from songflow.gateways import Gateway
from songflow.generation.policy import PaidRequest, PayingPolicy
from songflow.generation.session_settings import SessionSettings
from songflow.generation.submit import retry_refusals, submit_once
from songflow.ledger import Ledger, State
from songflow.ledger.engine import ledger_url

UNKNOWN = [
    ({"fault": "lost_answer"}, 1),
    ({"fault": "lost_answer_before"}, 0),
    ({"fault": "reset_during_body"}, 1),
    ({"fault": "answer_cut"}, 1),
    ({"fault": "status", "on": "submit", "status": 502}, 0),
    ({"fault": "status", "on": "submit", "status": 504, "billed": True}, 1),
    ({"fault": "status", "on": "submit", "status": 524}, 0),
    ({"fault": "status", "on": "submit", "status": 500}, 0),
    ({"fault": "status", "on": "submit", "status": 408}, 0),
    ({"fault": "do_request_failed", "billed": True}, 1),
    ({"fault": "unmarshal_response_body_failed"}, 0),
    ({"fault": "fail_to_fetch_task", "on": "submit", "status": 500}, 0),
    ({"fault": "html", "on": "submit", "status": 200, "billed": True}, 1),
    ({"fault": "no_id"}, 1),
    ({"fault": "non_json_2xx"}, 1),
]
FINAL = [
    ({"fault": "fail_to_fetch_task", "on": "submit", "status": 400}, "supplier refused it"),
    ({"fault": "quota_not_enough"}, "top up the account"),
    ({"fault": "refusal_in_2xx", "code": "quota_not_enough"}, "top up the account"),
    ({"fault": "redirect", "on": "submit"}, "check --gateway and --base-url"),
    ({"fault": "status", "on": "submit", "status": 404}, "check --gateway and --base-url"),
    ({"fault": "status", "on": "submit", "status": 400, "envelope": "relay"}, "correct the request"),
    (
        {"fault": "status", "on": "submit", "status": 401, "envelope": "openai", "code": "bad"},
        "check the key",
    ),
    (
        {"fault": "status", "on": "submit", "status": 418, "envelope": "openai", "code": "tea"},
        "the gateway's message",
    ),
]
REPEATABLE = [
    ({"fault": "status", "on": "submit", "status": 429, "envelope": "empty"}, None),
    ({"fault": "status", "on": "submit", "status": 429, "envelope": "empty", "retry_after": 7.0}, 7.0),
    ({"fault": "no_channel"}, 120.0),
]


class Patience:
    """A clock that only sleeping advances, for retries without waiting."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def clock(self) -> float:
        return sum(self.slept)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def _named(cases):
    return [pytest.param(*case, id="-".join(str(value) for value in case[0].values())) for case in cases]


# --- unknown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "bill"), _named(UNKNOWN))
async def test_an_uncertain_answer_is_unknown_and_never_sent_again(
    simulator, access, session, song_request, posts, fault, bill: int
) -> None:
    """Whatever retries are configured, a POST that may have been billed is sent once."""
    server, opened, patience = simulator(fault), await session(), Patience()
    with pytest.raises(errors.OutcomeUnknown) as caught:
        await retry_refusals(
            lambda: submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)),
            SessionSettings(retries=50, repeat_within=1e9).refusal_backoff,
            clock=patience.clock,
            sleep=patience.sleep,
        )
    error = caught.value
    assert (error.exit_code, error.billed, error.state, error.key) == (5, "maybe", "unknown", "key")
    assert not error.repeatable
    assert "songflow rescue" in error.next
    assert (posts(server), len(server.bill()), patience.slept) == (1, bill, [])
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert (left.state, left.billed) == (State.UNKNOWN, "maybe")
    assert left.error


async def test_an_unknown_key_stays_unknown_and_stops_other_keys_of_its_body(
    simulator, access, session, song_request, posts
) -> None:
    """Reusing the key raises the same error; a new key for the same body is refused, in the same process too."""
    server, opened = simulator({"fault": "lost_answer"}), await session()
    for _ in range(2):
        with pytest.raises(errors.OutcomeUnknown):
            await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    with pytest.raises(errors.UnsettledTwin) as caught:
        await submit_once(opened, PaidRequest(song_request(), "new"), access(server.url))
    assert (caught.value.exit_code, caught.value.key, caught.value.billed) == (5, "key", "maybe")
    assert "--key key" in caught.value.next
    assert "--if-unsettled new" in caught.value.next
    assert posts(server) == 1
    again = await submit_once(
        opened, PaidRequest(song_request(), "new"), access(server.url), PayingPolicy(if_unsettled="new")
    )
    assert again.state is State.ACCEPTED
    assert (posts(server), len(server.bill())) == (2, 2)


async def test_an_exception_in_the_client_during_the_post_is_unknown(
    simulator,
    access,
    session,
    song_request,
    monkeypatch: pytest.MonkeyPatch,
    caplog,
    sender_in_thread,
) -> None:
    """It proves nothing about the bill."""

    async def boom(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Gateway, "submit", boom)
    opened = await session()
    with pytest.raises(errors.OutcomeUnknown, match="our own client failed"):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(simulator().url))
    assert "ZeroDivisionError" in caplog.text
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert (left.state, left.lease.is_dead()) == (State.UNKNOWN, True)


# --- refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "advice"), _named(FINAL))
async def test_a_final_refusal_is_not_billed_and_not_retried(
    simulator, access, session, song_request, posts, fault, advice: str
) -> None:
    """The error has the gateway's message and the next step."""
    server, opened, patience = simulator(fault), await session(), Patience()
    with pytest.raises(errors.RequestRefused) as caught:
        await retry_refusals(
            lambda: submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)),
            SessionSettings(retries=50, repeat_within=1e9).refusal_backoff,
            clock=patience.clock,
            sleep=patience.sleep,
        )
    error = caught.value
    assert (error.exit_code, error.billed, error.state, error.key) == (3, "no", "refused", "key")
    assert not error.repeatable
    assert advice in error.next
    assert (posts(server), server.bill(), patience.slept) == (1, [], [])
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert (left.state, left.billed, left.lease.is_dead()) == (State.REFUSED, "no", True)


@pytest.mark.parametrize(("fault", "wait"), _named(REPEATABLE))
async def test_a_repeatable_refusal_has_its_retry_after(
    simulator, access, session, song_request, fault, wait: float | None
) -> None:
    """The caller decides how long to retry."""
    opened = await session()
    with pytest.raises(errors.RequestRefused) as caught:
        await submit_once(opened, PaidRequest(song_request(), "key"), access(simulator(fault).url))
    assert (caught.value.repeatable, caught.value.retry_after, caught.value.billed) == (True, wait, "no")


@pytest.mark.parametrize("retry_after", [None, 0.01])
async def test_a_rate_limited_request_is_accepted_after_retries(
    simulator, access, session, song_request, posts, retry_after
) -> None:
    """Each attempt is its own row; the accepted one is billed."""
    limit = {"fault": "status", "on": "submit", "status": 429, "envelope": "empty", "times": 2}
    server, opened, patience = simulator({**limit, "retry_after": retry_after}), await session(), Patience()
    accepted = await retry_refusals(
        lambda: submit_once(opened, PaidRequest(song_request(), "key"), access(server.url)),
        SessionSettings(retries=2, repeat_within=60).refusal_backoff,
        clock=patience.clock,
        sleep=patience.sleep,
    )
    assert (accepted.state, accepted.ordinal) == (State.ACCEPTED, 3)
    assert (posts(server), len(server.bill())) == (3, 1)
    if retry_after is None:
        assert 0.5 <= patience.slept[0] <= 1.0 <= patience.slept[1] <= 2.0
    else:
        assert patience.slept == [retry_after, retry_after]
    states = [one.state for one in await opened.library.ledger.submissions.of_key("key")]
    assert states == [State.REFUSED, State.REFUSED, State.ACCEPTED]


async def test_a_refused_request_can_be_sent_again_later(simulator, access, session, song_request) -> None:
    """Once the account is topped up, the same key is accepted."""
    server, opened = simulator({"fault": "quota_not_enough"}), await session()
    with pytest.raises(errors.RequestRefused):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    ).state is State.ACCEPTED
    assert len(server.bill()) == 1


# --- not sent ---------------------------------------------------------------------------------------------


async def test_an_unreachable_gateway_is_retried_and_then_named(
    access, session, song_request, closed_url
) -> None:
    """No byte was sent, so repeating is safe; the error names the address."""
    opened, patience = await session(), Patience()
    with pytest.raises(errors.RequestNotSent) as caught:
        await retry_refusals(
            lambda: submit_once(opened, PaidRequest(song_request(), "key"), access(closed_url)),
            SessionSettings(retries=2, repeat_within=60).refusal_backoff,
            clock=patience.clock,
            sleep=patience.sleep,
        )
    error = caught.value
    assert (error.exit_code, error.billed, error.state, error.repeatable) == (3, "no", "unsent", True)
    assert closed_url in str(error)
    assert len(patience.slept) == 2
    known = await opened.library.ledger.submissions.of_key("key")
    assert [(one.ordinal, one.state) for one in known] == [(number, State.UNSENT) for number in (1, 2, 3)]


async def test_nothing_is_sent_after_the_lease_has_expired(
    simulator, access, session, song_request, posts
) -> None:
    """A process that slept through its lease finds out before it sends."""
    server, opened = simulator(), await session(submit_timeout=120.0, lease_margin=-120.0)
    with pytest.raises(errors.RequestNotSent, match="lease ran out"):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert (posts(server), server.bill()) == (0, [])
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert left.state is State.UNSENT


@pytest.mark.parametrize("boottime", [True, False])
async def test_a_post_goes_out_on_systems_with_and_without_a_boot_clock(
    simulator, access, session, song_request, monkeypatch: pytest.MonkeyPatch, boottime: bool
) -> None:
    """macOS and Windows have no CLOCK_BOOTTIME."""
    if not boottime:
        monkeypatch.delattr("time.CLOCK_BOOTTIME", raising=False)
    opened = await session()
    assert (
        await submit_once(opened, PaidRequest(song_request(), "key"), access(simulator().url))
    ).state is State.ACCEPTED


async def test_a_client_that_cannot_be_opened_releases_the_key_at_once(
    access, session, song_request, library_settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was sent: the lease ends at once, and no money stays reserved."""
    opened = await session(embedded_speed=250.0, clip_seconds=0.25)
    embedded = access("http://simulator.invalid", alias="simulator")
    broken = library_settings.folder / "simulator"
    broken.write_text("a file where the simulator's folder should be")
    with pytest.raises(errors.LibraryError, match="built-in simulator cannot run"):
        await submit_once(opened, PaidRequest(song_request(), "key"), embedded)
    (left,) = await opened.library.ledger.submissions.of_key("key")
    assert (left.state, left.error) == (State.UNSENT, "the gateway's client could not be opened")
    assert (await opened.library.ledger.money.balance()).reserved == 0.0
    broken.unlink()
    sent = await submit_once(opened, PaidRequest(song_request(), "key"), embedded)
    assert (sent.ordinal, sent.state) == (2, State.ACCEPTED)


# --- patience ---------------------------------------------------------------------------------------------


def _refusal(**facts: object) -> errors.RequestRefused:
    return errors.RequestRefused("no", **{"repeatable": True, **facts})


async def _repeat(
    outcomes: list[object], *, retries: int = 4, within: float = 60.0
) -> tuple[object, Patience]:
    patience = Patience()

    async def attempt() -> object:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    done = await retry_refusals(
        attempt,
        SessionSettings(retries=retries, repeat_within=within).refusal_backoff,
        clock=patience.clock,
        sleep=patience.sleep,
    )
    return done, patience


async def test_pauses_between_refusals_double() -> None:
    """From half a second to one, then twice that, and so on."""
    done, patience = await _repeat([_refusal(), _refusal(), _refusal(), "done"])
    assert done == "done"
    for number, pause in enumerate(patience.slept):
        assert 2**number * 0.5 <= pause <= 2**number


async def test_refusals_are_retried_within_the_time_limit_only() -> None:
    """A pause that leads past the time allowed is not begun."""
    with pytest.raises(errors.RequestRefused):
        await _repeat([_refusal(retry_after=50.0), _refusal(retry_after=11.0), "done"], within=60.0)
    done, patience = await _repeat(
        [_refusal(retry_after=50.0), _refusal(retry_after=10.0), "done"], within=60.0
    )
    assert (done, patience.slept) == ("done", [50.0, 10.0])


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_refusals_are_retried_as_often_as_set(retries: int) -> None:
    """`retries` attempts after the first."""
    outcomes: list[object] = [_refusal() for _ in range(retries + 1)]
    with pytest.raises(errors.RequestRefused):
        await _repeat(outcomes, retries=retries, within=1e9)
    assert outcomes == []


@pytest.mark.parametrize(
    "error",
    [_refusal(repeatable=False), errors.OutcomeUnknown("?", repeatable=True), errors.GenerationFailed("!")],
)
async def test_no_other_error_is_retried(error: errors.SongflowError) -> None:
    """Only an error that was certainly not billed and is marked as repeatable is retried."""
    with pytest.raises(type(error)):
        await _repeat([error, "sent twice"], within=1e9)


# --- accepted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dialect", ["simulator", "cometapi", "openai-hk", "shape-a", "shape-b", "shape-c", "shape-d"]
)
async def test_an_acceptance_is_in_the_spool_and_in_the_ledger(
    simulator, access, session, song_request, dialect: str, caplog
) -> None:
    """The id, the account and the price, in every dialect; never the key."""
    caplog.set_level(logging.DEBUG)
    server, opened = simulator(), await session()
    key = "sk-0123456789abcdefghij"
    way = access(server.url, dialect, key=key, alias="env:X")
    accepted = await submit_once(opened, PaidRequest(song_request(model_type="udio130-v1.5"), "key"), way)
    (entry,) = server.bill()
    assert accepted.generation_id == entry.generation_id
    assert (accepted.state, accepted.billed, accepted.price) == (State.ACCEPTED, "yes", 2.0)
    assert (accepted.gateway, accepted.base_url, accepted.account) == (way.gateway, server.url, "env:X")
    spooled = opened.library.spool.find(accepted.id)
    assert (spooled.generation_id, spooled.key, spooled.account) == (entry.generation_id, "key", "env:X")
    generation = await opened.library.ledger.submissions.generation("key")
    intent = spooled.intent
    assert (intent.body, intent.body_hash) == (generation.body, generation.body_hash)
    assert (intent.ordinal, intent.price, intent.key_fingerprint) == (1, 2.0, accepted.key_fingerprint)
    assert (spooled.answer["status"], spooled.outcome) == (200, "accepted")
    assert entry.body == song_request(model_type="udio130-v1.5").body()
    folder = opened.library.settings.folder
    kept = b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert key.encode() not in kept
    assert key not in caplog.text


async def test_track_ids_are_stored_and_fetched(simulator, access, session, song_request) -> None:
    """A gateway that answers with the takes' ids is asked for those."""
    server, opened = simulator({"fault": "raw_generation_id"}), await session()
    accepted = await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url, "cometapi"))
    assert (accepted.generation_id, len(accepted.track_ids)) == (server.bill()[0].generation_id, 2)


async def test_nothing_is_paid_for_on_a_full_disk(
    simulator, access, session, song_request, posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Free space is checked before the POST."""
    server, opened = simulator(), await session()
    monkeypatch.setattr(
        "songflow.library.audio_store.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})
    )
    with pytest.raises(errors.LibraryError, match="full"):
        await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    assert posts(server) == 0
    assert await opened.library.ledger.submissions.of_key("key") == []


async def test_a_key_of_another_body_is_refused_with_the_differing_fields(
    simulator, access, session, song_request, posts
) -> None:
    """Exit 2."""
    server, opened = simulator(), await session()
    await submit_once(opened, PaidRequest(song_request(), "key"), access(server.url))
    with pytest.raises(errors.KeyConflict, match=r"these fields differ: .*seed") as caught:
        await submit_once(
            opened, PaidRequest(song_request(seed=7, clarity_strength=0.5), "key"), access(server.url)
        )
    assert "clarity_strength" in str(caught.value)
    assert (caught.value.exit_code, caught.value.key, caught.value.billed) == (2, "key", "no")
    assert posts(server) == 1


async def test_outcomes_are_the_same_with_a_ledger_on_postgresql(
    simulator, access, session, song_request, any_library
) -> None:
    """One generation after another."""
    server, opened = simulator({"fault": "lost_answer", "skip": 1}), await session(library=any_library)
    assert (
        await submit_once(opened, PaidRequest(song_request(), "one"), access(server.url))
    ).state is State.ACCEPTED
    with pytest.raises(errors.OutcomeUnknown):
        await submit_once(opened, PaidRequest(song_request(), "two"), access(server.url))
    async with Ledger(ledger_url(any_library.ledger_url, any_library.folder)) as ledger:
        assert [one.state for one in await ledger.submissions.of_key("two")] == [State.UNKNOWN]
