"""Songflow from plain Python: parameter groups, the synchronous functions, and the names they refuse."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

import songflow
from songflow.catalog.manifest import COLUMNS
from songflow.errors import InputError, InvalidRequest, SpendingStopped
from songflow.families.udio_parameters import Sound
from songflow.generation.session_settings import SessionSettings
from songflow.parameters import KeyedSafety, Safety, Waiting, session_settings

QUICK = SessionSettings(embedded_speed=250.0, clip_seconds=0.25)


async def test_the_synchronous_functions_make_extend_and_read_songs(tmp_path: Path) -> None:
    """In code without an event loop, and with the groups as models or as mappings."""
    library = str(tmp_path / "songs")
    quick = {"library": library, "settings": QUICK, "waiting": {"poll_interval": 0.02}}

    def script() -> list[object]:
        core = songflow.generate_sync(
            "a waltz", sound=Sound(prompt_strength=0.7), safety=KeyedSafety(key="mine"), **quick
        )
        longer = songflow.extend_sync(
            core.songs[0].song_id, place="intro", sound={"clarity_strength": 0.9}, budget=9.0, **quick
        )
        whole = songflow.make_song_sync("radio-edit", variables={"prompt": "a slow waltz"}, **quick)
        return [core.key, len(longer.stored), len(whole.stored), songflow.manifest_sync(library)]

    key, added, stored, frame = await asyncio.to_thread(script)
    assert (key, added, stored) == ("mine", 2, 1)
    first, extended = frame.iloc[0], frame[frame["mode"] == "precede"].iloc[0]
    assert (first["request.prompt_strength"], first["request.clarity_strength"]) == (0.7, 0.25)
    assert (extended["request.prompt_strength"], extended["request.clarity_strength"]) == (0.7, 0.9)


async def test_the_manifest_is_read_from_a_folder_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that does not exist has typed columns without rows, and is not created."""
    folder = tmp_path / "songs"
    monkeypatch.setenv("SONGFLOW_LIBRARY", str(folder))
    for empty in (await songflow.manifest(), await songflow.manifest(folder)):
        assert dict(empty.dtypes.astype(str)) == dict(COLUMNS)
        assert empty.empty
    assert not folder.exists()
    made = await songflow.generate("a waltz", library=folder, settings=QUICK, waiting={"poll_interval": 0.02})
    rows = [
        await songflow.manifest(),
        await songflow.manifest(str(folder)),
        await asyncio.to_thread(songflow.manifest_sync, folder),
        await asyncio.to_thread(songflow.read_manifest_sync),
    ]
    assert [list(frame["song_id"]) for frame in rows] == [[song.song_id for song in made.songs]] * 4
    assert rows[0].dtypes["seconds"] == "Float64"


async def test_a_calls_budget_overrides_the_settings_budget(tmp_path: Path) -> None:
    """Nothing is sent over it."""
    library, settings = str(tmp_path / "songs"), replace(QUICK, budget=0.5, poll_interval=0.02)
    with pytest.raises(SpendingStopped, match=r"0\.5"):
        await songflow.generate("a waltz", library=library, settings=settings)
    made = await songflow.generate("a waltz", library=library, settings=settings, budget=5.0)
    assert len(made.stored) == 2


def test_omitted_parameters_do_not_change_the_settings() -> None:
    """Given ones override, even with the default's value."""
    settings = SessionSettings(poll_interval=1.0, deadline=9.0, retries=7, budget=3.0)
    assert session_settings(None, Safety(), None, settings) == settings
    given = session_settings(Waiting(deadline=None), Safety(retries=4), 5.0, settings)
    assert given == SessionSettings(poll_interval=1.0, deadline=None, retries=4, budget=5.0)


async def test_inside_an_event_loop_the_synchronous_functions_recommend_await(tmp_path: Path) -> None:
    """They cannot block there."""
    for call in (
        lambda: songflow.generate_sync("a waltz", library=str(tmp_path)),
        lambda: songflow.manifest_sync(tmp_path),
    ):
        with pytest.raises(
            InputError, match=r"cannot run synchronously inside an event loop\..*`await` it there"
        ):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"key": "k"}, "key is now safety.key"),
        (
            {"gateway": "cometapi", "poll_interval": 1.0},
            "gateway is now account.gateway; poll_interval is now waiting",
        ),
        ({"prompt_strength": 0.7}, "prompt_strength is now sound.prompt_strength"),
        ({"safety": {"retries": 101}}, "safety.retries is 101: .*less than or equal to 100"),
        ({"sound": {"tempo": 120}}, "sound.tempo is 120: Extra inputs are not permitted"),
    ],
    ids=str,
)
async def test_flat_and_wrong_parameters_are_refused(
    tmp_path: Path, wrong: dict[str, object], text: str
) -> None:
    """The error has the parameter's group, and no library is created."""
    with pytest.raises(InputError, match=text):
        await songflow.generate("a waltz", library=str(tmp_path / "songs"), **wrong)
    with pytest.raises(InvalidRequest, match="tempo is not a field"):
        await songflow.generate("a waltz", library=str(tmp_path / "songs"), tempo=120)
    assert not (tmp_path / "songs").exists()
