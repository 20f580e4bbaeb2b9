"""Keep a long spec or recipe beside a run: Prefect takes half a megabyte of parameters, and a spec may have 4 MiB.

The text becomes a file in the library's folder, named after its content, and the run's parameter its path.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from prefect.settings import get_current_settings

from songflow.errors import InputError, LibraryError
from songflow.ledger.spool import sync_folder
from songflow.settings import LibrarySettings

__all__ = ["FOLDER", "SMALL", "refuse_large", "size_of", "with_kept"]

FOLDER = "kept"
_KEPT = ("spec", "recipe")
# Room for the other parameters, and for whoever escapes the text once more.
_LONG = 100_000
SMALL = 200_000
"""Bytes of parameters that Prefect takes in any case."""


def size_of(value: Any) -> int:
    """The bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace"))


def with_kept(parameters: dict[str, Any], library: LibrarySettings) -> dict[str, Any]:
    """A run's parameters, with a long spec or recipe as the path of a file in the library's folder.

    Raises:
        LibraryError: the file cannot be written.
    """
    long = {name: parameters[name] for name in _KEPT if size_of(parameters.get(name)) > _LONG}
    return parameters | {name: str(_kept(value, library.folder)) for name, value in long.items()}


def refuse_large(parameters: dict[str, Any], called: str) -> None:
    """Raise InputError if Prefect would not take the parameters of a run."""
    limit, size = get_current_settings().server.api.max_parameter_size, size_of(parameters)
    if limit and size > limit:
        name = max(parameters, key=lambda one: size_of(parameters[one]))
        raise InputError(
            f"The parameters of {called} have {size:,} bytes, and Prefect takes {limit:,}: {name} is too long.",
            next="shorten it, or run without Prefect (SONGFLOW_PREFECT=off); nothing was sent.",
        )


def _kept(value: Any, folder: Path) -> Path:
    text = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()
    path = folder.expanduser().resolve() / FOLDER / f"{hashlib.sha256(text).hexdigest()[:32]}.yaml"
    draft = path.with_suffix(f".{os.getpid()}.part")
    try:
        if path.is_file() and path.read_bytes() == text:
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise LibraryError(
            f"The library's folder {folder} cannot be written: {error.strerror or error}.",
            next="choose another with --library or SONGFLOW_LIBRARY; nothing was sent.",
        ) from None
    return path
