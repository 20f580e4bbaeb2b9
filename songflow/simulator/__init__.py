"""A simulated music gateway: real sockets, a real bill, real mp3 files, no money.

It plays the part of a foreign machine, so it imports nothing else of songflow. Typical use:

    with SimulatorServer(SimulatorSettings(speed=50, clip_seconds=4)) as server:
        ...  # server.url, server.bill()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from songflow.simulator.app import create_app
    from songflow.simulator.faults import FaultRule, FaultScript
    from songflow.simulator.jobs import BillEntry
    from songflow.simulator.recording import Replay
    from songflow.simulator.server import SimulatorServer, serve
    from songflow.simulator.settings import SimulatorSettings

__all__ = [
    "BillEntry",
    "FaultRule",
    "FaultScript",
    "Replay",
    "SimulatorServer",
    "SimulatorSettings",
    "create_app",
    "serve",
]

_HOMES = {
    "BillEntry": "jobs",
    "FaultRule": "faults",
    "FaultScript": "faults",
    "Replay": "recording",
    "SimulatorServer": "server",
    "SimulatorSettings": "settings",
    "create_app": "app",
    "serve": "server",
}


def __getattr__(name: str) -> Any:
    # Starlette and uvicorn take 0.3 s to import: load them only when they are used.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
