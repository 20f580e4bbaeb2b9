"""Small copies of stored covers, for pages that embed their pictures."""

from __future__ import annotations

import io

from songflow.downloads.covers import MAX_COVER_BYTES
from songflow.runtime.remote_files import as_os_error, open_file

__all__ = ["PIXELS", "cover_thumbnail"]

PIXELS = 96
"""The longer side of a thumbnail."""

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
_MOST_PIXELS = 40_000_000
_QUALITY = 75


def cover_thumbnail(url: str) -> bytes:
    """A cover, by its path or fsspec URL, as a JPEG of at most `PIXELS` x `PIXELS` (about 4 kB).

    Raises:
        OSError: it cannot be read or decoded, or is too large.
    """
    from PIL import Image  # matplotlib's own dependency

    with as_os_error("the cover cannot be read", url):
        with open_file(url) as file:
            data = file.read(MAX_COVER_BYTES + 1)
        if len(data) > MAX_COVER_BYTES:
            raise OSError(f"it is larger than {MAX_COVER_BYTES >> 20} MiB")
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise OSError("it has too many pixels")
            picture.draft("RGB", (2 * PIXELS, 2 * PIXELS))
            picture.thumbnail((PIXELS, PIXELS))
            small = io.BytesIO()
            picture.convert("RGB").save(small, "JPEG", quality=_QUALITY)
    return small.getvalue()
