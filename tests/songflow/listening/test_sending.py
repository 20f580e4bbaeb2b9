"""A page to send: everything that somebody needs to judge, nothing private, and texts that are only texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from songflow.audio.id3 import Tag, encode
from songflow.errors import InputError
from songflow.listening.bundle import bundle
from songflow.listening.sending import export_page

HOSTILE = "</script><img src=x onerror=alert(1)><!--\u2028"
PRIVATE = ("env:SECRET_ACCOUNT", "https://private.example", "what I think", "owner-ann", "/studio-of-ann/")


def rows_in(folder: Path) -> list[dict[str, Any]]:
    """Three songs, two of one generation, with hostile texts, private values, and one that has no file."""
    store = folder / "studio-of-ann"
    store.mkdir()
    tag = encode(Tag(own={"songflow": " ".join(PRIVATE)}))
    rows: list[dict[str, Any]] = []
    for number in range(3):
        path, cover = store / f"{number}.mp3", store / f"{number // 2}.png"
        path.write_bytes(tag + b"\xff\xfbsound" + bytes([number]))
        cover.write_bytes(b"picture")
        rows.append(
            {
                "path": str(path), "cover_path": str(cover), "account": PRIVATE[0], "base_url": PRIVATE[1],
                "notes": PRIVATE[2], "rated_by": PRIVATE[3], "note": f"see {path}", "rating": 4.0,
                "song_url": PRIVATE[1], "title": HOSTILE, "song_lyrics": HOSTILE, "tags": f"waltz, {HOSTILE}",
                "family": "udio", "request.prompt": HOSTILE, "request.model_type": HOSTILE,
                "audio_sha256": f"{number:064x}",
                "song_id": f"/studio-of-ann/{number}",
                "parent_song_id": "/studio-of-ann/0" if number else None, "song_state": "stored", "submission": 1,
                "intended_at": f"2026-01-0{1 + number // 2}T00:00:00Z",
            }
        )  # fmt: skip
    return [*rows, {"path": None, "error": "moderated"}]


def data_in(page: str) -> dict[str, Any]:
    """What the page knows."""
    [text] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    data: dict[str, Any] = json.loads(text)
    return data


def test_a_page_has_the_songs_and_nothing_private(tmp_path: Path, manifest: Any) -> None:
    """No byte of any of its files tells account, address, path, notes or people; the newest songs come first."""
    frame = manifest(*rows_in(tmp_path))
    done = export_page(frame, tmp_path / "out", waveforms={f"{2:064x}": "AAEC"})
    assert (done.rows, done.files) == (3, 3)
    files = {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    covers = {"covers/0001.png", "covers/0002.png"}
    assert set(files) == {"index.html", "audio/0001.mp3", "audio/0002.mp3", "audio/0003.mp3", *covers}
    assert files["audio/0001.mp3"] == b"\xff\xfbsound\x02"
    everything = b"\n".join(files.values()).decode(errors="replace")
    assert not [word for word in (*PRIVATE, str(tmp_path)) if word in everything]
    songs = data_in(files["index.html"].decode())["songs"]
    assert [(song["audio"], song["audio_sha256"][-1], song["take"]) for song in songs] == [
        ("audio/0001.mp3", "2", 0), ("audio/0002.mp3", "0", 0), ("audio/0003.mp3", "1", 1),
    ]  # fmt: skip
    assert [song["parent"] and song["parent"]["id"] for song in songs] == [2, None, 2]
    assert [song["group"] for song in songs] == [0, 1, 1]
    assert [song["measures"]["waveform"] for song in songs] == ["AAEC", "", ""]
    assert {song[name] for song in songs for name in ("rating", "decision", "notes")} == {None}


def test_texts_of_a_page_are_only_texts(tmp_path: Path, manifest: Any) -> None:
    """A hostile title ends no script, and the policy lets only the page's own script run."""
    export_page(manifest(*rows_in(tmp_path)), tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert data_in(page)["songs"][0]["title"] == HOSTILE
    assert (page.count("<script"), page.count("</script>"), page.count("<img")) == (2, 2, 0)
    assert "default-src 'none'; script-src 'sha256-" in page
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|[\s\"'(]//\w", page.replace("//#", ""))


def test_what_stands_is_shown_only_if_asked(tmp_path: Path, manifest: Any) -> None:
    """Somebody else shall judge by himself."""
    export_page(manifest(*rows_in(tmp_path)), tmp_path / "out", judged=True)
    song = data_in((tmp_path / "out" / "index.html").read_text(encoding="utf-8"))["songs"][0]
    assert (song["rating"], song["notes"]) == (4.0, "what I think")


def test_the_same_songs_make_the_same_page(tmp_path: Path, manifest: Any) -> None:
    """What was judged on it is found again; nothing is overwritten, and nothing made of no songs."""
    frame = manifest(*rows_in(tmp_path))
    for name in ("a", "b"):
        export_page(frame, tmp_path / name)
    assert (tmp_path / "a" / "index.html").read_bytes() == (tmp_path / "b" / "index.html").read_bytes()
    with pytest.raises(InputError, match="exists already"):
        export_page(frame, tmp_path / "a")
    export_page(frame, tmp_path / "a", force=True)
    with pytest.raises(InputError, match="nothing to export"):
        export_page(frame[frame["path"].isna()], tmp_path / "c")
    frame.loc[0, "path"] = str(tmp_path / "gone.mp3")
    with pytest.raises(InputError, match=r"gone\.mp3 cannot be exported"):
        export_page(frame, tmp_path / "d")


def test_a_page_replaces_no_song_of_the_library(tmp_path: Path, manifest: Any) -> None:
    """Its songs have other names, but its folder may be the store."""
    frame = manifest(*rows_in(tmp_path))
    (tmp_path / "studio-of-ann").rename(tmp_path / "audio")
    frame["path"] = frame["path"].str.replace("studio-of-ann", "audio")
    with pytest.raises(InputError, match="has songs of the library"):
        export_page(frame, tmp_path, force=True)
    assert not (tmp_path / "index.html").exists()


def test_a_module_that_a_bundle_does_not_understand_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than written into a page that then does not run."""
    monkeypatch.setattr("songflow.listening.bundle.asset", lambda name: "export default 1;\n")
    with pytest.raises(ValueError, match=r"page\.js imports or exports in a way"):
        bundle("page.js", {})
