"""The flow that extends a song: an intro, an outro, or more of it, at the gateway that has it."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
from prefect import flow, runtime

from flows import fields
from flows.generate import chosen_access, make_songs, paying_options
from flows.hooks import let_go
from songflow.families.udio import SongRequest
from songflow.generation.extensions import plan_extension
from songflow.generation.results import GenerationResult
from tasks.runs import request_key, short
from tasks.sessions import library_of, open_session
from tasks.ui.lineage import show_lineage

__all__ = ["extend_song"]

# Said apart: they are what makes a request an extension.
_OF_THE_EXTENSION = ("mode", "source_song_id")


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    place = parameters.get("place") or parameters.get("mode") or "more"
    return short(f"{place} for {parameters.get('song_id')}")


@flow(
    name="extend-song",
    flow_run_name=_run_name,
    persist_result=False,
    on_cancellation=[let_go],
    on_crashed=[let_go],
)
async def extend_song(
    song_id: fields.ExtendedSongId,
    mode: fields.ExtendingMode = None,
    place: fields.PlaceName = None,
    prompt: fields.OtherPrompt = None,
    lyrics: fields.OtherLyrics = None,
    lyrics_type: fields.OtherLyricsKind = None,
    context_length: fields.ContextLength = None,
    model_type: fields.OtherModelName = None,
    negative_prompt: fields.OtherNegativePrompt = None,
    seed: fields.OtherSeed = None,
    prompt_strength: fields.OtherPromptStrength = None,
    clarity_strength: fields.OtherClarityStrength = None,
    lyrics_strength: fields.OtherLyricsStrength = None,
    generation_quality: fields.OtherQuality = None,
    song_section_start: fields.ExtensionStart = None,
    song_section_end: fields.SectionEnd = None,
    lyrics_placement_start: fields.OtherLyricsStart = None,
    lyrics_placement_end: fields.OtherLyricsEnd = None,
    bypass_prompt_optimization: fields.OtherBypass = None,
    credentials: fields.OriginCredentials = None,
    gateway: fields.OriginGateway = None,
    base_url: fields.BaseUrl = None,
    submit_path: fields.SubmitPath = None,
    fetch_path: fields.FetchPath = None,
    shape: fields.ShapeName = None,
    library: fields.Library = None,
    key: fields.Key = None,
    step: fields.Step = "extension",
    if_unsettled: fields.IfUnsettled = "stop",
    retry_errors: fields.RetryErrors = False,
    retries: fields.Retries = 4,
    poll_interval: fields.PollInterval = None,
    deadline: fields.Deadline = None,
    budget: fields.Budget = None,
    fallbacks: fields.Fallbacks = None,
    fallback_gateways: fields.FallbackGateways = None,
) -> GenerationResult:
    """Extends a song: **pays once**, waits for the gateway, stores every take, and checks that each holds the song.

    What is left empty is as the song was asked for. It is made by the **gateway and account that made the song**:
    no other has it. A song that this library does not know needs a gateway (or credentials) and a prompt.

    - A retry of this run, or of the flow that called it, collects what was paid for and pays nothing more.
    - Several extensions in one parent flow need a `step` each: `extend_song(..., step="intro")`.
    - Cancelling this run does not cancel the gateway's work: it is billed. `songflow rescue` collects it.
    """
    given = dict(locals())  # every parameter by its name
    names = SongRequest.model_fields.keys() - set(_OF_THE_EXTENSION)
    named = credentials is not None or gateway is not None or base_url is not None
    options = paying_options(given)
    async with open_session(library_of(library), options["settings"]) as session:
        planned = await plan_extension(
            session,
            song_id,
            chosen_access(
                credentials, gateway, base_url, submit_path=submit_path, fetch_path=fetch_path, shape=shape
            )
            if named
            else None,
            mode=mode,
            place=place,
            overrides={name: given[name] for name in names if given[name] is not None},
            fallbacks=options["policy"].fallbacks,
        )
        result = await make_songs(
            planned.request, planned.access, key=key or await request_key(step), **options
        )
        await show_lineage(session, result)
        return result
