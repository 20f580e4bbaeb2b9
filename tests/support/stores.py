"""A file system of fsspec in place of a bucket: in memory, under a protocol of its own."""

from __future__ import annotations

from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

__all__ = ["Bucket"]


class Bucket(MemoryFileSystem):
    """`bucket://name/songs`, for all libraries of the test process."""

    protocol = "bucket"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("bucket://", "memory://", 1)))


fsspec.register_implementation("bucket", Bucket, clobber=True)
