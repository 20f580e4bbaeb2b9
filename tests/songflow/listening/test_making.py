"""Songs made from the room: priced, confirmed, and started once, whatever is sent how often."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from songflow.errors import InputError
from songflow.generation.lifecycle import generate_in
from songflow.listening.making import Made, Workshop
from songflow.listening.orders import Kind, Order
from songflow.settings import LibrarySettings

KEYS = [f"room-{number:024x}" for number in range(4)]


@pytest.fixture
async def made(
    simulator: Any, session: Any, access: Any, song_request: Any, library_settings: LibrarySettings
) -> Any:
    """A workshop of a library with one song; the simulated gateway; the song's number."""
    gateway = simulator()
    opened, account = await session(), access(gateway.url)
    first = await generate_in(opened, song_request("a waltz", seed=7), account, key="core")

    async def resolver(_: object) -> Any:
        return account

    workshop = Workshop(library_settings, resolver)
    yield workshop, gateway, (await opened.library.ledger.songs.of_key("core"))[0].id, opened
    await workshop.aclose()
    assert first.stored


async def _ended(made: Made) -> Made:
    assert made.task is not None
    await asyncio.wait_for(made.task, 30)
    return made


async def test_an_order_is_paid_for_once(made: Any) -> None:
    """Two clicks at once, the request again later, and again in a room that was opened anew."""
    workshop, gateway, song, opened = made
    order = Order(song=song, kind=Kind.MORE)
    planned = await workshop.plan(order)
    assert (planned.request.seed, planned.request.prompt) == (-1, "a waltz")
    first, second = await asyncio.gather(*(workshop.make(order, KEYS[0], planned.price) for _ in range(2)))
    assert first is second
    await _ended(first)
    assert (first.has_failed, first.state) == (False, "2 songs are stored")
    assert await workshop.make(order, KEYS[0], planned.price) is first
    assert len(gateway.bill()) == 2  # the song itself, and this order

    anew = Workshop(workshop._library, workshop._resolver)
    again = await _ended(await anew.make(order, KEYS[0], planned.price))
    assert (again.has_failed, len(gateway.bill())) == (False, 2)
    assert len(await opened.library.ledger.songs.of_key(KEYS[0])) == 2


async def test_what_was_not_confirmed_is_not_sent(made: Any) -> None:
    """Another price, another order under the key of a form, a key of elsewhere, and a parameter that is wrong."""
    workshop, gateway, song, opened = made
    order = Order(song=song, kind=Kind.AGAIN, fields={"prompt_strength": 0.9})
    price = (await workshop.plan(order)).price
    with pytest.raises(InputError, match="was confirmed"):
        await workshop.make(order, KEYS[0], price / 2)
    with pytest.raises(InputError, match="no key of a form"):
        await workshop.make(order, "core", price)
    with pytest.raises(InputError, match="prompt_strength"):
        await workshop.plan(Order(song=song, kind=Kind.AGAIN, fields={"prompt_strength": 9}))
    with pytest.raises(InputError, match="no such song"):
        await workshop.plan(Order(song=999, kind=Kind.MORE))
    assert len(gateway.bill()) == 1
    await opened.library.ledger.money.pause("lunch")
    assert "lunch" in (await workshop.form(song))["paused"]
    paused = await _ended(await workshop.make(order, KEYS[1], price))
    assert paused.has_failed
    assert "lunch" in paused.state
    with pytest.raises(InputError, match="another order"):
        await workshop.make(Order(song=song, kind=Kind.MORE), KEYS[1], price)
    assert len(gateway.bill()) == 1


async def test_a_song_is_extended_at_its_gateway(made: Any) -> None:
    """The form has the family's places; a starter may make the order elsewhere."""
    workshop, _, song, _ = made
    form = await workshop.form(song)
    assert "intro" in form["places"]
    assert form["can_extend"]
    assert (await workshop.plan(Order(song=song, kind=Kind.MORE))).request.model_type in form["models"]
    assert {"prompt", "seed", "prompt_strength"} <= {field["name"] for field in form["fields"]}
    order = Order(song=song, kind=Kind.EXTEND, place="intro", fields={"prompt": "soft pads"})
    planned = await workshop.plan(order)
    assert (planned.request.mode, planned.request.prompt) == ("precede", "soft pads")
    started = []

    async def starter(planned: Any, key: str) -> Any:
        started.append((planned.request.mode, key))
        raise InputError("The server went away.", next="try again.")

    elsewhere = Workshop(workshop._library, workshop._resolver, starter)
    ended = await _ended(await elsewhere.make(order, KEYS[2], planned.price))
    assert (started, ended.has_failed) == ([("precede", KEYS[2])], True)
    assert "The server went away." in ended.as_dict()["state"]
