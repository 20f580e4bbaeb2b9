"""The parameters of flows, as types that Prefect's forms show with texts and limits.

The texts are those of `SongRequest`, so that a field means the same everywhere. Numbers are strict: a text is
not a number here, and true is not 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from blocks.credentials import GatewayBlock
from blocks.library import SongLibrary
from songflow.families.udio import SongRequest
from songflow.recipes.shelf import shipped_names
from songflow.sweeps.run import MAX_CONCURRENCY
from songflow.sweeps.shards import MAX_SHARD_CELLS

__all__ = [
    "About",
    "Asking",
    "BaseUrl",
    "Budget",
    "Bypass",
    "Choices",
    "ClarityStrength",
    "Concurrency",
    "ContextLength",
    "Credentials",
    "Deadline",
    "EventName",
    "ExtendedSongId",
    "ExtendingMode",
    "ExtensionStart",
    "FallbackGateways",
    "Fallbacks",
    "FetchPath",
    "GatewayName",
    "Happened",
    "IfUnsettled",
    "Key",
    "Library",
    "Lyrics",
    "LyricsEnd",
    "LyricsKind",
    "LyricsStart",
    "LyricsStrength",
    "MaxFailures",
    "ModeName",
    "ModelName",
    "NegativePrompt",
    "Next",
    "OriginCredentials",
    "OriginGateway",
    "OtherBypass",
    "OtherClarityStrength",
    "OtherLyrics",
    "OtherLyricsEnd",
    "OtherLyricsKind",
    "OtherLyricsStart",
    "OtherLyricsStrength",
    "OtherModelName",
    "OtherNegativePrompt",
    "OtherPrompt",
    "OtherPromptStrength",
    "OtherQuality",
    "OtherSeed",
    "PlaceName",
    "PollInterval",
    "Prompt",
    "PromptStrength",
    "Quality",
    "RecipeLyrics",
    "RecipePrompt",
    "RecipeText",
    "Report",
    "RescueCredentials",
    "RescueDeadline",
    "Retries",
    "RetryErrors",
    "SectionEnd",
    "SectionStart",
    "Seed",
    "ShapeName",
    "ShardCells",
    "ShardDeployment",
    "ShardName",
    "ShardSize",
    "ShardsAtOnce",
    "SongKey",
    "SourceSongId",
    "SpecFolder",
    "Step",
    "SubmitPath",
    "SweepName",
    "SweepRunId",
    "SweepSpec",
    "Variables",
]


def _described(title: str, text: str, *, choices: tuple[float | None, ...] = (), **limits: Any) -> Any:
    # Prefect 3.8 puts a parameter's name over its `title` and its docstring's `Args` over its `description`,
    # even where there is none; what stands in `json_schema_extra` it keeps.
    extra: dict[str, JsonValue] = {"title": title, "description": text}
    if choices:
        extra["enum"] = list(choices)
    return Field(title=title, description=text, json_schema_extra=extra, **limits)


def _about(name: str, **limits: Any) -> Any:
    """A field of the request, with the request's own text."""
    text = SongRequest.model_fields[name].description
    assert text, f"every field of a request is described: {name}"
    return _described(name.replace("_", " ").capitalize(), text, **limits)


def _share(name: str) -> Any:
    return _about(name, ge=0, le=1, strict=True)


def _inherited(name: str, **limits: Any) -> Any:
    """A field of an extension's request, which is its parent's where it is left empty."""
    about = SongRequest.model_fields[name].description
    return _described(
        name.replace("_", " ").capitalize(), f"{about} Empty: as the song was asked for.", **limits
    )


def _inherited_share(name: str) -> Any:
    return _inherited(name, ge=0, le=1, strict=True)


Prompt = Annotated[str, _about("prompt", min_length=1)]
Lyrics = Annotated[str, _about("lyrics")]
LyricsKind = Annotated[Literal["user", "instrumental", "generate"] | None, _about("lyrics_type")]
NegativePrompt = Annotated[str, _about("negative_prompt")]
ModelName = Annotated[Literal["udio32-v1.5", "udio130-v1.5"], _about("model_type")]
Seed = Annotated[int, _about("seed", ge=-1, strict=True)]
Bypass = Annotated[bool, _about("bypass_prompt_optimization", strict=True)]
SectionStart = Annotated[float, _share("song_section_start")]
SectionEnd = Annotated[float | None, _share("song_section_end")]
LyricsStart = Annotated[float | None, _share("lyrics_placement_start")]
LyricsEnd = Annotated[float | None, _share("lyrics_placement_end")]
PromptStrength = Annotated[float, _share("prompt_strength")]
ClarityStrength = Annotated[float, _share("clarity_strength")]
LyricsStrength = Annotated[float, _share("lyrics_strength")]
Quality = Annotated[
    float, _about("generation_quality", ge=0.25, le=1, strict=True, choices=(0.25, 0.5, 0.75, 1))
]
ModeName = Annotated[Literal["regular", "precede", "continuation"], _about("mode")]
ContextLength = Annotated[float | None, _about("context_length", ge=1, le=130, strict=True)]
SourceSongId = Annotated[str | None, _about("source_song_id")]

