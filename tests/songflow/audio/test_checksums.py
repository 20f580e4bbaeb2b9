"""Checksums of files and of their audio."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from songflow.audio.checksums import audio_sha256_of, hash_range, sha256_of
from songflow.audio.id3 import Tag, encode

_DATA = b"abc" * 100_000


def test_a_files_sha256_is_that_of_its_bytes(tmp_path: Path) -> None:
    """In hex."""
    path = tmp_path / "song.mp3"
    path.write_bytes(_DATA)
    assert sha256_of(path) == hashlib.sha256(_DATA).hexdigest()


def test_the_audios_sha256_leaves_tags_out() -> None:
    """The same audio has the same checksum under any tag."""
    tagged = io.BytesIO(encode(Tag(texts={"TIT2": "a title"})) + _DATA)
    assert audio_sha256_of(tagged) == hashlib.sha256(_DATA).hexdigest()


def test_a_range_is_hashed_and_copied() -> None:
    """The digest continues the one given."""
    copy = io.BytesIO()
    found = hash_range(io.BytesIO(b"head" + _DATA), 4, 4 + len(_DATA), hashlib.sha256(b"before"), copy)
    assert found.hexdigest() == hashlib.sha256(b"before" + _DATA).hexdigest()
    assert copy.getvalue() == _DATA
