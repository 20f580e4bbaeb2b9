"""The progress of flow runs in this process, shown as the command shows it without a Prefect server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from cli.output import Output
from songflow.accounts import Access
from songflow.documents.text import one_line
from songflow.families.family import Mode, Request
from songflow.generation.ending import Progress, request_of_submission
from songflow.generation.session import Session
from songflow.ledger.rows import Submission

__all__ = ["generation_name", "run_display"]

_LONGEST = 40


@contextmanager
def run_display(
    output: Output, name: Callable[[Session, Request, Submission], Awaitable[str]]
) -> Iterator[None]:
    """Show each generation of the flow runs inside under its name."""
    from tasks.watching import Watcher, watched_by

    with output.waiting("a run in Prefect", "starting") as waiting:

        async def generation(session: Session, submission: Submission, access: Access | None) -> Progress:
            request = await request_of_submission(session, submission)
            line = waiting.named(await name(session, request, submission))
            if access is not None:
                await line.expect(session, access, request.model_type, request.mode.value)
            return line

        with watched_by(Watcher(generation=generation)):
            yield


async def generation_name(session: Session, request: Request, _submission: Submission | None = None) -> str:
    """A generation for people: its prompt, or the title of the song that it extends."""
    if request.mode is Mode.REGULAR:
        return f"'{one_line(request.prompt, _LONGEST)}'"
    source = request.source_song_id or ""
    songs = await session.library.ledger.songs.by_song_id(source)
    title = next((song.title for song in songs if song.title), None)
    return f"extending '{one_line(title, _LONGEST)}'" if title else f"extending {source}"
