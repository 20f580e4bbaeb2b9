"""The flow that makes a whole song from a recipe: a core and its extensions, with a person's choices in between."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated, Any, Literal

from prefect import runtime
from prefect.artifacts import acreate_markdown_artifact
from prefect.exceptions import Pause
from prefect.logging import get_run_logger
from pydantic import Field

from blocks.library import SongLibrary
from flows import ended, fields
from flows.asking import Questions
from flows.generate import chosen_access, make_songs
from flows.song_flow import paid_flow
from songflow.documents.text import counted
from songflow.generation.policy import PayingPolicy
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.parameters import EnvironmentAccount, Waiting, members, session_settings
from songflow.recipes.answers import Answer, Question, nobody_here
from songflow.recipes.crew import Order
from songflow.recipes.making import make_whole_song
from songflow.recipes.model import Recipe
from songflow.recipes.plain import settings_for
from songflow.recipes.results import WholeSong, read_whole_song
from songflow.recipes.shelf import find_recipe, shipped_names
from songflow.settings import amount
from tasks.runs import request_key, short
from tasks.sessions import library_of, open_session
from tasks.ui.links import EXTEND, form_links, page_in_v1
from tasks.ui.markdown import artifact_key, escape
from tasks.ui.pages import shown
from tasks.ui.players import with_players
from tasks.ui.song_page import song_page, songs_of

__all__ = ["make_song"]

log = logging.getLogger(f"songflow.{__name__}")

DEFAULT_STEP = "song"

RecipeText = Annotated[
    Annotated[str, Field(title="Name or YAML")] | Annotated[dict[str, Any], Field(title="Data")],
    fields.described(
        "Recipe",
        f"One that comes with Songflow ({', '.join(shipped_names())}), or your own as YAML or data.",
    ),
]
Prompt = Annotated[
    str | None, fields.described("Prompt", "What the song is like (the variable `prompt` of the recipe).")
]
Lyrics = Annotated[
    str | None, fields.described("Lyrics", "The words to sing (the variable `lyrics` of the recipe).")
]
Variables = Annotated[
    dict[str, Any] | None,
    fields.described("Variables", 'Other variables of the recipe, as JSON, such as {"core_take": "ask"}.'),
]
Choices = Annotated[
    dict[str, str] | None,
    fields.described(
        "Choices",
        'Takes to continue from, chosen in advance, as JSON: {"core": "2"}, or {"core": "again1"} for another pair.',
    ),
]
Asking = Annotated[
    Literal["pause", "stop"],
    fields.described(
        "If a step asks",
        "A step can ask which take to continue from: suspend or pause this run for an answer, or stop with what is "
        "stored.",
    ),
]


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    recipe = parameters.get("recipe")
    name = str(recipe if isinstance(recipe, str) else (recipe or {}).get("name") or "a recipe")
    about = parameters.get("prompt") or (parameters.get("variables") or {}).get("prompt") or ""
    return short(f"{'a recipe' if chr(10) in name else name}: {about}" if about else name)


@paid_flow(
    "make-song",
    _run_name,
    moved=members(account=EnvironmentAccount, waiting=Waiting, safety=fields.SongSafety),
    ended=ended.made_whole,
)
async def make_song(
    recipe: RecipeText = "radio-edit",
    prompt: Prompt = None,
    lyrics: Lyrics = None,
    variables: Variables = None,
    choices: Choices = None,
    asking: Asking = "pause",
    credentials: fields.Credentials = None,
    library: fields.Library = None,
    budget: fields.Budget = None,
    account: fields.Account = None,
    waiting: fields.Wait = None,
    safety: fields.PaySafely = None,
) -> WholeSong:
    """Make a **whole song** from a recipe: a core, then intros, further parts and outros around it.

    The recipe is read and compared with the budget as a whole **before anything is sent**; then each step pays once.

    - A step that *asks* **suspends or pauses this run**: press Resume, listen to the takes, choose one or another
      pair. If nobody answers, the recipe's own default is taken.
    - A retry of this run, or a new run with its request key, continues where it stopped: with the same takes,
      paying for nothing twice.
    - All steps stay with the gateway and the account that made the core.
    """
    access = chosen_access(credentials, account)
    safety = safety or fields.SongSafety()
    policy = safety.policy()
    own = {name: value for name, value in (("prompt", prompt), ("lyrics", lyrics)) if value is not None}
    read = find_recipe(recipe, {**(variables or {}), **own}, access.prices)
    base = safety.key or await request_key(safety.step or DEFAULT_STEP)
    settings = settings_for(read, base, session_settings(waiting, safety, budget))
    crew = _TaskCrew(library, settings, replace(policy, fallbacks=()), asks=asking == "pause")
    accounts = policy.accounts(access)
    get_run_logger().info("Making %s. Key: %s.", read.name, base)
    async with open_session(library_of(library), settings) as session:
        crew.show = lambda: _show(session, read, base)
        try:
            whole = await make_whole_song(session, read, accounts, crew, key=base, choices=choices or {})
        except Pause:
            # The run is suspended, and its page was written before: a heartbeat after that event would have the
            # automation for zombies wait for the next one, and crash the run.
            raise
        except BaseException:
            await crew.show()
            raise
        await crew.show()
        return whole


class _TaskCrew:
    """Makes each generation with Prefect tasks, and asks for choices in Prefect's UI."""

    def __init__(
        self,
        library: SongLibrary | None,
        settings: SessionSettings,
        policy: PayingPolicy,
        *,
        asks: bool,
    ) -> None:
        self._library = library
        self._settings = settings
        self._policy = policy
        self._questions = Questions(library_of(library).unit, settings.poll_interval) if asks else None
        self.show: Callable[[], Awaitable[None]]

    async def make(self, order: Order) -> None:
        """Make one generation."""
        await make_songs(
            order.request,
            order.accounts[0],
            key=order.key,
            library=self._library,
            settings=self._settings,
            policy=order.policy(self._policy),
        )

    async def ask(self, question: Question) -> Answer:
        """Suspend or pause the run until somebody answers, or stop it if it should not ask."""
        if self._questions is None:
            raise nobody_here(question)
        await self.show()
        return await self._questions.ask(question)


async def _show(session: Session, recipe: Recipe, key: str) -> None:
    """Publish the tree of steps made so far as an artifact; a failure to do so is only logged."""
    async with shown("The song", "it is stored"):
        unit = session.library.settings.unit
        whole = await read_whole_song(session.library.ledger, recipe, key, unit)
        if not whole.steps:
            return
        takes = await session.library.ledger.songs.of_keys([piece.key for piece in whole.steps])
        name, links = artifact_key(key, recipe.name), await form_links(EXTEND)
        await acreate_markdown_artifact(
            await with_players(
                lambda players: song_page(whole, takes, players, unit, links),
                songs_of(whole, takes),
                page_in_v1(name),
            ),
            key=name,
            description=f"{escape(recipe.name, length=60)}: {counted(len(whole.steps), 'generation')}, "
            f"{amount(whole.price, unit)}",
        )
