"""Links to forms: what they hold, and when there is none."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from songflow.sweeps.shards import DEFAULT_SHARD_SIZE
from tasks.ui.links import EXTEND, NO_LINKS, SWEEP, FormLinks

HERE = {
    EXTEND: SimpleNamespace(id="e1", parameters={}),
    SWEEP: SimpleNamespace(id="s1", parameters={"shards": {"shard_deployment": "sweep-shard/shard"}}),
}
LIBRARY = {"$ref": {"block_document_id": "b1"}}
ACCOUNT = {"$ref": {"block_document_id": "b2"}}


def links(**given: object) -> FormLinks:
    return FormLinks(HERE, {"library": LIBRARY, "credentials": ACCOUNT}, given, "sweep")  # type: ignore[arg-type]


def parameters(link: str | None) -> object:
    assert link is not None
    address = link.partition("](")[2].partition(")")[0]
    assert not set(address) & set(" |()<>\"'")
    return json.loads(parse_qs(urlsplit(address).query)["parameters"][0])


def test_an_extension_is_paid_for_by_the_account_of_its_song() -> None:
    assert parameters(links().extend("s-1 (2)|")) == {"song_id": "s-1 (2)|", "library": LIBRARY}


SPARE = {"_block_document_id": "b3", "api_key": "********"}


@pytest.mark.parametrize(
    ("safety", "failed", "expected"),
    [
        (None, False, {}),
        (None, True, {"safety": {"retry_errors": True}}),
        ({"retry_errors": False, "max_failures": None}, False, {"safety": {"retry_errors": False}}),
        ({"retry_errors": True}, False, {"safety": {"retry_errors": True}}),
        (
            {"key": "k", "max_failures": 3, "fallbacks": [ACCOUNT, SPARE]},
            True,
            {
                "safety": {
                    "max_failures": 3,
                    "fallbacks": [ACCOUNT, {"$ref": {"block_document_id": "b3"}}],
                    "retry_errors": True,
                }
            },
        ),
    ],
)
def test_a_sweep_is_made_again_with_its_own_safety(
    safety: dict[str, Any] | None, failed: bool, expected: dict[str, Any]
) -> None:
    """With its fallbacks, under whose accounts cells may have been paid; only failures are paid for again."""
    found = parameters(links(spec="name: 'a'\n", safety=safety).again("again", failed=failed))
    assert found == {
        "shards": {"shard_size": DEFAULT_SHARD_SIZE},
        "spec": "name: 'a'\n",
        "library": LIBRARY,
        "credentials": ACCOUNT,
        **expected,
    }


@pytest.mark.parametrize(
    "own",
    [
        {"credentials": {"api_key": "k"}},
        {"library": {"folder": "/songs", "ledger_url": "postgresql://me:k@there/songs"}},
        {"safety": {"fallbacks": [SPARE, {"api_key": "k"}]}},
    ],
)
def test_an_unsaved_block_of_the_deployment_gets_into_no_link(own: dict[str, Any]) -> None:
    """A deployment can hold a key in its parameters, which a page would show."""
    here = {EXTEND: SimpleNamespace(id="e1", parameters=own)}
    assert FormLinks(here, {}, {}, "generate-song").extend("s-1") is None  # type: ignore[arg-type]


def test_a_saved_block_of_the_deployment_is_a_reference_in_a_link() -> None:
    here = {EXTEND: SimpleNamespace(id="e1", parameters={"credentials": SPARE, "budget": None})}
    found = parameters(FormLinks(here, {}, {}, "generate-song").extend("s-1"))  # type: ignore[arg-type]
    assert found == {"song_id": "s-1", "credentials": {"$ref": {"block_document_id": "b3"}}}


@pytest.mark.parametrize(
    "none",
    [
        NO_LINKS.extend("s-1"),
        links().more(),  # a sweep has no "more like this"
        links(spec="x" * 10_000).again("again", failed=True),
        links(safety={"fallbacks": [{"api_key": "k"}]}).again("again", failed=True),
        FormLinks(HERE, None, {}, "sweep").extend("s-1"),  # type: ignore[arg-type]
        links().extend(None),
    ],
)
def test_where_nothing_can_be_linked_there_is_no_link(none: str | None) -> None:
    """Without the deployment, with an unsaved block, for a song without an id, or if the address were too long."""
    assert none is None


def test_a_sweep_without_shards_stays_without() -> None:
    """Those of the deployment would refuse its review."""
    for given in ({}, {"shards": {"shard_size": 9}}):
        made = parameters(links(spec="prompt: x", **given).again("again", failed=False))
        assert made["shards"] == {"shard_size": DEFAULT_SHARD_SIZE, **given.get("shards", {})}  # type: ignore[index]


def test_a_group_in_a_link_has_no_null() -> None:
    """A form refuses it, and a run that was started from Python has some."""
    here = FormLinks(
        HERE | {"generate-song/generate": HERE[EXTEND]},
        {},
        {"account": {"gateway": "x", "shape": None}},
        "generate-song",
    )  # type: ignore[arg-type]
    assert parameters(here.more()) == {"account": {"gateway": "x"}}
