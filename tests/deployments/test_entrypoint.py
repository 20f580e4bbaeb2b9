"""A container's first process outlives its command until the senders have stored what was paid for."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from songflow.ledger import Ledger, State
from songflow.ledger.engine import ledger_url
from songflow.simulator import FaultScript, SimulatorServer, SimulatorSettings

ROOT = Path(__file__).parents[2]
CODE = (
    "import sys, songflow; songflow.generate_sync('a waltz', library=sys.argv[1], safety={'key': 'key'}, "
    "account={'gateway': 'simulator', 'base_url': sys.argv[2]})"
)


async def _state(folder: Path) -> State:
    async with Ledger(ledger_url(None, folder)) as ledger:
        (submission,) = await ledger.submissions.of_key("key")
        return submission.state


def test_it_ends_after_the_sender_of_a_command_that_was_stopped(tmp_path: Path) -> None:
    """`docker stop` in the middle of a POST: the answer is in the ledger when the container ends."""
    slow = FaultScript.of({"fault": "slow_answer", "seconds": 1.5})
    with SimulatorServer(SimulatorSettings(clip_seconds=0.25, faults=slow)) as server:
        entrypoint = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deployments.entrypoint",
                sys.executable,
                "-c",
                CODE,
                tmp_path,
                server.url,
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not server.bill():
            assert entrypoint.poll() is None
            time.sleep(0.02)
        os.kill(entrypoint.pid, signal.SIGTERM)
        assert entrypoint.wait(60) == 128 + signal.SIGTERM
        assert asyncio.run(_state(tmp_path)) is State.ACCEPTED
        assert len(server.bill()) == 1


def test_the_image_starts_with_it_and_a_worker_gets_the_time_that_it_needs() -> None:
    """Longer than a POST may take."""
    image = (ROOT / "deployments" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["python", "-m", "deployments.entrypoint"]' in image
    worker = yaml.safe_load((ROOT / "deployments" / "compose.yaml").read_text())["services"]["worker"]
    assert worker["stop_grace_period"] == "150s"
