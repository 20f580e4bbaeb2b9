"""`songflow lyrics`: the words of a song from a prompt, written by a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from cli.options import SONG, Common, Gateway, Paying, Waiting, cleaned
from cli.output import Output, cost_text
from cli.paid_command import named, run_paid
from songflow.accounts import Access
from songflow.families.family import Request
from songflow.families.registry import lyrics_request
from songflow.generation.lyrics import LyricsResult, request_for
from songflow.generation.results import GenerationResult
from songflow.generation.session import Session

__all__ = ["lyrics"]


def lyrics(
    prompt: str,
    /,
    *,
    model: Annotated[str | None, Parameter(group=SONG)] = None,
    paying: Paying = Paying(),
    gateway: Gateway = Gateway(),
    waiting: Waiting = Waiting(),
    common: Common = Common(),
) -> None:
    """Let a gateway write lyrics from a prompt: on the built-in simulator, or through a gateway with --gateway.

    The words alone go to stdout, so that a song can sing them:
    songflow lyrics "a harbour at night" | songflow generate "slow folk" --lyrics-file -

    Parameters
    ----------
    prompt
        What the words are about.
    model
        Whose generator of lyrics is asked (default: the one that the gateway has).
    """
    prompt = cleaned(prompt) or ""
    with named(paying.key):
        for part in (paying, gateway, waiting):
            part.check()
        lyrics_request(prompt, model)  # checked before a library is opened
    output = Output(as_json=common.json, quiet=common.quiet)
    result = run_paid(output, _Words(prompt, model), paying, gateway, waiting, common)
    if output.as_json:
        output.object(result.as_dict())
        return
    first, *others = result.lyrics
    output.say(
        f"{first.title or 'Lyrics'} (key {result.key}, generation {result.generation_id}, "
        f"{cost_text(result.price, common.library_settings().unit, result.billed, result.simulated)})"
    )
    if others:
        output.say(f"{len(others)} more: the same command with --key {result.key} --json shows all.")
    output.text(first.text)


@dataclass(frozen=True)
class _Words:
    prompt: str
    model: str | None
    needs_account: bool = True

    async def plan(
        self, _session: Session, given: Access | None, _fallbacks: Sequence[Access]
    ) -> tuple[Request, Access]:
        assert given is not None, "lyrics need an account"
        return request_for(self.prompt, given, self.model), given

    async def run_flow(self, shared: dict[str, Any]) -> LyricsResult:
        from flows.lyrics import write_lyrics

        result: LyricsResult = await write_lyrics(self.prompt, model_type=self.model, **shared)
        return result

    def result(self, made: GenerationResult) -> LyricsResult:
        return LyricsResult.of(made)
