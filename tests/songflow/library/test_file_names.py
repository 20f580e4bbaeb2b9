"""File names of songs: for any title, a unique name inside the library."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from songflow.errors import LibraryError
from songflow.library.file_names import check_template, file_name
from songflow.settings import DEFAULT_NAME_TEMPLATE
from songflow.simulator.songs import HOSTILE_TITLES

UID = "0123456789"
TITLES = (
    *HOSTILE_TITLES,
    "/etc/passwd",
    "a/../../b",
    "..",
    ".",
    "\x00",
    "nul\x00byte",
    "line\nbreak\r\ttab",
    "x" * 300,
    "歌" * 300,
    "🎸" * 300,
    "NUL",
    "com1.txt",
    "LPT9",
    "\u202egpj.exe\u2066",
    "\u200b",
    "-rf",
    "~root",
    "$(reboot) `reboot` ;",
    "...dots...",
    "trailing. ",
    "\ud800 lone",
    "e\u0301\u0301",
)


def named(title: str | None, template: str = DEFAULT_NAME_TEMPLATE, song_id: str | None = "id") -> str:
    return file_name(template, title=title, song_id=song_id, uid=UID)


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
@pytest.mark.parametrize(
    "template", [DEFAULT_NAME_TEMPLATE, "{title}", "{uid}-{title}.mp3", "{song_id} {title}"]
)
def test_a_hostile_title_makes_a_plain_name(tmp_path: Path, title: str, template: str) -> None:
    """One segment of at most 184 bytes, writable, without characters that a shell or file system interprets."""
    name = named(title, template, song_id=title)
    (tmp_path / name).write_bytes(b"")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(os.fsencode(name)) <= 184
    assert name.isprintable()
    assert name.endswith(".mp3")
    assert name[0] not in "-.~ "
    assert not set(name) & set('/\\:*?"<>|$`;&\n')
    assert UID in name
    assert name.partition(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT9"}


@settings(deadline=None, max_examples=60)
@given(
    st.text(max_size=400), st.sampled_from([DEFAULT_NAME_TEMPLATE, "{title}", "{title} {uid}", "{song_id}"])
)
def test_no_title_leaves_the_library(title: str, template: str) -> None:
    """Joined to a folder, the file's parent is that folder."""
    folder = Path("/library/audio")
    assert Path(os.path.normpath(folder / named(title, template, song_id=title))).parent == folder


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=400), st.text(max_size=400))
def test_two_takes_never_share_a_name(one: str, other: str) -> None:
    """Even if their titles are equal and the template lacks the unique part."""
    first = file_name("{title}", title=one, song_id="same", uid="1111111111")
    second = file_name("{title}", title=other, song_id="same", uid="2222222222")
    assert first.casefold() != second.casefold()


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Rivers of Rain (simulated)", f"Rivers of Rain simulated-{UID}.mp3"),
        ("Größe: 歌", f"Größe 歌-{UID}.mp3"),
        ("v1.5_mix-a", f"v1.5_mix-a-{UID}.mp3"),
        ("ﬁne", f"fine-{UID}.mp3"),
        (None, f"untitled-{UID}.mp3"),
        ("  ", f"untitled-{UID}.mp3"),
        ("aux.mp3", f"_aux.mp3-{UID}.mp3"),
    ],
)
def test_an_honest_title_stays_readable(title: str | None, name: str) -> None:
    """Letters of all scripts, digits, underscores, dashes and inner dots stay."""
    assert named(title) == name


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{uid}", f"{UID}.mp3"),
        ("{song_id}", f"id-{UID}.mp3"),
        ("{title}.mp3", f"T-{UID}.mp3"),
        ("a/b/{title}", f"a b T-{UID}.mp3"),
        ("../{title}-{uid}", f"T-{UID}.mp3"),
        ("{{x}} {title}", f"x T-{UID}.mp3"),
        ("", f"{UID}.mp3"),
        ("L" * 300 + "{title}", f"{'L' * 120}-{UID}.mp3"),
    ],
)
def test_a_template_arranges_the_fields(template: str, name: str) -> None:
    """The unique part is added if the template lacks it; a template cannot leave the folder."""
    assert named("T", template) == name


def test_a_take_without_an_id_gets_a_name() -> None:
    """Gateways may omit the id."""
    assert named("T", "{song_id}-{title}-{uid}", song_id=None) == f"unknown-T-{UID}.mp3"


@pytest.mark.parametrize(
    "template",
    [
        "{prompt}",
        "{}",
        "{0}",
        "{title",
        "title}",
        "{title.__class__}",
        "{title[0]}",
        "{title!r}",
        "{title:>999999999999}",
    ],
)
def test_a_template_with_other_fields_is_refused(template: str) -> None:
    """Before any payment."""
    with pytest.raises(LibraryError, match="cannot be used") as caught:
        check_template(template)
    assert caught.value.next == "write SONGFLOW_NAME_TEMPLATE with {title}, {song_id} and {uid} only."
    with pytest.raises(LibraryError):
        named("T", template)
