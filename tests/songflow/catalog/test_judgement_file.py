"""Files of judgements are checked before anything is taken in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from songflow.catalog.judgement_file import read_judgement_file
from songflow.errors import InputError

SONG = {"gateway": "simulator", "song_id": "a"}
GOOD = {"id": "0f8c6a52", "at": "2026-05-01T12:00:00.5Z", "kind": "rating", "value": 4, "song": SONG}


def written(path: Path, *judgements: dict[str, Any], **more: Any) -> Path:
    """A file with these judgements."""
    path.write_text(json.dumps({"songflow_judgements": 1, "judgements": judgements, **more}))
    return path


def test_a_file_of_a_page_is_read(tmp_path: Path) -> None:
    """Each kind; null takes a value away."""
    kinds = [
        ("rating", 4.5),
        ("rating", None),
        ("decision", "discard"),
        ("notes", "<script>"),
        ("winner", None),
    ]
    judgements = [
        GOOD | {"kind": kind, "value": value} | ({"other_song": SONG} if kind == "winner" else {})
        for kind, value in kinds
    ]
    read = read_judgement_file(written(tmp_path / "a.json", *judgements, by="Ann"))
    assert [(one.kind, one.value) for one in read.judgements] == kinds


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": 6}, "judgements.0: The rating is 6: allowed is a number from 0 to 5"),
        ({"value": True}, "judgements.0.value"),
        ({"value": "4"}, "allowed is a number"),
        ({"kind": "decision", "value": "maybe"}, "allowed is keep or discard"),
        ({"kind": "notes", "value": "x" * 10_001}, "judgements.0.value"),
        ({"kind": "winner", "value": None}, "other_song belongs to a winner"),
        ({"other_song": SONG}, "other_song belongs to a winner"),
        ({"kind": "love"}, "judgements.0.kind"),
        ({"at": "2026-05-01T12:00:00"}, "judgements.0.at"),
        ({"at": "2999-05-01T12:00:00Z"}, "it lies in the future"),
        ({"id": "../../etc"}, "judgements.0.id"),
        ({"song": {"song_id": "a"}}, "a song needs audio_sha256"),
        ({"song": {"audio_sha256": "A" * 64}}, "judgements.0.song.audio_sha256"),
        ({"row": 7}, "judgements.0.row"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    """With its place in the file."""
    with pytest.raises(InputError) as caught:
        read_judgement_file(written(tmp_path / "a.json", GOOD | change))
    assert words in caught.value.message
    assert "nothing was changed" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe{", "it is not JSON"),
        (b"[" * 200_000, "it is not JSON"),
        (b"[]", "it is no file of judgements"),
        (b'{"songs": []}', "it is no file of judgements"),
        (b'{"songflow_judgements": 2, "judgements": []}', "another version"),
        (b'{"songflow_judgements": 1, "judgements": 7}', "judgements"),
        (None, "No such file"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    """Whatever is in it."""
    path = tmp_path / "judgements.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_judgement_file(path)
