"""The command in this process: cases that a subprocess cannot show."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cli.main import run

Call = Callable[..., tuple[int, str, str]]
PREFECT = (
    "PREFECT_API_URL",
    "PREFECT_PROFILE",
    "PREFECT_PROFILES_PATH",
    "SONGFLOW_PREFECT",
    "SONGFLOW_DEBUG",
)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate the test from the machine's configuration and files."""
    for name in (*PREFECT, "COMETAPI_KEY", "OPENAI_HK_KEY", "SONGFLOW_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("SONGFLOW_LIBRARY", str(tmp_path / "songs"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def call(capfdbinary: pytest.CaptureFixture[bytes]) -> Iterator[Call]:
    """Run the command here; returns exit code, stdout and stderr, and restores the loggers."""
    logger = logging.getLogger("songflow")
    before = (list(logger.handlers), logger.level, logger.propagate)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        code = run(list(arguments))
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    yield invoke
    assert (list(logger.handlers), logger.level, logger.propagate) == before
