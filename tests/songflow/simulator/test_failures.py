"""What the simulator does when its own disk or renderer fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from songflow.simulator import renders


def test_a_failed_render_keeps_the_job_running_and_is_tried_again(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(renders, "_write", broken)
        job_id = desk.submit()
        with pytest.raises(OSError, match="disk full"):
            desk.rendered(job_id)
        assert desk.data(job_id)["status"] == "IN_PROGRESS"
    assert desk.until(job_id, "SUCCESS")


def test_no_half_written_file_carries_a_songs_name(desk: Any) -> None:
    desk.songs()
    directory: Path = desk.server.gateway.renders.directory
    assert {file.suffix for file in directory.iterdir()} == {".mp3"}
