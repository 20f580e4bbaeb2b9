"""The flow that makes songs: one paid generation, from a prompt to files."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
from collections.abc import Mapping
from typing import Any

from prefect import flow, runtime
from prefect.logging import get_run_logger

from blocks.credentials import GatewayBlock
from blocks.library import SongLibrary
from flows import fields
from flows.hooks import let_go
from songflow.accounts import Access, access_from_environment, fallbacks_from_environment
from songflow.errors import InputError
from songflow.families.family import Request
from songflow.families.udio import SongRequest
from songflow.generation.error_texts import paid_from_here
from songflow.generation.lifecycle import submit_to_first
from songflow.generation.policy import PAY_ONCE, PayingPolicy
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import SongState
from songflow.runtime.concurrency import all_ended
from tasks.download import download
from tasks.record import record
from tasks.runs import DEFAULT_STEP, request_key, short
from tasks.sessions import library_of, open_session
from tasks.stopping import tells_when_stopped
from tasks.submit import submit
from tasks.ui.lineage import song_assets, source_assets
from tasks.wait import wait

__all__ = ["chosen_access", "generate_song", "make_songs", "paying_options"]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    return short(str(parameters.get("prompt") or "a song"))


@flow(
    name="generate-song",
    flow_run_name=_run_name,
    persist_result=False,
    on_cancellation=[let_go],
    on_crashed=[let_go],
)
async def generate_song(
    prompt: fields.Prompt,
    lyrics: fields.Lyrics = "",
    lyrics_type: fields.LyricsKind = None,
    model_type: fields.ModelName = "udio32-v1.5",
    negative_prompt: fields.NegativePrompt = "",
    seed: fields.Seed = -1,
    prompt_strength: fields.PromptStrength = 0.5,
    clarity_strength: fields.ClarityStrength = 0.25,
    lyrics_strength: fields.LyricsStrength = 0.5,
    generation_quality: fields.Quality = 0.75,
    song_section_start: fields.SectionStart = 0.0,
    song_section_end: fields.SectionEnd = 1.0,
    lyrics_placement_start: fields.LyricsStart = None,
    lyrics_placement_end: fields.LyricsEnd = None,
    bypass_prompt_optimization: fields.Bypass = False,
    mode: fields.ModeName = "regular",
    source_song_id: fields.SourceSongId = None,
    context_length: fields.ContextLength = None,
    credentials: fields.Credentials = None,
    gateway: fields.GatewayName = None,
    base_url: fields.BaseUrl = None,
    submit_path: fields.SubmitPath = None,
    fetch_path: fields.FetchPath = None,
    shape: fields.ShapeName = None,
    library: fields.Library = None,
    key: fields.Key = None,
    step: fields.Step = DEFAULT_STEP,
    if_unsettled: fields.IfUnsettled = "stop",
    retry_errors: fields.RetryErrors = False,
    retries: fields.Retries = 4,
    poll_interval: fields.PollInterval = None,
    deadline: fields.Deadline = None,
    budget: fields.Budget = None,
    fallbacks: fields.Fallbacks = None,
    fallback_gateways: fields.FallbackGateways = None,
) -> GenerationResult:
    """Makes songs from a prompt: **pays once**, waits for the gateway, stores every take.

    Without credentials and gateway the songs come from the **built-in simulator**: no key, no cost.

    - A retry of this run, or of the flow that called it, collects what was paid for and pays nothing more.
      A *new* run makes and pays for new songs.
    - Several songs in one parent flow need a `step` each: `generate_song(..., step="chorus")`.
    - Cancelling this run does not cancel the gateway's work: it is billed. Running again with the key that
      the log names, or `songflow rescue`, collects it.
    """
    given = dict(locals())  # every parameter by its name
    return await make_songs(
        SongRequest.parse({name: given[name] for name in SongRequest.model_fields}),
        chosen_access(
            credentials, gateway, base_url, submit_path=submit_path, fetch_path=fetch_path, shape=shape
        ),
        key=key or await request_key(step),
        **paying_options(given),
    )


def paying_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `make_songs` that a flow's parameters give: library, session settings and paying policy.

    Raises:
        InputError, MissingCredentials: a fallback cannot be used.
    """
    return {
        "library": given["library"],
        "settings": SessionSettings(
            **{name: given[name] for name in ("poll_interval", "deadline", "retries", "budget")}
        ),
        "policy": PayingPolicy(
            if_unsettled=given["if_unsettled"],
            retry_errors=given["retry_errors"],
            fallbacks=(
                *(block.get_access() for block in given["fallbacks"] or ()),
                *fallbacks_from_environment(given["fallback_gateways"] or ()),
            ),
        ),
    }


def chosen_access(
    credentials: GatewayBlock | None, gateway: str | None, base_url: str | None, **custom: str | None
) -> Access:
    """The account of a block, or of a gateway's name and the environment.

    `custom` is a custom gateway's `submit_path`, `fetch_path` and `shape`.

    Raises:
        InputError: both were given, or what was given cannot be used.
    """
    if credentials is None:
        return access_from_environment(gateway, base_url or None, **custom)
    if gateway or base_url or any(custom.values()):
        raise InputError(
            "The credentials block says already which gateway and base URL to use.",
            next="give either `credentials`, or the gateway's own fields; nothing was sent.",
        )
    return credentials.get_access()


async def make_songs(
    request: Request,
    access: Access,
    *,
    key: str,
    library: SongLibrary | None,
    settings: SessionSettings,
    policy: PayingPolicy = PAY_ONCE,
) -> GenerationResult:
    """Run one generation's life cycle inside a flow run, a task for each step; for every flow that makes songs."""
    log = get_run_logger()
    log.info(
        "Making songs with %s at %s (%s), for %g units. Request key: %s.",
        request.model_type,
        access.gateway,
        access.account.base_url,
        access.price_of(request),
        key,
    )
    async with open_session(library_of(library), settings) as session, tells_when_stopped(session, key):
        submit_task = submit.with_options(retries=settings.retries)
        taken = await submit_to_first(
            request,
            policy.accounts(access),
            lambda account: submit_task(request, account, key=key, policy=policy),
        )
        submission = taken.submission
        # The lease covers the time between the tasks, too: another run must not take the request for abandoned.
        with paid_from_here(submission):
            async with session.leases.lease_for_lifecycle(
                submission, session.polling.deadline(request.model)
            ):
                songs = await wait(submission, taken.access)
                await _download_all(submission, songs, taken.access)
        result = await _record(session, submission)
    log.info(
        "%d of %d songs stored: %s.",
        len(result.stored),
        len(result.songs),
        ", ".join(str(song.path) for song in result.stored),
    )
    return result


async def _record(session: Session, submission: Submission) -> GenerationResult:
    """Show what was made; in Prefect its stored songs are assets that depend on the songs they extend."""
    songs = await session.library.ledger.songs.of_submission(submission.id)
    assets, sources = song_assets(submission, songs), source_assets(submission, songs)
    return await record.with_options(assets=assets, asset_deps=sources)(submission)


async def _download_all(submission: Submission, songs: list[Song], access: Access) -> None:
    """Every take for itself: a failure is in its task's state and its row, and must not lose the others."""
    missing = [song for song in songs if song.state is SongState.ANNOUNCED]
    await all_ended(*(download(song, submission, access) for song in missing))
