"""Progress of a waiting call: the key first, one line that is replaced, nothing where nobody looks on."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest

import songflow
from songflow.generation.session_settings import SessionSettings
from songflow.notebooks.progress import shown_progress

QUICK = {
    "settings": SessionSettings(embedded_speed=250.0, clip_seconds=0.25),
    "waiting": {"poll_interval": 0.02},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def run(choice, *, fails: bool = False) -> None:
    async with shown_progress(choice, "a\x1b[31m waltz\n" + "z" * 60, "song-1") as report:
        if report is not None:
            await report("queued", None, 1.0)
            await report("running\x1b[2J", 0.5, 2.0)
            await report("running\x1b[2J", 0.5, 3.0)
        if fails:
            raise KeyboardInterrupt


async def test_a_terminal_has_one_line_that_is_replaced(monkeypatch) -> None:
    """The key is whole in the first line and in the last one; the others have room for the seconds."""
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    await run(None)
    first, *shown = screen.getvalue().split("\r\x1b[2K")
    assert first == f"'a [31m waltz {'z' * 26}…', key song-1: sending\n"
    assert all(len(line) <= 59 and line.isprintable() for line in shown[:-1])
    assert shown[-1].endswith("key song-1: stored\n")
    assert "key" not in shown[-2]
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    with pytest.raises(KeyboardInterrupt):
        await run(None, fails=True)
    assert (
        "key song-1: stopped after 3 s (KeyboardInterrupt); the same call with this key" in screen.getvalue()
    )


async def test_a_pipe_has_lines_only_if_asked(monkeypatch) -> None:
    """One for each status; False is silent in a terminal, too, and without stderr nothing fails."""
    for choice, stderr, lines in ((None, io.StringIO(), 0), (False, Terminal(), 0), (True, io.StringIO(), 4)):
        monkeypatch.setattr(sys, "stderr", stderr)
        await run(choice)
        assert stderr.getvalue().count("\n") == lines
        assert "\x1b" not in stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", None)
    await run(True)


async def test_a_function_is_called_with_the_progress_of_each_call(tmp_path: Path, monkeypatch) -> None:
    """Of generate, extend and a whole song; the key is shown before the request is sent."""
    seen: list[str] = []

    async def note(word: str, _share: float | None, seconds: float) -> None:
        assert seconds >= 0
        seen.append(word)

    library = tmp_path / "songs"
    made = await songflow.generate("a waltz", library=library, progress=note, **QUICK)
    assert seen
    for call in (
        songflow.extend(made.songs[0].song_id, library=library, progress=note, **QUICK),
        songflow.make_song(
            "radio-edit", variables={"prompt": "a waltz"}, library=library, progress=note, **QUICK
        ),
    ):
        seen.clear()
        await call
        assert seen
    steps = {word.rpartition(" ")[0] for word in seen}
    assert steps == {"step 1 of 2 (core)", "step 2 of 2 (outro)"}
    monkeypatch.setattr(sys, "stderr", screen := Terminal())
    with pytest.raises(songflow.SongflowError):
        await songflow.generate("a waltz", library=library, budget=0.5, safety={"key": "mine"}, **QUICK)
    assert screen.getvalue().startswith("'a waltz', key mine: sending\n")


def test_a_script_in_a_project_with_its_own_flows_and_tasks(tmp_path: Path) -> None:
    """`songflow` does not need the names; progress goes to stderr, also into a pipe if asked."""
    for name in ("flows", "tasks", "cli", "blocks", "deployments"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    (tmp_path / "script.py").write_text(
        "import songflow, flows, tasks, cli\n"
        "quick = songflow.SessionSettings(embedded_speed=250.0, clip_seconds=0.25, poll_interval=0.02)\n"
        "made = songflow.generate_sync('a waltz', settings=quick, safety={'key': 'mine'}, progress=True)\n"
        "print(flows.MINE, tasks.MINE, cli.MINE, made._repr_html_().count('<audio'))\n"
        "print(len(songflow.manifest_sync()))\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["True True True 2", "2"], done.stderr
    assert done.stderr.startswith("'a waltz', key mine: sending\n")
    assert done.stderr.endswith("'a waltz', key mine: stored\n")
