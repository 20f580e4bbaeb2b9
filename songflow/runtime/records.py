"""Dataclasses as plain data."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

__all__ = ["plain"]


def plain(record: Any) -> dict[str, Any]:
    """A record's fields by name, with the records in them; unlike `dataclasses.asdict`, no other value is copied."""
    return {
        one.name: plain(value) if is_dataclass(value := getattr(record, one.name)) else value
        for one in fields(record)
    }
