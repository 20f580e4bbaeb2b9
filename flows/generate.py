"""The flow that makes songs: one paid generation, from a prompt to files."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
from dataclasses import replace
from typing import Annotated

from prefect import runtime
from prefect.logging import get_run_logger

from blocks.credentials import GatewayBlock
from blocks.library import SongLibrary
from flows import ended, fields
from flows.song_flow import paid_flow
from songflow.accounts import Access
from songflow.errors import InputError
from songflow.families.family import Request
from songflow.families.model_names import DEFAULT_MODEL
from songflow.families.parameters import Details, Placement, Sound
from songflow.families.registry import parse_request
from songflow.generation.error_texts import paid_from_here
from songflow.generation.joins import join_at_gateway, require_joining
from songflow.generation.lifecycle import Taken, submit_to_first
from songflow.generation.policy import PAY_ONCE, PaidRequest, PayingPolicy
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.ledger.rows import Song, Submission
from songflow.ledger.states import SongState
from songflow.parameters import EnvironmentAccount, Waiting, members, session_settings
from songflow.runtime.concurrency import all_ended
from songflow.settings import amount
from tasks.download import download
from tasks.record import record
from tasks.runs import DEFAULT_STEP, request_key, short
from tasks.sessions import library_of, open_session
from tasks.stopping import report_interruption
from tasks.submit import submit
from tasks.ui.lineage import song_assets, source_assets
from tasks.wait import wait

__all__ = ["chosen_access", "generate_song", "make_songs", "make_takes"]

SoundOfSong = Annotated[
    Sound | None,
    fields.described("Sound", "How closely prompt and lyrics are followed, and the quality."),
]
PlacementInSong = Annotated[
    Placement | None,
    fields.described(
        "Placement",
        "Which section of a whole song this is, and where the lyrics are sung. Defaults: all of it.",
    ),
]

DetailsOfSong = Annotated[
    Details | None,
    fields.described("Details", "What only some models take, such as a title, a length or a tempo."),
]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    return short(str(parameters.get("prompt") or "a song"))


@paid_flow(
    "generate-song",
    _run_name,
    moved={
        **members(
            sound=Sound,
            placement=Placement,
            details=Details,
            account=EnvironmentAccount,
            waiting=Waiting,
            safety=fields.SongSafety,
        ),
        **dict.fromkeys(("mode", "source_song_id", "context_length"), "a parameter of the flow extend-song"),
    },
    ended=ended.made,
)
async def generate_song(
    prompt: fields.Prompt,
    lyrics: fields.Lyrics = "",
    lyrics_type: fields.LyricsType = None,
    model_type: fields.ModelType = DEFAULT_MODEL,
    negative_prompt: fields.NegativePrompt = "",
    seed: fields.Seed = -1,
    credentials: fields.Credentials = None,
    library: fields.Library = None,
    budget: fields.Budget = None,
    sound: SoundOfSong = None,
    placement: PlacementInSong = None,
    details: DetailsOfSong = None,
    account: fields.Account = None,
    waiting: fields.Wait = None,
    safety: fields.PaySafely = None,
) -> GenerationResult:
    """Make songs from a prompt: **pay once**, wait for the gateway, store every take.

    Without credentials and gateway the songs come from the **built-in simulator**: no key, no cost.

    - A retry of this run, or of the flow that called it, collects what was paid for and pays nothing more.
      A *new* run makes and pays for new songs.
    - Several songs in one parent flow need a step each: `generate_song(..., safety={"step": "chorus"})`.
    - Cancelling this run does not cancel the gateway's work, which is billed. Run again with the key that
      the log names, or run `songflow rescue`, to collect it.
    """
    safety = safety or fields.SongSafety()
    # What is left at its default is not asked for: another family may not have the field.
    given = {"lyrics": lyrics, "negative_prompt": negative_prompt, "seed": seed if seed != -1 else None}
    groups = (sound or Sound(), placement or Placement(), details or Details())
    request = parse_request(
        {
            "prompt": prompt,
            "lyrics_type": lyrics_type,
            "model_type": model_type,
            **{name: value for name, value in given.items() if value not in ("", None)},
            **{name: value for group in groups for name, value in group.chosen().items()},
        }
    )
    return await make_songs(
        request,
        chosen_access(credentials, account),
        key=safety.key or await request_key(safety.step or DEFAULT_STEP),
        library=library,
        settings=session_settings(waiting, safety, budget),
        policy=safety.policy(),
    )


def chosen_access(credentials: GatewayBlock | None, account: EnvironmentAccount | None) -> Access:
    """The account of a block, or of a gateway whose key is in the environment.

    Raises:
        InputError: both were given, or what was given cannot be used.
    """
    if credentials is None:
        return (account or EnvironmentAccount()).access()
    if account is not None and not account.is_empty:
        raise InputError(
            "The credentials block already names the gateway and its base URL.",
            next="give either `credentials`, or the gateway's own fields (`account`); nothing was sent.",
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
    """Run the life cycle of one generation inside a flow run, with a task for each step."""
    log, where = get_run_logger(), library_of(library)
    log.info(
        "Making songs with %s at %s, for %s. Request key: %s.",
        request.model_type,
        access.place_text,
        amount(access.price_of(request), where.unit),
        key,
    )
    async with open_session(where, settings) as session, report_interruption(session, key):
        require_joining(session, request, access)

        async def make(paid: PaidRequest, account: Access) -> None:
            await make_takes(session, paid, account, replace(policy, fallbacks=()))

        taken = await make_takes(session, PaidRequest(request, key), access, policy)
        submission = taken.submission
        await join_at_gateway(session, submission, taken.access, make)
        result = await _record(session, submission, request.prompt)
    log.info(
        "%d of %d songs stored: %s.",
        len(result.stored),
        len(result.songs),
        ", ".join(str(song.path) for song in result.stored),
    )
    return result


async def make_takes(session: Session, paid: PaidRequest, access: Access, policy: PayingPolicy) -> Taken:
    """Pay for a request, wait for it and download its takes, with a task for each."""
    submit_task, request = submit.with_options(retries=session.settings.retries), paid.request
    taken = await submit_to_first(
        request,
        policy.accounts(access),
        lambda account: submit_task(request, account, key=paid.key, policy=policy),
    )
    submission = taken.submission
    # The lease also covers the time between the tasks, so that no other run considers the request abandoned.
    with paid_from_here(submission):
        async with session.leases.lease_for_lifecycle(submission, session.polling.deadline(request.model)):
            songs = await wait(submission, taken.access, prompt=request.prompt)
            await _download_all(submission, songs, taken.access)
    return taken


async def _record(session: Session, submission: Submission, prompt: str) -> GenerationResult:
    """Publish the result; stored songs are Prefect assets that depend on the songs they extend."""
    songs = await session.library.ledger.songs.of_submission(submission.id)
    assets, sources = song_assets(submission, songs), source_assets(submission, songs)
    return await record.with_options(assets=assets, asset_deps=sources)(submission, prompt=prompt)


async def _download_all(submission: Submission, songs: list[Song], access: Access) -> None:
    """Download every take; a failure is recorded in its task and its row, and does not stop the others."""
    missing = [song for song in songs if song.state is SongState.ANNOUNCED]
    await all_ended(*(download(song, submission, access) for song in missing))
