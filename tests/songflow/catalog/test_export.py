"""Exports are complete and reproducible, and never overwrite existing files."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem

from songflow.catalog.export import FORMATS, export
from songflow.catalog.manifest import COLUMNS
from songflow.errors import InputError


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def songs(tmp_path: Path) -> pd.DataFrame:
    """Three songs, two of them with equal file names in two folders, and a failure."""
    rows: list[dict[str, Any]] = []
    for number, place in enumerate(("one/Räin.mp3", "two/räin.mp3", "one/Sun #1.mp3")):
        path = tmp_path / "store" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"song {number}".encode())
        rows.append(
            {"key": f"k{number}", "path": str(path), "seconds": 30.5, "song_lyrics": "la\nla", "rating": 4.0}
        )
    rows.append({"key": "failed", "path": None, "error": "moderated"})
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in COLUMNS.items()}
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("audio", ["copy", "link"])
def test_an_export_is_complete_and_reproducible(
    songs: pd.DataFrame, tmp_path: Path, form: Any, audio: Any
) -> None:
    """Every stored song is exported under its own name."""
    done = [export(songs, tmp_path / name, form, audio=audio) for name in ("a", "b")]
    first, second = tree(tmp_path / "a"), tree(tmp_path / "b")
    assert first == second
    assert done[0].files == 3
    assert {name: data for name, data in first.items() if name.startswith("audio/")} == {
        "audio/Räin.mp3": b"song 0",
        "audio/räin-2.mp3": b"song 1",
        "audio/Sun #1.mp3": b"song 2",
    }


def test_tables_contain_every_row_and_column(songs: pd.DataFrame, tmp_path: Path) -> None:
    """Including the failure; without exported songs the paths are unchanged."""
    for form in ("csv", "parquet", "jsonl"):
        assert export(songs, tmp_path / form, form).rows == 4  # type: ignore[arg-type]  # one of the forms
    csv = pd.read_csv(tmp_path / "csv" / "manifest.csv")
    parquet = pd.read_parquet(tmp_path / "parquet" / "manifest.parquet")
    jsonl = [json.loads(line) for line in (tmp_path / "jsonl" / "manifest.jsonl").read_text().splitlines()]
    assert list(csv.columns) == list(parquet.columns) == list(jsonl[0]) == list(COLUMNS)
    assert parquet["path"].tolist()[:3] == songs["path"].tolist()[:3] == [row["path"] for row in jsonl[:3]]
    assert jsonl[3]["error"] == "moderated"


def test_an_audiofolder_names_its_files(songs: pd.DataFrame, tmp_path: Path) -> None:
    """As Hugging Face requires: metadata.jsonl with a relative file_name; it needs the songs."""
    export(songs, tmp_path / "out", "audiofolder", audio="copy")
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert [row["file_name"] for row in rows] == ["audio/Räin.mp3", "audio/räin-2.mp3", "audio/Sun #1.mp3"]
    assert all((tmp_path / "out" / row["file_name"]).is_file() for row in rows)
    assert rows[0]["rating"] == 4
    with pytest.raises(InputError, match="needs the songs' files"):
        export(songs, tmp_path / "other", "audiofolder")


def test_an_audiofolder_has_a_card_and_no_private_columns(songs: pd.DataFrame, tmp_path: Path) -> None:
    """Nothing of it names the account or this machine, unless that is asked for."""
    songs["account"] = "env:COMETAPI_KEY"
    songs["request.model_type"] = "udio130-v1.5"
    export(songs, tmp_path / "out", "audiofolder", audio="copy")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "3 songs, 1.5 minutes in all, generated from text by udio130-v1.5." in card
    table = (tmp_path / "out" / "metadata.jsonl").read_text(encoding="utf-8")
    assert not [word for word in ("COMETAPI", str(tmp_path), '"base_url"') if word in table + card]
    export(songs, tmp_path / "mine", "audiofolder", audio="copy", private=True)
    assert "env:COMETAPI_KEY" in (tmp_path / "mine" / "metadata.jsonl").read_text(encoding="utf-8")


def test_covers_and_lyrics_are_placed_beside_their_songs(songs: pd.DataFrame, tmp_path: Path) -> None:
    """Under the song's name; a song without lyrics or cover has none."""
    cover = tmp_path / "store" / "cover.jpg"
    cover.write_bytes(b"picture")
    songs["cover_path"] = pd.Series([str(cover), None, None, None], dtype="string")
    songs["title"] = pd.Series(["Räin", "a\nb", None, None], dtype="string")
    songs.loc[2, "song_lyrics"] = None
    export(songs, tmp_path / "out", "csv", audio="copy", beside=True)
    found = {
        name: data for name, data in tree(tmp_path / "out").items() if not name.endswith((".mp3", ".csv"))
    }
    assert found == {
        "audio/Räin.jpg": b"picture",
        "audio/Räin.lrc": "[ti:Räin]\nla\nla\n".encode(),
        "audio/Räin.txt": b"la\nla\n",
        "audio/räin-2.lrc": b"[ti:a b]\nla\nla\n",
        "audio/räin-2.txt": b"la\nla\n",
    }
    with pytest.raises(InputError, match="Covers and lyrics need the songs' files"):
        export(songs, tmp_path / "other", "csv", beside=True)