# An extension's own: empty is what its parent was asked for with.
OtherPrompt = Annotated[str | None, _inherited("prompt", min_length=1)]
OtherLyrics = Annotated[str | None, _inherited("lyrics")]
OtherLyricsKind = Annotated[Literal["user", "instrumental", "generate"] | None, _inherited("lyrics_type")]
OtherNegativePrompt = Annotated[str | None, _inherited("negative_prompt")]
OtherModelName = Annotated[Literal["udio32-v1.5", "udio130-v1.5"] | None, _inherited("model_type")]
OtherSeed = Annotated[int | None, _inherited("seed", ge=-1, strict=True)]
OtherBypass = Annotated[bool | None, _inherited("bypass_prompt_optimization", strict=True)]
OtherLyricsStart = Annotated[float | None, _inherited_share("lyrics_placement_start")]
OtherLyricsEnd = Annotated[float | None, _inherited_share("lyrics_placement_end")]
OtherPromptStrength = Annotated[float | None, _inherited_share("prompt_strength")]
OtherClarityStrength = Annotated[float | None, _inherited_share("clarity_strength")]
OtherLyricsStrength = Annotated[float | None, _inherited_share("lyrics_strength")]
OtherQuality = Annotated[
    float | None,
    # None as well: the list holds for the whole parameter, whichever of its kinds was chosen.
    _inherited("generation_quality", ge=0.25, le=1, strict=True, choices=(0.25, 0.5, 0.75, 1, None)),
]
ExtendedSongId = Annotated[
    str,
    _described("Song id", "The song to extend, by the gateway's id: as the manifest shows it.", min_length=1),
]
ExtendingMode = Annotated[
    Literal["precede", "continuation"] | None,
    _described("Mode", "precede adds before the song, continuation (the default) after it."),
]
PlaceName = Annotated[
    Literal["intro", "front", "back", "outro"] | None,
    _described(
        "Place",
        "intro or front of precede, back or outro of continuation. Empty: intro, or outro; or where "
        "`song_section_start` says.",
    ),
]
ExtensionStart = Annotated[
    float | None,
    _described(
        "Song section start",
        "The place as a number, 0..1, together with the mode. Empty: that of the place.",
        ge=0,
        le=1,
        strict=True,
    ),
]
OriginCredentials = Annotated[
    GatewayBlock | None,
    _described("Credentials", "The account that pays. Empty: the one that made the song."),
]
OriginGateway = Annotated[
    Literal["simulator", "cometapi", "openai-hk", "custom"] | None,
    _described("Gateway", "For a song that this library does not know: where it is. Empty: the song's own."),
]

