"""One process that serves the flows to a Prefect server: then Prefect's UI has a Run button for them.

prefect server start          # in one terminal
python -m deployments.serve   # in another
"""

from __future__ import annotations

from prefect import serve
from prefect.deployments.runner import RunnerDeployment

from flows.generate import generate_song
from flows.rescue import rescue_songs

__all__ = ["deployments", "main"]

RESCUE_EVERY_SECONDS = 15 * 60.0


def deployments() -> list[RunnerDeployment]:
    """Every flow as a deployment; what was paid for and stranded is collected on a schedule."""
    return [
        RunnerDeployment.from_flow(
            generate_song, name="generate-song", description=generate_song.description, tags=["songflow"]
        ),
        RunnerDeployment.from_flow(
            rescue_songs,
            name="rescue-songs",
            description=rescue_songs.description,
            tags=["songflow"],
            interval=RESCUE_EVERY_SECONDS,
        ),
    ]


def main() -> None:
    """Serve until Ctrl-C; runs started in the UI are executed here, with this process's environment."""
    serve(*deployments(), limit=10)


if __name__ == "__main__":
    main()
