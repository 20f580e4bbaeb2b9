"""Failures of the simulator's own disk or renderer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from songflow.simulator import renders


def test_a_failed_render_leaves_the_job_running_and_is_retried(
    sim: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(renders, "_write", broken)
        job_id = sim.submit()
        with pytest.raises(OSError, match="disk full"):
            sim.rendered(job_id)
        assert sim.data(job_id)["status"] == "IN_PROGRESS"
    assert sim.until(job_id, "SUCCESS")


def test_a_partial_file_never_has_a_songs_name(sim: Any) -> None:
    sim.songs()
    directory: Path = sim.server.gateway.renders.directory
    assert {file.suffix for file in directory.iterdir()} == {".mp3"}
