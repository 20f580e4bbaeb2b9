"""`songflow measure`, and what a command leaves of songs that it measured on arrival."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def test_songs_are_measured_on_arrival_or_by_the_command(shell: Any, gateways: Any, to: Any) -> None:
    """Each once; a song whose file is missing is named and tried again."""
    server = gateways(clip_seconds=1.0)
    on_arrival = shell.run("generate", "a waltz", *to(server), env={"SONGFLOW_MEASURE": "arrival"})
    assert on_arrival.code == 0, on_arrival.err
    assert [row["loudness_lufs"] < 0 for row in shell.run("songs", "--json").json["songs"]] == [True, True]
    later = shell.run("generate", "a march", *to(server)).json["songs"]
    Path(later[0]["path"]).unlink()
    run = shell.run("measure", "--json")
    assert run.json == {"measured": 1, "unreadable": 0, "failed": 1}
    assert f"{later[0]['path']} was not measured (FileNotFoundError" in run.err
    assert shell.run("measure").out == "Measured 0 songs; 1 song could not be read.\n"
