"""SHA-256 checksums of files and of the audio inside them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from songflow.audio.id3 import audio_span

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

__all__ = ["audio_sha256_of", "hash_range", "sha256_of"]

_BLOCK_BYTES = 1 << 18


def sha256_of(path: Path) -> str:
    """The SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def audio_sha256_of(file: IO[bytes]) -> str:
    """The SHA-256 (hex) of a file's audio, without the ID3 tags before and after it."""
    return hash_range(file, *audio_span(file)).hexdigest()


def hash_range(
    source: IO[bytes], start: int, end: int, digest: Hash | None = None, copy_to: IO[bytes] | None = None
) -> Hash:
    """Hash the bytes from `start` to `end`, continuing `digest` if given, and copy them to `copy_to` if given."""
    digest = hashlib.sha256() if digest is None else digest
    source.seek(start)
    while start < end and (block := source.read(min(_BLOCK_BYTES, end - start))):
        digest.update(block)
        if copy_to is not None:
            copy_to.write(block)
        start += len(block)
    return digest