def test_a_playlist_has_length_title_and_address_of_each_song(songs: pd.DataFrame, tmp_path: Path) -> None:
    """A title cannot add a line; without exported songs the addresses are unchanged."""
    songs["title"] = pd.Series(["Räin", "a\n#EXTINF:1,b", None, None], dtype="string")
    songs.loc[2, "seconds"] = None
    export(songs, tmp_path / "out", "m3u", audio="link")
    assert (tmp_path / "out" / "playlist.m3u8").read_text(encoding="utf-8").splitlines() == [
        "#EXTM3U",
        "#EXTINF:30,Räin",
        "audio/Räin.mp3",
        "#EXTINF:30,a #EXTINF:1,b",
        "audio/räin-2.mp3",
        "#EXTINF:-1,k2",
        "audio/Sun #1.mp3",
    ]
    export(songs, tmp_path / "here", "m3u")
    addresses = (tmp_path / "here" / "playlist.m3u8").read_text(encoding="utf-8").splitlines()[2::2]
    assert addresses == songs["path"].tolist()[:3]


# The names of splits and the patterns by which Hugging Face's `datasets` 2.14 to 5.2 look for them.
SPLIT_WORDS = (
    "train", "training", "validation", "valid", "dev", "val", "test", "testing", "eval", "evaluation",
)  # fmt: skip
SPLIT_PATTERNS = (
    "**/{0}[-._ 0-9]*", "**/*[-._ 0-9]{0}[-._ 0-9]*", "**/*[-._ 0-9/]{0}[-._ 0-9]*", "{0}[-._ 0-9]*", "**/{0}/**",
    "**/{0}[-._ 0-9]*/**", "**/*[-._ 0-9]{0}/**", "**/*[-._ 0-9]{0}[-._ 0-9]*/**",
)  # fmt: skip


def test_no_name_in_an_audiofolder_makes_a_split(tmp_path: Path) -> None:
    """A loader would take "night train" for a training split, and leave out the other songs and metadata.jsonl."""
    titles = [
        "rain",
        "snow",
        "night train",
        *SPLIT_WORDS,
        *(f"2 {word}-3" for word in SPLIT_WORDS),
        "Test_1",
        "TEST 1",
    ]
    titles += [".hidden", "__special", "a::b", "what? [1]", "a\nb"]
    rows = []
    for number, title in enumerate(titles):
        (tmp_path / f"{number}").mkdir()
        path = tmp_path / f"{number}" / f"{title}.mp3"
        path.write_bytes(f"song {number}".encode())
        rows.append({"path": str(path), "title": title})
    frame = pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in COLUMNS.items()}
    )
    for audio in ("copy", "link"):
        out = tmp_path / audio
        export(frame, out, "audiofolder", audio=audio)  # type: ignore[arg-type]  # one of them
        exported = [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]
        assert [row["title"] for row in exported] == titles
        assert [(out / row["file_name"]).read_bytes() for row in exported] == [
            f"song {number}".encode() for number in range(len(titles))
        ]
        assert [row["file_name"] for row in exported[:2]] == ["audio/rain.mp3", "audio/snow.mp3"]
        files = LocalFileSystem()
        for word in SPLIT_WORDS:
            for pattern in SPLIT_PATTERNS:
                assert files.glob(f"{out}/{pattern.format(word)}") == []
        assert len(files.glob(f"{out}/audio/[!._]*.mp3")) == len(titles)
        assert not [row for row in exported if "::" in row["file_name"] or "\n" in row["file_name"]]
        # A second export has the same names.
        export(frame, out, "audiofolder", audio=audio, force=True)  # type: ignore[arg-type]  # one of them
        assert len(list((out / "audio").iterdir())) == len(titles)


def test_a_nemo_manifest_has_its_three_fields(songs: pd.DataFrame, tmp_path: Path) -> None:
    """audio_filepath, duration in seconds, text; absolute paths if the songs are not exported."""
    export(songs, tmp_path / "out", "nemo")
    rows = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert [(row["duration"], row["text"]) for row in rows] == [(30.5, "la\nla")] * 3
    assert [row["audio_filepath"] for row in rows] == songs["path"].tolist()[:3]


