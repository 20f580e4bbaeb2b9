"""The benchmark's families and laws: what the tests hold is what it prints."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def bench() -> ModuleType:
    """The benchmark of polling as a module (the benchmarks are no installed package)."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[3])
        return importlib.import_module("benchmarks.polling")
