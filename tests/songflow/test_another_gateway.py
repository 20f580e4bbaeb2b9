"""A further model family at a gateway of another shape: two registry entries are enough for a whole life cycle.

The gateway wraps its orders, answers with its own id, status and error fields, is polled by POST for several ids at
once, packs the result as JSON inside a string, names songs by a path of its own, and wants the key in another header.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import pytest
from pydantic import SecretStr
from support.recordings import mp3_bytes

from songflow.accounts import Access, that_can_take
from songflow.catalog.manifest import read_manifest
from songflow.errors import GenerationFailed, InputError, RequestRefused
from songflow.families.family import ExtensionResult, Family, Mode, Model, Request
from songflow.families.field_types import FieldKind
from songflow.families.registry import FAMILIES, parse_request
from songflow.gateways import (
    DIALECTS,
    Account,
    Dialect,
    Ids,
    Question,
    ReportContent,
    ReportStatus,
    Service,
    TakeReport,
    id_or_none,
    read_word,
)
from songflow.gateways.envelope import Envelope, parse_json
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PayingPolicy
from songflow.ledger.states import State
from songflow.recipes.plan import Paid, plan_recipe
from songflow.recipes.reading import recipe_of_text
from songflow.sweeps.cells import cells_of
from songflow.sweeps.plan import plan_cells
from songflow.sweeps.spec import parse_sweep

KEY = "key-of-the-hummery-0123456789"

# --- the family ---------------------------------------------------------------------------------------------------

HUM_MODELS = {"hum-1": Model(seconds=2.0, price=0.5)}


class HumRequest(Request):
    """A hummed tune."""

    prompt: str
    model_type: str = "hum-1"
    tempo: float = 90.0
    mode: Mode = Mode.REGULAR
    source_song_id: str | None = None

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Self:
        return cls.parse(body["hum"])

    def body(self) -> dict[str, Any]:
        return {"hum": {"prompt": self.prompt, "model_type": self.model_type, "tempo": self.tempo}}

    @property
    def model(self) -> Model:
        return HUM_MODELS[self.model_type]

    @property
    def start(self) -> float:
        return 0.0

    @property
    def is_random(self) -> bool:
        return True

    @property
    def texts(self) -> tuple[str, ...]:
        return (self.prompt,)


def _no_extensions(*_: object, **__: object) -> Request:
    raise AssertionError("this family is not extended here")


HUM = Family(
    name="hum",
    request=HumRequest,
    envelope="hum",
    field_kinds={
        "prompt": FieldKind.TEXT,
        "model_type": FieldKind.CHOICE,
        "tempo": FieldKind.NUMBER,
        "mode": FieldKind.CHOICE,
        "source_song_id": FieldKind.TEXT,
    },
    compared_fields=("prompt", "tempo"),
    models=HUM_MODELS,
    hashed_fields={1: ("prompt", "model_type", "tempo")},
    places={},
    start_field="tempo",
    extension_result=ExtensionResult.NEW_PART,
    extend=_no_extensions,
)

# --- the gateway's file -------------------------------------------------------------------------------------------

PHASES = {"COOKING": ReportStatus.RUNNING, "DONE": ReportStatus.SUCCEEDED}


def wire_body(body: Mapping[str, Any]) -> dict[str, Any]:
    hum = body["hum"]
    if hum["tempo"] > 200:
        raise ValueError("its tempo is 200 at most")
    return {"order": {"text": hum["prompt"], "bpm": hum["tempo"]}}


def read_ids(value: object) -> Ids:
    return Ids(id_or_none(value["job"]["ref"])) if isinstance(value, dict) and "job" in value else Ids()


def read_envelope(value: object) -> Envelope:
    if isinstance(value, dict) and value.get("ok") is False:
        return Envelope("relay", "hummery_error", value["why"], status=value["status"])
    return Envelope()


def read_report(value: object, question: Question) -> ReportContent | None:
    jobs = value.get("jobs", []) if isinstance(value, dict) else []
    job = next((one for one in jobs if one["ref"] in question.ids), None)
    if job is None:
        return None
    tunes: Any = parse_json(job["out"] or "[]")
    takes = tuple(
        TakeReport(
            song_id=f"{job['ref']}/{number}",
            title=tune["name"],
            duration=tune["seconds"],
            song_path=question.base_url + tune["file"],
            finished=True,
            error=None,
            payload=tune,
        )
        for number, tune in enumerate(tunes)
    )
    return ReportContent(takes=takes, word=job["phase"], stated=read_word(job["phase"], PHASES))


def fetch_body(ids: Sequence[str]) -> dict[str, Any]:
    return {"refs": list(ids)}


HUMMERY = Dialect(
    name="hummery",
    base_url=None,
    key_variable="HUMMERY_KEY",
    services={
        "hum": Service(
            submit_path="/v2/orders",
            fetch_path="/v2/state",
            read_report=read_report,
            wire_body=wire_body,
            read_ids=read_ids,
            read_envelope=read_envelope,
            fetch_body=fetch_body,
            headers={"X-Client": "songflow"},
        )
    },
    authorization=lambda key: {"X-Key": key},
)


@pytest.fixture
def registered() -> Iterator[None]:
    """The family and the gateway are known while a test runs."""
    FAMILIES["hum"], DIALECTS["hummery"] = HUM, HUMMERY
    yield
    del FAMILIES["hum"], DIALECTS["hummery"]


# --- the gateway's server -----------------------------------------------------------------------------------------


@dataclass
class Server:
    """The gateway on a real socket, with its own bill."""

    song: bytes
    url: str = ""
    bill: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    polls: int = 0
    purse: float = 10.0

    def order(self, body: Any) -> dict[str, Any]:
        if self.purse <= 0:
            return {"ok": False, "status": 402, "why": "the purse is empty"}
        self.bill.append(body)
        return {"ok": True, "job": {"ref": f"ref {len(self.bill)}"}}

    def state(self, body: Any) -> dict[str, Any]:
        self.polls += 1
        out = [{"name": "A hum", "seconds": 2.0, "file": "/files/hum.mp3?take=1"}] if self.polls > 2 else []
        phase = "Done" if out else "Cooking"
        return {
            "jobs": [{"ref": ref, "phase": phase, "out": json.dumps(out)} for ref in ["x", *body["refs"]]]
        }


@pytest.fixture
def server() -> Iterator[Server]:
    """The made-up gateway."""
    state = Server(mp3_bytes(2.0))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.headers.append(dict(self.headers))
            answers = {"/v2/orders": state.order, "/v2/state": state.state}
            self.answer(json.dumps(answers[self.path](body)).encode(), "application/json")

        def do_GET(self) -> None:
            assert self.path == "/files/hum.mp3?take=1"
            state.headers.append(dict(self.headers))
            self.answer(state.song, "audio/mpeg")

        def answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def hummery(server: Server) -> Access:
    return Access(Account(HUMMERY, server.url, "env:HUMMERY_KEY", SecretStr(KEY)))


# --- tests --------------------------------------------------------------------------------------------------------


async def test_a_song_is_made_polled_downloaded_and_in_the_manifest(
    registered: None, server: Server, session: Any
) -> None:
    """Paid once under its key, with the gateway's own body, and the key goes nowhere else."""
    opened = await session()
    request = parse_request({"prompt": "a sea shanty", "model_type": "hum-1", "tempo": 120})
    result = await generate_in(opened, request, hummery(server), key="shanty")
    again = await generate_in(opened, request, hummery(server), key="shanty")
    assert server.bill == [{"order": {"text": "a sea shanty", "bpm": 120}}]
    assert (result.generation_id, again.generation_id, result.price) == ("ref 1", "ref 1", 0.5)
    assert server.polls == 3
    *asked, fetched = server.headers
    assert all((one["X-Key"], one["X-Client"]) == (KEY, "songflow") for one in asked)
    assert "X-Key" not in fetched
    assert "Authorization" not in fetched
    (song,) = result.songs
    assert song.song_id == "ref 1/0"
    assert song.path is not None
    assert Path(song.path).stat().st_size >= len(server.song)
    (row,) = (await read_manifest(opened.library.ledger)).to_dict("records")
    stored = {name: row[name] for name in ("gateway", "state", "song_state", "title", "price", "mode")}
    assert stored == {
        "gateway": "hummery",
        "state": "succeeded",
        "song_state": "stored",
        "title": "A hum",
        "price": 0.5,
        "mode": "regular",
    }
    assert (row["request.prompt"], row["request.model_type"]) == ("a sea shanty", "hum-1")