@pytest.mark.parametrize("there", ["manifest.csv", "audio/Sun #1.mp3"])
def test_existing_files_are_overwritten_only_with_force(
    songs: pd.DataFrame, tmp_path: Path, there: str
) -> None:
    """They are found before anything is written; --force replaces them and no other file."""
    out = tmp_path / "out"
    (out / there).parent.mkdir(parents=True)
    (out / there).write_bytes(b"mine")
    (out / "other").write_bytes(b"other")
    with pytest.raises(InputError, match="exists already"):
        export(songs, out, "csv", audio="copy")
    assert tree(out) == {there: b"mine", "other": b"other"}
    export(songs, out, "csv", audio="copy", force=True)
    assert tree(out)[there] != b"mine"
    assert tree(out)["other"] == b"other"


def test_replacing_a_link_does_not_change_the_song(songs: pd.DataFrame, tmp_path: Path) -> None:
    """A second export with copies does not write through the first one's links."""
    export(songs, tmp_path / "out", "csv", audio="link")
    export(songs, tmp_path / "out", "csv", audio="copy", force=True)
    (tmp_path / "out" / "audio" / "Sun #1.mp3").write_bytes(b"changed")
    assert Path(songs["path"][2]).read_bytes() == b"song 2"


@pytest.mark.parametrize("audio", ["copy", "link"])
def test_a_song_of_the_library_is_never_replaced(songs: pd.DataFrame, tmp_path: Path, audio: Any) -> None:
    """Not even with --force, by whatever way a song's folder is reached; a table may be written beside the store."""
    (tmp_path / "songs").mkdir()
    (tmp_path / "store" / "one").rename(tmp_path / "songs" / "audio")
    (tmp_path / "store" / "one").symlink_to(tmp_path / "songs" / "audio")
    (tmp_path / "library").symlink_to(tmp_path / "songs")
    before = tree(tmp_path)
    for folder in ("songs", "library"):
        with pytest.raises(InputError, match="has songs of the library"):
            export(songs, tmp_path / folder, "csv", audio=audio, force=True)
    assert tree(tmp_path) == before
    export(songs, tmp_path / "songs", "csv")


def test_a_file_is_replaced_only_by_a_complete_one(
    songs: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An export that is cut off leaves the earlier file."""

    def cut_off(_: Any, target: Path) -> None:
        target.write_bytes(b"so")
        raise OSError(errno.ENOSPC, "No space left on device")

    export(songs, tmp_path / "out", "csv", audio="copy")
    before = tree(tmp_path / "out")
    monkeypatch.setattr("shutil.copyfile", cut_off)
    with pytest.raises(InputError, match="No space left"):
        export(songs, tmp_path / "out", "csv", audio="copy", force=True)
    assert tree(tmp_path / "out") == before


def test_songs_on_another_disk_get_symbolic_links(
    songs: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hard links do not cross file systems."""

    def another_disk(*_: Any) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", another_disk)
    export(songs, tmp_path / "out", "csv", audio="link")
    link = tmp_path / "out" / "audio" / "Sun #1.mp3"
    assert link.is_symlink()
    assert link.read_bytes() == b"song 2"


def test_songs_of_a_remote_store_are_downloaded(songs: pd.DataFrame, tmp_path: Path) -> None:
    """They cannot be linked."""
    songs["path"] = [f"local://{path}" if isinstance(path, str) else None for path in songs["path"]]
    export(songs, tmp_path / "out", "audiofolder", audio="link")
    assert (tmp_path / "out" / "audio" / "Sun #1.mp3").read_bytes() == b"song 2"
    songs["path"] = ["nowhere://x.mp3", None, None, None]
    with pytest.raises(InputError, match="the file cannot be opened"):
        export(songs, tmp_path / "more", "audiofolder", audio="copy")


def test_files_that_are_gone_are_listed_before_anything_is_written(
    songs: pd.DataFrame, tmp_path: Path
) -> None:
    """All of them at once: else each export would end at the next one, and leave half of it."""
    for path in songs["path"].dropna()[:2]:
        Path(path).unlink()
    with pytest.raises(InputError, match=r"2 files of the library cannot be found: .*Räin.mp3, .*räin.mp3\."):
        export(songs, tmp_path / "out", "csv", audio="copy")
    assert not (tmp_path / "out").exists()


def test_an_export_that_fails_names_the_reason(songs: pd.DataFrame, tmp_path: Path) -> None:
    """No rows, or a folder that is a file."""
    with pytest.raises(InputError, match="nothing to export"):
        export(songs[songs["key"] == "failed"], tmp_path / "out", "nemo")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be exported"):
        export(songs, tmp_path / "file", "csv")
