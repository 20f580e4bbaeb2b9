"""Commands in texts can be typed where they are read: by their name if the shell finds it, else by their path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from songflow.runtime.programs import as_typed

TEXT = "`songflow rescue`, `prefect server start`, `python -m deployments.serve`; `songflow`; a songflow song"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with an environment that is not activated, as the working folder."""
    scripts = tmp_path / "clone" / ".venv" / "bin"
    scripts.mkdir(parents=True)
    for name in ("songflow", "prefect"):
        (scripts / name).write_text("#!/bin/sh\n")
        (scripts / name).chmod(0o755)
    (scripts / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "executable", str(scripts / "python"))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.chdir(tmp_path / "clone")
    return tmp_path / "clone"


def test_without_an_activated_environment_it_is_the_path(clone: Path, monkeypatch) -> None:
    """From the clone the short one, from elsewhere the whole one; what is no command stays."""
    assert as_typed(TEXT) == (
        "`.venv/bin/songflow rescue`, `.venv/bin/prefect server start`, "
        "`.venv/bin/python -m deployments.serve`; `.venv/bin/songflow`; a songflow song"
    )
    monkeypatch.chdir("/usr")
    assert as_typed("`songflow rescue`") == f"`{clone}/.venv/bin/songflow rescue`"


def test_where_the_shell_finds_the_program_its_name_is_enough(
    clone: Path, tmp_path: Path, monkeypatch
) -> None:
    """In the environment itself, or by a link to its script; another environment's program is not this one."""
    monkeypatch.setenv("PATH", f"{clone}/.venv/bin:/usr/bin:/bin")
    assert as_typed(TEXT) == TEXT
    (tmp_path / "links").mkdir()
    for name in ("songflow", "python"):
        (tmp_path / "links" / name).symlink_to(clone / ".venv" / "bin" / name)
    monkeypatch.setenv("PATH", f"{tmp_path}/links:/usr/bin:/bin")
    assert as_typed("`songflow rescue` `python -m x`") == "`songflow rescue` `.venv/bin/python -m x`"
    (tmp_path / "links" / "prefect").write_text("#!/bin/sh\n")
    (tmp_path / "links" / "prefect").chmod(0o755)
    assert as_typed("`prefect server start`") == "`.venv/bin/prefect server start`"