async def test_a_refusal_in_the_body_of_a_success_is_not_billed(
    registered: None, server: Server, session: Any
) -> None:
    """The gateway's reader finds the status, and the one table decides what it means."""
    opened, server.purse = await session(), 0.0
    request = parse_request({"prompt": "a sea shanty", "model_type": "hum-1"})
    with pytest.raises(RequestRefused, match="the purse is empty") as caught:
        await generate_in(opened, request, hummery(server), key="shanty")
    assert (caught.value.kind, caught.value.billed, caught.value.exit_code) == ("no_credit", "no", 3)
    assert server.bill == []


async def test_a_family_that_the_gateway_does_not_sell_is_refused_before_anything_is_sent(
    registered: None, server: Server, session: Any, access: Any, simulator: Any, song_request: Any
) -> None:
    """Exit 2, the gateways that sell it are named, and the ledger has no row of it."""
    opened, relay = await session(), access(simulator().url)
    hum = parse_request({"prompt": "a sea shanty", "model_type": "hum-1"})
    with pytest.raises(InputError, match="simulator does not sell hum") as caught:
        await generate_in(opened, hum, relay, key="one")
    assert (caught.value.exit_code, "sells hum (hummery);" in str(caught.value.next)) == (2, True)
    with pytest.raises(InputError, match="hummery does not sell udio") as caught:
        await generate_in(opened, song_request(), hummery(server), key="two")
    assert "that it sells (hum-1), or a gateway that sells udio (cometapi," in str(caught.value.next)
    assert (await read_manifest(opened.library.ledger)).empty
    assert (server.headers, await opened.library.ledger.submissions.of_key("one")) == ([], [])


