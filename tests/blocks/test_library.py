"""The library block gives the domain's settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks import SongLibrary
from songflow.settings import LibrarySettings


def test_a_library_is_the_settings_of_the_domain(tmp_path):
    settings = SongLibrary(
        folder=str(tmp_path / "songs"),
        audio_url="s3://bucket/songs",
        name_template="{song_id}",
        verify_audio=False,
    ).get_settings()
    assert settings.folder == tmp_path / "songs"
    assert settings.ledger_url is None
    assert (settings.audio_url, settings.name_template, settings.verify_audio) == (
        "s3://bucket/songs",
        "{song_id}",
        False,
    )


def test_a_relative_folder_and_a_home_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert SongLibrary(folder="songs").get_settings().folder == tmp_path / "songs"
    assert SongLibrary(folder="~/songs").get_settings().folder == Path.home() / "songs"


@pytest.mark.parametrize(
    "fields",
    [
        {"folder": ""},
        {"name_template": "{artist}"},
        {"budget": -1},
        {"budget_per_day": float("nan")},
        {"unit": ""},
    ],
    ids=str,
)
def test_wrong_values_are_refused(fields):
    with pytest.raises(ValidationError, match=next(iter(fields))):
        SongLibrary(**{"folder": "songs", **fields})


def test_settings_survive_a_round_trip_through_a_block(tmp_path):
    settings = LibrarySettings(
        tmp_path,
        "postgresql://u:secret@host/db",
        "s3://bucket/songs",
        "{song_id}",
        verify_audio=False,
        budget=10.0,
        budget_per_day=2.5,
        unit="cents",
    )
    block = SongLibrary.of(settings)
    assert block.get_settings() == settings
    assert "secret" not in repr(block)
