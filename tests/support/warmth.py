"""What a process that others are forked from does once, so that no fork has to."""

from __future__ import annotations

import os
import tempfile
import threading
from unittest import mock

import songflow
from songflow.sender import client
from songflow.simulator import SimulatorServer, SimulatorSettings


def make_a_song() -> None:
    """Make a song here: everything is loaded, and the SQL of the ledger's statements made (35 ms of CPU in each fork).

    No thread is left, since a fork takes none with it.
    """
    quick = SimulatorSettings(clip_seconds=0.25, speed=1000.0, sigma=0.0)
    alone = mock.patch.object(client._Senders, "process", return_value=None)
    unmeasured = mock.patch.dict(os.environ, SONGFLOW_MEASURE="off")
    with tempfile.TemporaryDirectory() as folder, SimulatorServer(quick) as server, alone, unmeasured:
        account = {"gateway": "simulator", "base_url": server.url}
        songflow.generate_sync("a waltz", account=account, library=folder, progress=False)
    for sender in client._senders:
        sender.close()
    client._senders = client._Senders()
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(10)
    assert threading.active_count() == 1
