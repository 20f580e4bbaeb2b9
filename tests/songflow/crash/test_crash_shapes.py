"""The same promises at one gateway of each shape: what the spool, the ledger and rescue know is in its own words."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.offers import Offer, shapes

from songflow.ledger import SongState, State

KILLED = -signal.SIGKILL
AT_ONCE = 4
# The relay's Udio is the gateway of all other crash tests.
OTHERS = [offer for offer in shapes() if (offer.gateway, offer.family_name) != ("cometapi", "udio")]

pytestmark = pytest.mark.parametrize("offer", OTHERS, ids=str)


@pytest.fixture
def plan(local_place: Any, offer: Offer) -> Callable[..., dict[str, Any]]:
    """Plans of steps at the offer's gateway."""
    return lambda command="generate", **more: local_place.plan(
        command, gateway=offer.gateway, model=offer.models[0], secret="sk-crash-0123456789", **more
    )


def _assert_paid_once_and_whole(place: Any, price: float) -> None:
    """One charge, and each take is a file with the checksum in the ledger."""
    now = place.look()
    assert [one.state for one in now.submissions] == [State.SUCCEEDED]
    assert {song.state for song in now.songs} == {SongState.STORED}
    for song in now.songs:
        assert sha256(Path(song.path).read_bytes()).hexdigest() == song.sha256
    assert (now.balance.spent, now.balance.reserved, place.desk.billed(place.prompt)) == (price, 0.0, 1)


def test_killed_twice_it_is_paid_once_and_whole(
    offer: Offer, plan: Any, local_place: Any, forks: Any
) -> None:
    """First where only the spool has the answer, then where only the ledger has the songs' addresses."""
    assert forks.run(plan(), kill_at="spool: after fsync").code == KILLED
    assert local_place.when_sender_ends() is State.SENDING
    assert forks.run(plan(), kill_at="succeeded: after commit").code == KILLED
    assert local_place.look().submissions[-1].state is State.SUCCEEDED
    ended = forks.run(plan())
    assert ended.code == 0, ended.log
    _assert_paid_once_and_whole(local_place, ended.answer["price"])


def test_killed_before_its_answer_is_known_it_is_adopted_and_not_sent_again(
    offer: Offer, plan: Any, local_place: Any, forks: Any, desk: Any
) -> None:
    """The request is billed and its id is in the gateway's log alone."""
    seen = desk.posts()
    assert forks.run(plan(), kill_at="post: after request").code == KILLED
    met = forks.run(plan())
    assert (met.code, met.answer["state"], desk.posts() - seen) == (5, "unknown", 1), met
    paid = desk.server.bill()[-1]
    adopted = forks.run(plan("adopt", id=paid.generation_id))
    assert adopted.code == 0, adopted.log
    assert desk.posts() - seen == 1
    _assert_paid_once_and_whole(local_place, adopted.answer["price"])


def test_processes_that_race_for_a_key_make_one_post(
    offer: Offer, plan: Any, local_place: Any, forks: Any, desk: Any
) -> None:
    """One of them pays; all of them end with the same songs."""
    seen = desk.posts()
    ends = forks.wait(forks.start([plan()] * AT_ONCE))
    assert Counter(end.code for end in ends) == {0: AT_ONCE}, [end.log for end in ends if end.code]
    assert desk.posts() - seen == 1
    assert len({end.answer["generation_id"] for end in ends}) == 1
    _assert_paid_once_and_whole(local_place, ends[0].answer["price"])
