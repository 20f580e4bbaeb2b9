"""The flow that lets a gateway write lyrics: one paid generation of texts."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
from typing import Annotated

from prefect import runtime
from prefect.artifacts import acreate_markdown_artifact

from flows import ended, fields
from flows.generate import chosen_access, make_takes
from flows.song_flow import paid_flow
from songflow.generation import lifecycle
from songflow.generation.lyrics import LyricsResult, request_for
from songflow.generation.policy import PaidRequest
from songflow.parameters import EnvironmentAccount, Waiting, members, session_settings
from tasks.runs import request_key, short
from tasks.sessions import library_of, open_session
from tasks.stopping import report_interruption
from tasks.ui.markdown import artifact_key, escape
from tasks.ui.pages import shown

__all__ = ["write_lyrics"]

DEFAULT_STEP = "lyrics"

Prompt = Annotated[str, fields.described("Prompt", "What the words are about.", min_length=1)]
Model = Annotated[
    str | None,
    fields.described("Model", "Whose generator of lyrics is asked. Empty: the one that the gateway has."),
]


def _run_name() -> str:
    return short(f"lyrics: {runtime.flow_run.parameters.get('prompt')}")


@paid_flow(
    "write-lyrics",
    _run_name,
    moved=members(account=EnvironmentAccount, waiting=Waiting, safety=fields.SongSafety),
    ended=ended.written,
)
async def write_lyrics(
    prompt: Prompt,
    model_type: Model = None,
    credentials: fields.Credentials = None,
    library: fields.Library = None,
    budget: fields.Budget = None,
    account: fields.Account = None,
    waiting: fields.Wait = None,
    safety: fields.PaySafely = None,
) -> LyricsResult:
    """Let a gateway write the **lyrics** of a song: pay once, wait, and keep the texts in the ledger.

    Feed them to a song: `generate_song("a style", lyrics=(await write_lyrics("a theme")).text)`. Without credentials
    and gateway they come from the **built-in simulator**: no key, no cost.

    - A retry of this run, or of the flow that called it, collects what was paid for and pays nothing more.
    - Several texts in one parent flow need a step each: `write_lyrics(..., safety={"step": "chorus"})`.
    """
    access, safety = chosen_access(credentials, account), safety or fields.SongSafety()
    request = request_for(prompt, access, model_type)
    key = safety.key or await request_key(safety.step or DEFAULT_STEP)
    settings = session_settings(waiting, safety, budget)
    async with open_session(library_of(library), settings) as session, report_interruption(session, key):
        taken = await make_takes(session, PaidRequest(request, key), access, safety.policy())
        result = LyricsResult.of(await lifecycle.result(session, taken.submission.id))
    async with shown("The lyrics", "they are in the ledger"):
        parts = [f"## {escape(one.title or 'Lyrics')}\n\n{_lines(one.text)}" for one in result.lyrics]
        await acreate_markdown_artifact(
            "\n\n".join(parts), key=artifact_key(key, prompt), description=escape(prompt, length=60)
        )
    return result


def _lines(text: str) -> str:
    """A text as Markdown with its line ends."""
    return "  \n".join(escape(line) for line in text.splitlines())
