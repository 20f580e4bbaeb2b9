"""Small copies of covers: a JPEG whatever the cover was, and an OSError for anything else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from songflow.library.cover_thumbnails import PIXELS, cover_thumbnail


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_cover_of_any_kind_becomes_a_small_jpeg(tmp_path: Path, kind: str) -> None:
    """Its proportions stay; a store that is reached through fsspec works as a folder does."""
    path = tmp_path / "cover"
    Image.effect_noise((640, 320), 80).save(path, kind)
    for address in (str(path), f"local://{path}"):
        data = cover_thumbnail(address)
        with Image.open(io.BytesIO(data)) as small:
            assert (small.format, small.size) == ("JPEG", (PIXELS, PIXELS // 2))
        assert len(data) < 8_000


@pytest.mark.parametrize(
    "data", [b"", b"GIF8", b"\x89PNG\r\n\x1a\n" + b"x" * 100, b"<svg/>", b"\xff\xd8\xff" * 2_000_000]
)
def test_what_is_no_cover_is_an_os_error(tmp_path: Path, data: bytes) -> None:
    """Cut, foreign and too large files, and one that is not there."""
    path = tmp_path / "cover"
    path.write_bytes(data)
    for address in (str(path), str(tmp_path / "none")):
        with pytest.raises(OSError, match=r"."):
            cover_thumbnail(address)
