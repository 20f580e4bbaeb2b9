"""Every family at every gateway, over a real socket: what it makes, what it refuses, and exactly what it costs.

A gateway that is new in the registry is held to this without a change here. It runs on the simulator, or live
(see `support/offers.py`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.offers import Offer, offers

from songflow.catalog.manifest import COLUMNS, read_manifest
from songflow.errors import InputError
from songflow.gateways import Act
from songflow.generation.lifecycle import generate_in
from songflow.recipes.making import make_whole_song
from songflow.recipes.plain import PlainCrew
from songflow.recipes.reading import plain_document, read_recipe
from songflow.sweeps.cells import cells_of
from songflow.sweeps.plan import plan_cells
from songflow.sweeps.run import RunOptions
from songflow.sweeps.spec import parse_sweep
from songflow.sweeps.sweep import run_sweep

OFFERS = offers()
pytestmark = pytest.mark.parametrize("offer", OFFERS, ids=str)


async def test_each_act_is_paid_once_or_refused_before_anything_is_sent(offer: Offer, studio: Any) -> None:
    """An idea, words of one's own, an instrumental and extensions; `Service.cannot` says what is refused."""
    idea = await studio.make("idea", studio.request())
    for act in (Act.OWN_WORDS, Act.INSTRUMENTAL, Act.EXTENSION, Act.INSTRUMENTAL_EXTENSION):
        fields = offer.fields(act)
        if not all(map(offer.has, fields)):
            continue
        extends = act in (Act.EXTENSION, Act.INSTRUMENTAL_EXTENSION)
        request = await studio.extension(idea, **fields) if extends else studio.request(**fields)
        if offer.can(act):
            made = await studio.make(act, request)
            if extends:
                parents = {song.parent_song_id for song in await _songs(studio, made.key)}
                assert parents == {idea.songs[0].song_id}
            continue
        before = studio.posts()
        with pytest.raises(InputError, match=re.escape(_why_not(offer, act))) as caught:
            await generate_in(studio.session, request, studio.access, key=act)
        assert (caught.value.billed, studio.posts()) == ("no", before)
    await studio.check_bill()
    await _check_manifest(studio)


async def test_a_whole_song_by_a_recipe_costs_its_steps(offer: Offer, studio: Any) -> None:
    """A core and an extension, planned with the same price; or refused as a whole."""
    how = offer.placement(2.0)
    step = {"name": "end", **({"place": how["place"]} if "place" in how else how["overrides"])}
    recipe = read_recipe(
        plain_document({"core": {"prompt": "a slow waltz", "model_type": offer.models[0]}, "steps": [step]})
    )
    crew = PlainCrew(studio.session)
    making = make_whole_song(studio.session, recipe, [studio.access], crew, key="whole")
    if offer.can(Act.EXTENSION):
        whole = await making
        studio.spent = 2 * studio.access.price_of(studio.request())
        assert (whole.state, whole.price) == ("succeeded", studio.spent)
    else:
        with pytest.raises(InputError, match=re.escape(_why_not(offer, Act.EXTENSION))):
            await making
    await studio.check_bill()


async def test_a_sweep_pays_each_cell_once(offer: Offer, studio: Any) -> None:
    """Over every model that is sold; a second run of it pays nothing."""
    rows = [
        {"prompt": f"a waltz, number {number}", "model_type": model}
        for number, model in enumerate(offer.cell_models)
    ]
    cells = cells_of(parse_sweep({"list": rows}, Path()), studio.access)
    plan = await plan_cells(cells, studio.access, None, concurrency=8)
    first = await run_sweep(studio.session, "all", cells, studio.access, RunOptions(concurrency=8))
    again = await run_sweep(studio.session, "all", cells, studio.access, RunOptions(concurrency=8))
    assert (first.stored + first.existing, again.existing, again.posts) == (len(cells), len(cells), 0)
    studio.spent = plan.price
    assert plan.price == sum(studio.access.price_of(cell.request) for cell in cells)
    await studio.check_bill()
    frame = await _check_manifest(studio)
    assert frame["key"].nunique() == len(cells)


def _why_not(offer: Offer, act: Act) -> str:
    cannot = offer.service.cannot
    return cannot[act] if act in cannot else cannot[Act.EXTENSION]


async def _songs(studio: Any, key: str) -> Any:
    return await studio.session.library.ledger.songs.of_key(key)


async def _check_manifest(studio: Any) -> Any:
    """The columns are those of every family, each with its dtype, and what this family lacks is missing."""
    frame = await read_manifest(studio.session.library.ledger)
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == dict(COLUMNS)
    assert set(frame["gateway"]) == {studio.offer.gateway}
    assert set(frame["song_state"]) == {"stored"}
    assert (
        frame[["song_id", "generation_id", "sha256", "seconds", "path", "request.prompt"]].notna().all().all()
    )
    for name in COLUMNS:
        field = name.removeprefix("request.")
        if name != field and not studio.offer.has(field):
            assert frame[name].isna().all(), name
    return frame