async def test_the_plan_of_a_sweep_or_a_recipe_refuses_a_family_that_is_not_sold(
    registered: None, server: Server
) -> None:
    """Before the first song of many is paid for."""
    account = hummery(server)
    cells = cells_of(parse_sweep({"prompt": "a", "grid": {"seed": [1, 2]}}, Path()), account)
    with pytest.raises(InputError, match="hummery does not sell udio"):
        await plan_cells(cells, account, None, concurrency=1)
    recipe = recipe_of_text("name: short\ncore:\n  prompt: a\n", "short.yaml")
    with pytest.raises(InputError, match="hummery does not sell udio"):
        plan_recipe(recipe, account)
    assert plan_recipe(recipe, account, paid=Paid(1, 1.0)).existing == 1


async def test_a_request_that_the_gateway_cannot_express_is_refused_before_anything_is_sent(
    registered: None, server: Server, session: Any
) -> None:
    """The translation to its body gives the reason."""
    opened = await session()
    fast = parse_request({"prompt": "a sea shanty", "model_type": "hum-1", "tempo": 240})
    with pytest.raises(InputError, match="hummery cannot make this song: its tempo is 200 at most"):
        await generate_in(opened, fast, hummery(server), key="fast")
    assert (server.headers, await opened.library.ledger.submissions.of_key("fast")) == ([], [])


async def test_fallbacks_that_do_not_sell_the_family_are_left_out(
    registered: None, server: Server, session: Any, access: Any, simulator: Any, song_request: Any
) -> None:
    """A refused song is not offered to a gateway that cannot make it."""
    refusing = simulator({"fault": "status", "on": "submit", "status": 403, "times": None})
    relay, other = access(refusing.url), hummery(server)
    assert that_can_take((relay, other, relay), song_request()) == (relay, relay)
    opened = await session()
    with pytest.raises(RequestRefused):
        await generate_in(opened, song_request(), relay, key="key", policy=PayingPolicy(fallbacks=(other,)))
    assert server.headers == []


async def test_a_key_that_was_paid_elsewhere_is_collected_through_any_gateway(
    registered: None, server: Server, session: Any, access: Any, simulator: Any, song_request: Any
) -> None:
    """Another --gateway on the second run, even one without the family, does not hide a paid song."""
    relay = simulator()
    opened = await session(resolver=_resolver(access(relay.url)))
    first = await generate_in(opened, song_request(), access(relay.url), key="key")
    again = await generate_in(opened, song_request(), hummery(server), key="key")
    assert (again.generation_id, again.state) == (first.generation_id, State.SUCCEEDED)
    assert len(relay.bill()) == 1


async def test_a_key_that_failed_elsewhere_reports_that_failure_at_any_gateway(
    registered: None, server: Server, session: Any, access: Any, simulator: Any, song_request: Any
) -> None:
    """Nothing would be sent, so the gateway's offer is no reason; only to pay again needs a gateway that sells it."""
    relay, opened = simulator({"fault": "failure", "fail_reason": "moderated"}), await session()
    with pytest.raises(GenerationFailed, match="moderated"):
        await generate_in(opened, song_request(), access(relay.url), key="key")
    with pytest.raises(GenerationFailed, match="moderated"):
        await generate_in(opened, song_request(), hummery(server), key="key")
    with pytest.raises(InputError, match="does not sell udio"):
        await generate_in(
            opened, song_request(), hummery(server), key="key", policy=PayingPolicy(retry_errors=True)
        )
    assert (len(relay.bill()), server.bill) == (1, [])


def _resolver(access: Access) -> Any:
    async def resolve(_: object) -> Access:
        return access

    return resolve
