"""Settings from the environment: allowed values, refused values, and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from songflow.errors import InputError, LibraryError
from songflow.settings import LibrarySettings, PrefectSettings, debugging, gateway_key, inherited


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("", True),
        (" ", True),
        ("1", True),
        ("Yes", True),
        ("on", True),
        ("0", False),
        ("NO", False),
        ("off", False),
    ],
)
def test_switches_accept_the_usual_words(monkeypatch: pytest.MonkeyPatch, given: str, read: bool) -> None:
    """In any case; a blank variable leaves the default."""
    for variable in ("SONGFLOW_VERIFY_AUDIO", "SONGFLOW_COVERS", "SONGFLOW_PREFECT"):
        monkeypatch.setenv(variable, given)
    settings = LibrarySettings.from_environment()
    assert (settings.verify_audio, settings.covers) == (read, read)
    assert PrefectSettings.from_environment().enabled is read


@pytest.mark.parametrize("variable", ["SONGFLOW_VERIFY_AUDIO", "SONGFLOW_COVERS"])
def test_a_misspelt_switch_of_the_library_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The error names the variable, its value and what is allowed, and no other variable's value."""
    monkeypatch.setenv(variable, "flase")
    monkeypatch.setenv("SONGFLOW_LEDGER_URL", "postgresql://me:secret@host/db")
    with pytest.raises(LibraryError, match=f"{variable} is 'flase': allowed is 1 or 0") as caught:
        LibrarySettings.from_environment()
    assert caught.value.exit_code == 2
    assert "secret" not in f"{caught.value} {caught.value.__cause__!r}"


def test_a_misspelt_switch_of_prefect_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A typo must not start flow runs."""
    monkeypatch.setenv("SONGFLOW_PREFECT", "of")
    with pytest.raises(InputError, match="SONGFLOW_PREFECT is 'of'") as caught:
        PrefectSettings.from_environment()
    assert caught.value.exit_code == 2


def test_variables_in_lower_case_are_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names are compared as they are written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SONGFLOW_LIBRARY", raising=False)
    monkeypatch.setenv("songflow_library", str(tmp_path / "other"))
    monkeypatch.setenv("FOLDER", str(tmp_path / "other"))
    assert LibrarySettings.from_environment().folder == tmp_path / "songs"


@pytest.mark.parametrize(("given", "read"), [("1", True), ("anything", True), ("", False), ("0", False)])
def test_debugging_accepts_any_value(monkeypatch: pytest.MonkeyPatch, given: str, read: bool) -> None:
    """It is read while another error is handled."""
    monkeypatch.setenv("SONGFLOW_DEBUG", given)
    assert debugging() is read


def test_keys_are_stripped_and_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A blank key counts as none."""
    monkeypatch.setenv("COMETAPI_KEY", " sk-very-secret\n")
    monkeypatch.setenv("OPENAI_HK_KEY", "  ")
    key = gateway_key("COMETAPI_KEY")
    assert key is not None
    assert key.get_secret_value() == "sk-very-secret"
    assert "secret" not in repr(key)
    assert gateway_key("OPENAI_HK_KEY") is None


def test_child_processes_inherit_only_named_variables_that_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset names are left out."""
    monkeypatch.setenv("ONE", "1")
    monkeypatch.delenv("TWO", raising=False)
    assert inherited(["ONE", "TWO"]) == {"ONE": "1"}


def test_reading_settings_does_not_import_pydantic_settings() -> None:
    """Its import would add 0.13 s of CPU to every command."""
    code = (
        "import sys; from songflow.settings import LibrarySettings, PrefectSettings;"
        "LibrarySettings.from_environment(); PrefectSettings.from_environment();"
        "print('pydantic_settings' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "False\n"
