"""The flow extend-song on a real Prefect server: its form, requests, gateways and payments."""

from __future__ import annotations

import base64
import inspect
import json
import os
import re

import pytest
from prefect import flow
from prefect.exceptions import ParameterTypeError
from support.songs import Studios

from blocks import CometAPICredentials, OpenAIHKCredentials
from flows.extend import extend_song
from flows.generate import generate_song
from songflow.errors import InputError, InvalidRequest
from songflow.families.udio import SongRequest

PARAMETERS = extend_song.parameters.model_dump()["properties"]


def test_the_form_has_every_option_with_title_and_text():
    """All fields of a request but the source song, and the payment and waiting parameters of generate-song.

    `thinking` is not among them: models that have it make an extension without it.
    """
    mine, generates = (inspect.signature(one.fn).parameters for one in (extend_song, generate_song))
    assert SongRequest.model_fields.keys() - {"source_song_id"} <= mine.keys()
    assert generates.keys() - mine.keys() == {"source_song_id", "thinking"}
    for name, schema in PARAMETERS.items():
        assert schema["description"].endswith("."), name
        assert schema["title"][0].isupper(), name
    assert "Args:" not in extend_song.description


@pytest.fixture(scope="module")
def refusals(tmp_path_factory):
    """A studio for several tests."""
    studios = Studios(tmp_path_factory.mktemp("refusals"))
    yield studios(clip_seconds=2.0)
    studios.close()


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.usefixtures("prefect_server")
class TestOnAServer:
    @pytest.mark.parametrize("account", [CometAPICredentials, OpenAIHKCredentials])
    async def test_a_whole_song_stays_with_the_account_that_made_its_core(self, studio, account):
        here = studio(clip_seconds=2.0)
        block = account(api_key=here.secret, base_url=here.simulator.url)
        await block.asave("studio", overwrite=True)
        quick = {"library": here.library, "waiting": {"poll_interval": 0.1}}
        core = await generate_song("mother", credentials=await account.aload("studio"), **quick)
        intro = await extend_song(core.songs[0].song_id, place="intro", prompt="father", **quick)
        outro = await extend_song(intro.songs[1].song_id, placement={"mode": "continuation"}, **quick)
        submissions, songs = await here.ledger(outro.key)
        assert submissions[0].account.endswith("/studio")
        assert [song.source_score for song in songs] == [1, 1]
        assert {(song.depth, song.root_song_id) for song in songs} == {(2, core.songs[0].song_id)}
        assert songs[0].seconds == pytest.approx(6, abs=0.1)
        asked = [entry.body["gen_params"] for entry in here.simulator.bill()]
        assert [one["prompt"] for one in asked] == ["mother", "father", "father"]
        assert [one["song_section_start"] for one in asked] == [0, 0, 0.9]
        assert here.billed == 3

    async def test_a_retried_parent_pays_for_each_step_once(self, studio):
        here, made = studio(clip_seconds=2.0), []

        @flow(retries=1)
        async def whole():
            core = await generate_song("a core", **here.options)
            made.append(await extend_song(core.songs[0].song_id, place="intro", **here.options))
            if len(made) == 1:
                raise RuntimeError("the parent fails after its extension is stored")

        await whole()
        assert made[0].songs == made[1].songs
        assert here.billed == 2

    @pytest.mark.parametrize(
        ("wrong", "error", "text"),
        [
            ({"place": "middle"}, ParameterTypeError, "place"),
            ({"placement": {"context_length": 131.0}}, ParameterTypeError, "context_length"),
            ({"placement": {"mode": "regular"}}, ParameterTypeError, "mode"),
            (
                {"placement": {"mode": "precede"}, "place": "outro"},
                InvalidRequest,
                "place outro belongs to mode continuation",
            ),
            ({"lyrics_type": "user"}, InvalidRequest, "lyrics is required"),
            ({"song_id": "nowhere", "credentials": None}, InputError, "no song 'nowhere'"),
            ({"credentials": None, "account": {"gateway": "simulator"}}, InputError, "cannot extend it"),
        ],
        ids=str,
    )
    async def test_invalid_parameters_are_refused_before_anything_is_spent(
        self, refusals, wrong, error, text
    ):
        """All of them for one song, which is made once."""
        here = refusals
        _submissions, songs = await here.ledger("core")
        if not songs:
            songs = (await generate_song("a core", safety={"key": "core"}, **here.options)).songs
        with pytest.raises(error, match=text):
            await extend_song(**{"song_id": songs[0].song_id, **here.options, **wrong})
        assert here.billed == 1

    async def test_the_command_is_a_flow_run_if_a_server_is_configured(
        self, studio, prefect_server, tmp_path, program
    ):
        here = studio(clip_seconds=2.0)
        core = await generate_song("a core", **here.options)
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "SONGFLOW_"))
        }
        process = await program(
            *("-m", "cli", "extend", core.songs[0].song_id, "--place", "front", "--json"),
            *("--gateway", "simulator", "--base-url", here.simulator.url, "--key", "E1"),
            *("--library", str(here.folder / "songs"), "--poll-interval", "0.1"),
            env=environment
            | {
                "PREFECT_API_URL": prefect_server.url,
                "PREFECT_HOME": str(tmp_path / "home"),
                "SONGFLOW_API_KEY": here.secret,
            },
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        submissions, songs = await here.ledger("E1")
        [run] = await prefect_server.flow_runs(f"front for {core.songs[0].song_id}")
        assert submissions[0].runs.flow_run_id == str(run.id)
        assert [song["song_id"] for song in json.loads(out)["songs"]] == [song.song_id for song in songs]
        assert [song.source_score for song in songs] == [1, 1]

    async def test_the_lineage_is_an_artifact_and_a_dependency_of_assets(self, studio, prefect_server):
        here = studio(
            {"fault": "hostile_titles", "titles": ["<img src=x onerror=alert(1)> $x_1$ [a](b)"]},
            clip_seconds=2.0,
        )
        core = await generate_song("a core", **here.options)
        source = core.songs[0].song_id
        longer = await extend_song(source, place="outro", **here.options)
        submissions, songs = await here.ledger(longer.key)
        pages = await prefect_server.artifacts(submissions[0].runs.flow_run_id, "markdown")
        [page] = [one for one in pages if "data:image/png;base64," in one]
        assert any("seam at 2.0 s, 2.0 s added" in one for one in pages)
        picture = re.search(r"base64,([A-Za-z0-9+/=]+)", page)
        assert base64.b64decode(picture[1]).startswith(b"\x89PNG")
        for song in songs:
            assert song.song_id.replace("-", "\\-") in page
        assert "<img" not in page
        assert "  - **" in page
        made = f"songflow://simulator/{songs[0].song_id}"
        [event] = await prefect_server.events("prefect.asset.materialization.succeeded", made)
        related = {one["prefect.resource.id"]: one["prefect.resource.role"] for one in event["related"]}
        assert related[f"songflow://simulator/{source}"] == "asset"
        assert await prefect_server.events("prefect.asset.referenced", f"songflow://simulator/{source}")