Credentials = Annotated[
    GatewayBlock | None,
    _described(
        "Credentials", "The account that pays. Empty: the gateway below and a key in the environment."
    ),
]
GatewayName = Annotated[
    Literal["simulator", "cometapi", "openai-hk", "custom"] | None,
    _described(
        "Gateway",
        "Without credentials: the gateway whose key stands in the environment. Empty: the built-in "
        "simulator, which needs no key and costs nothing.",
    ),
]
BaseUrl = Annotated[
    str | None,
    _described("Base URL", "Without credentials: the gateway's address, where it is not the usual one."),
]
SubmitPath = Annotated[
    str | None, _described("Submit path", "A custom gateway's path for submits, such as /udio/submit/music.")
]
FetchPath = Annotated[
    str | None,
    _described(
        "Fetch path", "A custom gateway's path for asking, such as /udio/fetch/{id} or /udio/query?ids={ids}."
    ),
]
ShapeName = Annotated[
    Literal["A", "B", "C", "D"] | None, _described("Shape", "A custom gateway's answer shape: A, B, C or D.")
]
Library = Annotated[
    SongLibrary | None,
    _described("Library", "Where songs are kept. Empty: SONGFLOW_LIBRARY in the environment, else ./songs."),
]
Key = Annotated[
    str | None,
    _described(
        "Request key", "A key of your own: the same key never pays twice. Empty: this run's id and the step."
    ),
]
Step = Annotated[
    str,
    _described("Step", "Tells several songs of one parent flow apart; each has its own.", min_length=1),
]
IfUnsettled = Annotated[
    Literal["stop", "new"],
    _described(
        "If unsettled",
        "What to do where the same request of a dead run is still unsettled: stop and name it, or pay anew.",
    ),
]
RetryErrors = Annotated[
    bool,
    _described(
        "Retry errors",
        "Pay again where this key's generation failed at the gateway in an earlier run; a retry of this run does not.",
        strict=True,
    ),
]
Retries = Annotated[
    int,
    _described(
        "Retries",
        "How often a request that was certainly not billed is sent again (rate limits, no connection).",
        ge=0,
        le=100,
        strict=True,
    ),
]
PollInterval = Annotated[
    float | None,
    _described("Poll interval", "Seconds between polls. Empty: chosen by Songflow.", gt=0, strict=True),
]
Deadline = Annotated[
    float | None,
    _described(
        "Deadline",
        "Seconds to wait; afterwards the song still runs and can be collected later. Empty: by model.",
        gt=0,
        strict=True,
    ),
]
Budget = Annotated[
    float | None,
    _described(
        "Budget",
        "The most that this run (with all its subflows) may spend, in the units of the prices. Empty: no cap.",
        ge=0,
        allow_inf_nan=False,
        strict=True,
    ),
]
Fallbacks = Annotated[
    list[GatewayBlock] | None,
    _described(
        "Fallbacks",
        "Accounts to try in order, each only after the one before has certainly not billed (refused, not sent).",
    ),
]
FallbackGateways = Annotated[
    list[str] | None,
    _described(
        "Fallback gateways",
        "The same by name, after those above, where their keys stand in the environment: NAME or NAME=URL.",
    ),
]
RescueCredentials = Annotated[
    GatewayBlock | None,
    _described(
        "Credentials",
        "An account to ask with where it fits. Empty: the account that took each generation, by its stored name.",
    ),
]
RescueDeadline = Annotated[
    float,
    _described(
        "Deadline",
        "Seconds to wait for each generation that still runs; 0 asks once.",
        ge=0,
        allow_inf_nan=False,
        strict=True,
    ),
]
EventName = Annotated[
    str, _described("Event", "Which event it was, such as songflow.generation.unknown.", min_length=1)
]
Happened = Annotated[str, _described("What happened", "In a sentence.")]
Next = Annotated[str, _described("What to do next", "The command or the decision that it takes.")]
About = Annotated[str, _described("About", "The generation or the budget that it is about.")]
RecipeText = Annotated[
    str | dict[str, Any],
    _described(
        "Recipe",
        f"One that comes with Songflow ({', '.join(shipped_names())}), YAML text, or the same as data.",
    ),
]
RecipePrompt = Annotated[
    str | None, _described("Prompt", "What the song is like: the recipe's variable `prompt`.")
]
RecipeLyrics = Annotated[
    str | None, _described("Lyrics", "The words of the song: the recipe's variable `lyrics`.")
]
Variables = Annotated[
    dict[str, Any] | None,
    _described("Variables", "Further variables of the recipe, by name, such as core_take: ask."),
]
Choices = Annotated[
    dict[str, str] | None,
    _described(
        "Choices",
        "Takes chosen beforehand, by step: a take's number, or again1 for another pair, such as core: 2.",
    ),
]
Asking = Annotated[
    Literal["pause", "stop"],
    _described(
        "Asking",
        "Where a step asks which take to go on with: pause this run for an answer, or stop with what is kept.",
    ),
]
SongKey = Annotated[
    str | None,
    _described(
        "Request key",
        "Goes on with what was begun under this key; each step's own is made from it. Empty: this run's id and step.",
    ),
]
SweepSpec = Annotated[
    str | dict[str, Any],
    _described(
        "Sweep",
        "What to make, as YAML or as an object: fixed fields under their own names, axes under grid, zip, list, "
        "random, sobol or lhs, then replicates and constraints.",
    ),
]
SpecFolder = Annotated[
    str | None,
    _described(
        "Folder", "Where the files that the sweep names are. Empty: the folder that this run works in."
    ),
]
SweepName = Annotated[
    str, _described("Name", "What people call the sweep, where it does not say its own name.", min_length=1)
]
Concurrency = Annotated[
    int,
    _described(
        "Concurrency",
        "Generations at the gateway at once, over all shards together; fewer where it says that these are too many.",
        ge=1,
        le=MAX_CONCURRENCY,
        strict=True,
    ),
]
MaxFailures = Annotated[
    int | None,
    _described(
        "Most failures",
        "Start no more cells after so many did not end well. Empty: go on.",
        ge=1,
        strict=True,
    ),
]
ShardSize = Annotated[
    int,
    _described("Shard size", "Cells of one shard.", ge=1, le=MAX_SHARD_CELLS, strict=True),
]
ShardDeployment = Annotated[
    str | None,
    _described(
        "Shard deployment",
        "A deployment of the flow sweep-shard, as flow/deployment: each shard is then a run of it, on any work pool. "
        "Empty: all shards in this run.",
    ),
]
ShardsAtOnce = Annotated[
    int,
    _described(
        "Shards at once",
        "With a shard deployment: how many of its runs there are at once.",
        ge=1,
        le=100,
        strict=True,
    ),
]
ShardCells = Annotated[
    list[dict[str, Any]], _described("Cells", "The shard's cells, as the flow sweep hands them over.")
]
ShardName = Annotated[str, _described("Name", "What people call this shard.", min_length=1)]
SweepRunId = Annotated[
    str | None, _described("Sweep run", "The run whose budget the cells are counted on. Empty: this one.")
]
Report = Annotated[
    bool,
    _described(
        "Report",
        "Draw what the varied fields did to the songs, as artifacts of this run, when the sweep has ended.",
        strict=True,
    ),
]
