"""The flow that makes a whole song from a recipe: a core, what extends it, and a person's choice on the way."""

# Without `from __future__ import annotations`: Prefect would evaluate them where `fields` is something else.
import logging

from prefect import flow, runtime
from prefect.artifacts import acreate_markdown_artifact

from blocks.library import SongLibrary
from flows import fields
from flows.asking import pause_for_answer
from flows.generate import chosen_access, make_songs
from flows.hooks import let_go
from songflow.accounts import fallbacks_from_environment
from songflow.generation.policy import PayingPolicy
from songflow.generation.session import Session
from songflow.generation.session_settings import SessionSettings
from songflow.recipes.answers import Answer, Question, nobody_here
from songflow.recipes.crew import Order
from songflow.recipes.making import make_whole_song
from songflow.recipes.model import Recipe
from songflow.recipes.plain import settings_for
from songflow.recipes.results import WholeSong, read_whole_song
from songflow.recipes.shelf import find_recipe
from tasks.runs import request_key, short
from tasks.sessions import library_of, open_session
from tasks.ui.markdown import artifact_key, escape
from tasks.ui.pages import shown
from tasks.ui.song_page import song_page

__all__ = ["make_song"]

log = logging.getLogger(f"songflow.{__name__}")


def _run_name() -> str:
    parameters = runtime.flow_run.parameters
    recipe = parameters.get("recipe")
    name = recipe if isinstance(recipe, str) else (recipe or {}).get("name") or "a recipe"
    about = parameters.get("prompt") or (parameters.get("variables") or {}).get("prompt") or ""
    return short(f"{'a recipe' if chr(10) in name else name}: {about}" if about else name)


@flow(
    name="make-song",
    flow_run_name=_run_name,
    persist_result=False,
    on_cancellation=[let_go],
    on_crashed=[let_go],
)
async def make_song(
    recipe: fields.RecipeText = "radio-edit",
    prompt: fields.RecipePrompt = None,
    lyrics: fields.RecipeLyrics = None,
    variables: fields.Variables = None,
    choices: fields.Choices = None,
    asking: fields.Asking = "pause",
    credentials: fields.Credentials = None,
    gateway: fields.GatewayName = None,
    base_url: fields.BaseUrl = None,
    submit_path: fields.SubmitPath = None,
    fetch_path: fields.FetchPath = None,
    shape: fields.ShapeName = None,
    library: fields.Library = None,
    key: fields.SongKey = None,
    step: fields.Step = "song",
    if_unsettled: fields.IfUnsettled = "stop",
    retry_errors: fields.RetryErrors = False,
    retries: fields.Retries = 4,
    poll_interval: fields.PollInterval = None,
    deadline: fields.Deadline = None,
    budget: fields.Budget = None,
    fallbacks: fields.Fallbacks = None,
    fallback_gateways: fields.FallbackGateways = None,
) -> WholeSong:
    """Makes a **whole song** from a recipe: a core, then intros, further parts and outros around it.

    The recipe is read and held against the budget as a whole **before anything is sent**; then each step pays once.

    - A step that *asks* **pauses this run**: press Resume, listen to the takes, choose one or another pair. When
      nobody answers, the recipe's own default is taken.
    - A retry of this run, or a new run with its `key`, goes on where it stood: with the same takes, paying for
      nothing twice.
    - All steps stay with the gateway and the account that made the core.
    """
    access = chosen_access(
        credentials, gateway, base_url, submit_path=submit_path, fetch_path=fetch_path, shape=shape
    )
    accounts = [
        access,
        *(block.get_access() for block in fallbacks or ()),
        *fallbacks_from_environment(fallback_gateways or ()),
    ]
    said = {name: value for name, value in (("prompt", prompt), ("lyrics", lyrics)) if value is not None}
    read = find_recipe(recipe, {**(variables or {}), **said}, access.prices)
    base = key or await request_key(step)
    wanted = SessionSettings(poll_interval=poll_interval, deadline=deadline, retries=retries, budget=budget)
    settings = settings_for(read, base, wanted)
    policy = PayingPolicy(if_unsettled=if_unsettled, retry_errors=retry_errors)
    crew = _TaskCrew(library, settings, policy, asks=asking == "pause")
    log.info("Making %s. Key: %s.", read.name, base)
    async with open_session(library_of(library), settings) as session:
        try:
            return await make_whole_song(session, read, accounts, crew, key=base, choices=choices or {})
        finally:
            await _show(session, read, base)


class _TaskCrew:
    """Makes each generation with Prefect's tasks, and asks in Prefect's UI."""

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
        self._asks = asks

    async def make(self, order: Order) -> None:
        """One generation to its end."""
        await make_songs(
            order.request,
            order.accounts[0],
            key=order.key,
            library=self._library,
            settings=self._settings,
            policy=order.policy(self._policy),
        )

    async def ask(self, question: Question) -> Answer:
        """Pause the run until somebody answers; where that is not wanted, stop."""
        if not self._asks:
            raise nobody_here(question)
        return await pause_for_answer(question, poll_interval=self._settings.poll_interval)


async def _show(session: Session, recipe: Recipe, key: str) -> None:
    """The tree as a page, however far it came; nothing of the song depends on it."""
    async with shown("The song", "it is stored"):
        whole = await read_whole_song(session.library.ledger, recipe, key)
        if not whole.steps:
            return
        await acreate_markdown_artifact(
            song_page(whole),
            key=artifact_key(key),
            description=f"{escape(recipe.name, length=60)}: {len(whole.steps)} generations, {whole.price:g} units",
        )
