"""One process that serves the flows to a Prefect server: then Prefect's UI has a Run button for them.

prefect server start          # in one terminal
python -m deployments.serve   # in another
"""

from __future__ import annotations

from flows.generate import generate_song

__all__ = ["main"]


def main() -> None:
    """Serve until Ctrl-C; runs started in the UI are executed here, with this process's environment."""
    generate_song.serve(
        name="generate-song",
        description=generate_song.description,
        tags=["songflow"],
        limit=10,
    )


if __name__ == "__main__":
    main()
