"""Errors of runs name the fields of a form, and quote commands as they are."""

from __future__ import annotations

import contextvars

import pytest
from prefect.flows import load_flow_from_entrypoint

from deployments.definitions import definitions
from flows.generate import generate_song
from songflow.errors import MissingCredentials
from tasks.wording import FIELDS, keep_options, worded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "run the same command with --key 4f:core.again1, or `songflow rescue --key 4f`, to collect it.",
            "run the deployment again with the Request key 4f:core.again1, or `songflow rescue --key 4f`, to collect "
            "it.",
        ),
        (
            "listen, then run the same command with --key K --choose core=1, or core=again1 for another pair.",
            'listen, then run the deployment again with the Request key K and the Choices {"core": "1"}, or '
            "core=again1 for another pair.",
        ),
        (
            "run the same command with --key 4f, or continue with the other: --choose core=2.",
            'run the deployment again with the Request key 4f, or continue with the other: the Choices {"core": "2"}.',
        ),
        (
            "to pay for another song anyway: --if-unsettled new.",
            "to pay for another song anyway: new in the If unsettled field.",
        ),
        (
            "check --gateway and --base-url: it takes no songs.",
            "check the Gateway field and the Base URL field: it takes no songs.",
        ),
        ("it is --budgeted, ---, or -- none.", "it is --budgeted, ---, or -- none."),
    ],
)
def test_an_option_becomes_its_field(text: str, expected: str) -> None:
    assert worded(text) == expected


def test_a_run_of_the_command_line_keeps_its_options() -> None:
    def kept() -> str:
        keep_options()
        return worded("run with --key K.")

    assert contextvars.copy_context().run(kept) == "run with --key K."


def test_every_field_is_in_a_form() -> None:
    titles: set[str] = set()

    def collect(schema: object) -> None:
        if isinstance(schema, dict):
            titles.add(str(schema.get("title")))
            for part in schema.values():
                collect(part)
        elif isinstance(schema, list):
            for part in schema:
                collect(part)

    for one in definitions():
        collect(load_flow_from_entrypoint(one.entrypoint).parameters.model_dump())
    assert set(FIELDS.values()) <= titles


@pytest.mark.prefect
@pytest.mark.xdist_group("prefect")
@pytest.mark.usefixtures("prefect_server")
async def test_the_state_of_a_run_names_the_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMETAPI_KEY", raising=False)
    monkeypatch.delenv("SONGFLOW_API_KEY", raising=False)
    state = await generate_song("x", account={"gateway": "cometapi"}, return_state=True)  # type: ignore[arg-type]
    with pytest.raises(MissingCredentials):
        await state.aresult()
    assert "name a credentials block with the Credentials field" in (state.message or "")
    assert "--" not in (state.message or "")
