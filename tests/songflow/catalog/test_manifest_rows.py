"""The manifest: one row per song and per generation without one, typed, with lineage, equal in every format."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import SecretStr

from songflow.accounts import Access
from songflow.catalog.manifest import COLUMNS, empty_manifest, read_manifest
from songflow.documents.csv_table import csv_bytes
from songflow.errors import GenerationFailed, OutcomeUnknown, RequestNotSent, RequestRefused, StillRunning
from songflow.families.udio import SongRequest
from songflow.gateways import DIALECTS, Account
from songflow.generation.lifecycle import generate_in
from songflow.generation.policy import PaidRequest
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.generation.submit import submit_once
from songflow.settings import LibrarySettings
from songflow.simulator import FaultScript, SimulatorServer, SimulatorSettings

pytestmark = pytest.mark.xdist_group("manifest")  # one frame for all of them


def dtypes(frame: pd.DataFrame) -> dict[str, str]:
    return {name: str(dtype) for name, dtype in frame.dtypes.items()}


async def manifest(session: Session) -> pd.DataFrame:
    return await read_manifest(session.library.ledger)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Songs, an extension, and every kind of generation without a song; in the order of their keys."""
    faults = FaultScript.of(
        {"fault": "moderated", "match": "moderated"},
        {"fault": "quota_not_enough", "match": "refused"},
        {"fault": "lost_answer", "match": "unknown"},
        {"fault": "unknown_for_ever", "match": "overdue"},
        {"fault": "one_take_fails", "match": "half"},
    )
    settings = SimulatorSettings(clip_seconds=0.25, speed=250.0, sigma=0.0, faults=faults)
    with SimulatorServer(settings) as server:
        return asyncio.run(everything(server.url, tmp_path_factory.mktemp("manifest")))


async def everything(url: str, folder: Path) -> pd.DataFrame:
    account = Access(Account(DIALECTS["cometapi"], url, "test", SecretStr("sk-0123456789abcdef")))
    nobody = Access(Account(DIALECTS["cometapi"], "http://127.0.0.1:1", "test"))
    patience = SessionSettings(poll_interval=0.02, deadline=30.0, retries=0)
    async with Session(LibrarySettings(folder), patience) as session:

        async def make(key: str, access: Access = account, **fields: Any) -> Any:
            request = SongRequest.parse({"prompt": key.partition("-")[2], **fields})
            return await generate_in(session, request, access, key=key)

        parent = (await make("a-whole", seed=7)).songs[0].song_id
        await make("b-extended", mode="precede", source_song_id=parent, prompt_strength=0.25)
        await make("c-half")
        for key, error, access in (
            ("d-moderated", GenerationFailed, account),
            ("e-refused", RequestRefused, account),
            ("f-unknown", OutcomeUnknown, account),
            ("h-unsent", RequestNotSent, nobody),
        ):
            with pytest.raises(error):
                await make(key, access)
        await submit_once(
            session, PaidRequest(SongRequest.parse({"prompt": "accepted"}), "i-accepted"), account
        )
    async with Session(LibrarySettings(folder), SessionSettings(deadline=0.0)) as session:
        with pytest.raises(StillRunning):
            await make("g-overdue")
        return await read_manifest(session.library.ledger)


def test_a_manifest_has_its_columns_and_dtypes(full: pd.DataFrame) -> None:
    """Real ones, in the published order."""
    assert dtypes(full) == dict(COLUMNS)
    assert list(full.columns) == list(COLUMNS)


def test_an_empty_manifest_has_the_same_columns_and_dtypes() -> None:
    """Without any ledger."""
    assert dtypes(empty_manifest()) == dict(COLUMNS)
    assert len(empty_manifest()) == 0


async def test_the_manifest_of_an_empty_ledger_has_the_same_columns_and_dtypes(session: Any) -> None:
    """The same frame."""
    pd.testing.assert_frame_equal(await manifest(await session()), empty_manifest())


