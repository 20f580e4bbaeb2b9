"""Write the manifest as a Parquet file in constant memory, however many songs there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow
from pyarrow.parquet import ParquetWriter

from songflow.catalog.batches import SCHEMA, read_batches
from songflow.catalog.manifest import empty_manifest, filter_manifest, frame_of
from songflow.ledger.ledger import Ledger

__all__ = ["write_parquet"]


async def write_parquet(ledger: Ledger, path: Path, *, where: str | None = None) -> int:
    """Write the manifest, or the rows for which a condition holds (see `filter_manifest`), to a file.

    pandas reads it with the dtypes of `COLUMNS`.

    Returns:
        The number of rows.

    Raises:
        InputError: the condition is not valid; nothing was written.
        LibraryError: the ledger cannot be read.
        OSError: the file cannot be written.
    """
    if where is not None:
        filter_manifest(empty_manifest(), where)
    rows = 0
    with ParquetWriter(path, SCHEMA.with_metadata(_pandas_metadata())) as writer:

        def write(batch: pyarrow.RecordBatch) -> None:
            nonlocal rows
            if where is not None:
                batch = batch.take(pyarrow.array(filter_manifest(frame_of([batch]), where).index))
            rows += batch.num_rows
            writer.write_batch(batch)

        await read_batches(ledger, write)
    return rows


def _pandas_metadata() -> dict[Any, Any] | None:
    metadata: dict[Any, Any] | None = pyarrow.Schema.from_pandas(
        empty_manifest(), preserve_index=False
    ).metadata
    return metadata
