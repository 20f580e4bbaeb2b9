"""Fixtures that these tests share with others."""

import json
import os
from dataclasses import dataclass

import pytest
from support.commands import prefect_fork_server, program
from support.prefect_server import prefect_server, running_prefect_server
from support.songs import studio

__all__ = [
    "command",
    "prefect_fork_server",
    "prefect_server",
    "program",
    "running_prefect_server",
    "studio",
]


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one object on stdout."""
        return json.loads(self.out)


@pytest.fixture
def command(tmp_path, program):
    """Run `songflow` as a user would, in an empty folder, with nothing in the environment but what is given."""

    async def run(*arguments, fresh=False, **variables):
        plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PREFECT_", "SONGFLOW_", "COMETAPI_", "OPENAI_"))
        }
        process = await program(
            *("-m", "cli", *arguments),
            cwd=tmp_path,
            env=plain | {"PREFECT_HOME": str(tmp_path / "prefect"), **variables},
            fresh=fresh,
        )
        out, err = (text.decode() for text in await process.communicate())
        assert "Traceback" not in out + err
        return Ended(process.returncode, out, err)

    return run