async def test_a_manifest_of_failures_has_the_same_columns_and_dtypes(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """Columns without any value keep their dtype."""
    opened = await session()
    server = simulator({"fault": "quota_not_enough"})
    with pytest.raises(RequestRefused):
        await generate_in(opened, song_request(), access(server.url), key="k")
    frame = await manifest(opened)
    assert dtypes(frame) == dict(COLUMNS)
    assert frame["song_id"].isna().all()


def test_every_generation_has_a_row(full: pd.DataFrame) -> None:
    """Two rows for two takes, one for a generation without songs."""
    assert full["key"].value_counts(sort=False).to_dict() == {
        "a-whole": 2,
        "b-extended": 2,
        "c-half": 2,
        "d-moderated": 2,
        "e-refused": 1,
        "f-unknown": 1,
        "h-unsent": 1,
        "i-accepted": 1,
        "g-overdue": 1,
    }


@pytest.mark.parametrize(
    ("key", "state", "billed", "song_state", "error"),
    [
        ("a-whole", "succeeded", "yes", "stored", None),
        ("c-half", "succeeded", "yes", "stored", None),
        ("e-refused", "refused", "no", None, "quota"),
        ("f-unknown", "unknown", "maybe", None, "without sending a response"),
        ("g-overdue", "overdue", "yes", None, "still"),
        ("h-unsent", "unsent", "no", None, "Connection refused"),
        ("i-accepted", "accepted", "yes", None, None),
    ],
)
def test_a_row_shows_the_state_of_its_generation(
    full: pd.DataFrame, key: str, state: str, billed: str, song_state: str | None, error: str | None
) -> None:
    """State, billing, and the reason for a missing song."""
    row = full[full["key"] == key].iloc[0]
    assert (row["state"], row["billed"]) == (state, billed)
    assert (None if pd.isna(row["song_state"]) else row["song_state"]) == song_state
    if error is None:
        assert pd.isna(row["error"])
    else:
        assert error in row["error"]


def test_a_failed_generation_names_the_reason_on_each_take(full: pd.DataFrame) -> None:
    """And has no file."""
    rows = full[full["key"] == "d-moderated"]
    assert (rows["state"] == "failed").all()
    assert (rows["song_state"] == "failed").all()
    assert rows["error"].str.contains("moderation").all()
    assert rows["path"].isna().all()


def test_a_failed_take_has_its_own_row_and_error(full: pd.DataFrame) -> None:
    """Beside the take that succeeded."""
    good, bad = (row for _, row in full[full["key"] == "c-half"].iterrows())
    assert (good["song_state"], bad["song_state"]) == ("stored", "failed")
    assert "GENERATION_ERROR" in bad["error"]
    assert Path(good["path"]).is_file()
    assert pd.isna(bad["path"])


def test_a_row_has_the_properties_of_the_songs_file(full: pd.DataFrame) -> None:
    """Size, length, rate, peak and loudness."""
    row = full.iloc[0]
    assert Path(row["path"]).stat().st_size == row["bytes"]
    assert row["seconds"] == pytest.approx(0.25)
    assert row["announced_seconds"] == pytest.approx(0.25)
    assert (row["sample_rate"], row["channels"], row["take"]) == (44_100, 2, 0)
    assert 0 < row["peak"] <= 1.2
    assert -60 < row["rms_db"] < 0
    assert (
        row["stored_at"] >= row["settled_at"] >= row["answered_at"] >= row["sending_at"] >= row["intended_at"]
    )


def test_a_row_has_the_request_and_the_gateway(full: pd.DataFrame) -> None:
    """Every field of the request under its wire name; the account's alias, never its key."""
    row = full.iloc[0]
    assert (row["request.prompt"], row["request.seed"], row["request.prompt_strength"]) == ("whole", 7, 0.5)
    assert (row["request.lyrics_type"], row["request.model_type"]) == ("generate", "udio32-v1.5")
    assert row["request.bypass_prompt_optimization"] is True or not row["request.bypass_prompt_optimization"]
    assert (row["gateway"], row["account"], row["price"]) == ("cometapi", "test", 1.0)
    assert row["base_url"].startswith("http://127.0.0.1:")
    assert "simulation" in row["tags"]
    assert "sk-0123456789abcdef" not in full.to_csv()


def test_an_extension_has_parent_root_and_depth(full: pd.DataFrame) -> None:
    """Depth 1 below a song of depth 0."""
    root, child = full.iloc[0], full[full["key"] == "b-extended"].iloc[0]
    assert (root["mode"], root["depth"]) == ("regular", 0)
    assert pd.isna(root["parent_song_id"])
    assert root["root_song_id"] == root["song_id"]
    assert (child["mode"], child["depth"]) == ("precede", 1)
    assert (child["parent_song_id"], child["root_song_id"]) == (root["song_id"], root["song_id"])
    assert child["request.context_length"] == 130
    assert child["seconds"] == pytest.approx(0.5)


async def test_a_chain_of_extensions_has_one_root(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """Intro, then outro: depths 0, 1, 2; an unknown parent is itself the root."""
    opened, server = await session(), simulator(takes=1)
    account = access(server.url)
    source, ids = None, []
    for step, fields in enumerate(({}, {"mode": "precede"}, {"mode": "continuation"})):
        more = {**fields, "source_song_id": source} if source else {}
        result = await generate_in(opened, song_request(f"step {step}", **more), account, key=f"k{step}")
        source = result.songs[0].song_id
        ids.append(source)
    elsewhere = await session(library=type(opened.library.settings)(opened.library.settings.folder / "other"))
    stray = song_request("stray", mode="continuation", source_song_id=ids[0])
    await generate_in(elsewhere, stray, account, key="stray")
    frame = await manifest(opened)
    assert frame["depth"].tolist() == [0, 1, 2]
    assert frame["mode"].tolist() == ["regular", "precede", "continuation"]
    assert frame["parent_song_id"].tolist()[1:] == ids[:2]
    assert frame["root_song_id"].tolist() == [ids[0]] * 3
    row = (await manifest(elsewhere)).iloc[0]
    assert (row["parent_song_id"], row["root_song_id"], row["depth"]) == (ids[0], ids[0], 1)


async def test_an_unfinished_extension_has_its_parent(
    simulator: Any, session: Any, access: Any, song_request: Any
) -> None:
    """Before it has a song."""
    opened, server = await session(), simulator(takes=1)
    account = access(server.url)
    source = (await generate_in(opened, song_request(), account, key="a")).songs[0].song_id
    await submit_once(
        opened, PaidRequest(song_request("b", mode="precede", source_song_id=source), "b"), account
    )
    row = (await manifest(opened)).iloc[1]
    assert (row["parent_song_id"], row["mode"], row["state"]) == (source, "precede", "accepted")
    assert pd.isna(row["song_id"])


def test_a_manifest_survives_parquet(full: pd.DataFrame) -> None:
    """With every dtype."""
    data = io.BytesIO(full.to_parquet(None, index=False))
    pd.testing.assert_frame_equal(pd.read_parquet(data), full, check_categorical=False)


def test_a_manifest_survives_csv(full: pd.DataFrame) -> None:
    """Read with the published dtypes, it is equal."""
    times = [name for name, dtype in COLUMNS.items() if dtype.startswith("datetime")]
    dtypes = {name: dtype for name, dtype in COLUMNS.items() if name not in times}
    again = pd.read_csv(io.BytesIO(csv_bytes(full, guard=False)), dtype=dtypes, parse_dates=times)
    for name in times:
        again[name] = pd.to_datetime(again[name], utc=True, format="ISO8601").astype(COLUMNS[name])
    texts = [name for name, dtype in COLUMNS.items() if dtype == "string"]
    # A CSV cannot tell an empty text from none.
    pd.testing.assert_frame_equal(
        again.fillna(dict.fromkeys(texts, "")), full.fillna(dict.fromkeys(texts, "")), check_categorical=False
    )


def test_a_manifest_survives_json(full: pd.DataFrame) -> None:
    """With exact numbers."""
    text = full.to_json(orient="records", date_format="iso", date_unit="us", double_precision=15)
    records = json.loads(text)
    assert [record["seconds"] for record in records[:2]] == full["seconds"].tolist()[:2]
    assert records[0]["rms_db"] == pytest.approx(full["rms_db"].iloc[0], abs=1e-12)
    assert pd.Timestamp(records[0]["stored_at"]) == full["stored_at"].iloc[0]
    assert [record["key"] for record in records] == full["key"].tolist()
