"""Links to forms: what they hold, and when there is none."""

from __future__ import annotations

import json
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

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


def test_a_sweep_is_made_again_with_the_parameters_of_its_deployment() -> None:
    found = parameters(links(spec="name: 'a'\n", safety={"key": "k"}).again("again"))
    assert found == {
        "shards": {"shard_deployment": "sweep-shard/shard"},
        "spec": "name: 'a'\n",
        "safety": {"retry_errors": True},
        "library": LIBRARY,
        "credentials": ACCOUNT,
    }


@pytest.mark.parametrize(
    "none",
    [
        NO_LINKS.extend("s-1"),
        links().more(),  # a sweep has no "more like this"
        links(spec="x" * 10_000).again("again"),
        FormLinks(HERE, None, {}, "sweep").extend("s-1"),  # type: ignore[arg-type]
        links().extend(None),
    ],
)
def test_where_nothing_can_be_linked_there_is_no_link(none: str | None) -> None:
    """Without the deployment, with an unsaved block, for a song without an id, or if the address were too long."""
    assert none is None
