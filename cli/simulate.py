"""`songflow simulate`: run the gateway simulator as a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import ValidationError

from cli.options import Common
from cli.output import Output
from songflow.documents.text import read_text
from songflow.errors import InputError
from songflow.gateways import DIALECTS
from songflow.gateways.dialects import CUSTOM
from songflow.runtime.programs import typed_program
from songflow.settings import FALLBACK_KEY_VARIABLE

if TYPE_CHECKING:
    from songflow.simulator import Replay

__all__ = ["simulate"]


def simulate(
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    speed: float = 1.0,
    clip_seconds: float | None = None,
    median_seconds: float = 54.0,
    tick_seconds: float = 0.0,
    pool: int = 0,
    takes: int = 2,
    state: Path | None = None,
    faults: Path | None = None,
    replay: Path | None = None,
    accept_key: Annotated[list[str] | None, Parameter(negative="")] = None,
    common: Common = Common(),
) -> None:
    """Run the simulated gateway until Ctrl-C: every gateway's dialect, mp3 files, a durable bill, faults on demand.

    Parameters
    ----------
    host
        The address to listen on.
    port
        The port to listen on; 0 takes a free one.
    speed
        Divides all simulated times: with 20 a generation takes about 3 s.
    clip_seconds
        Make songs of this length instead of the model's.
    median_seconds
        Median time of a generation, before --speed.
    tick_seconds
        Refresh a status only this often, as relays do (15).
    pool
        Serve this many ready-made takes instead of synthesising each song (for benchmarks).
    takes
        Takes of each generation.
    state
        The folder of jobs, bill and songs; without it everything is gone at the end.
    faults
        A JSON file with a script of faults.
    replay
        A file of `songflow doctor --report`: answer what a real gateway has answered.
    accept_key
        Accept only this key (can be given several times); without it any key, or none.
    """
    from songflow.simulator import FaultScript, SimulatorSettings, serve

    output = Output(as_json=common.json, quiet=common.quiet)
    if replay is not None and (faults is not None or state is not None):
        raise InputError("--replay takes no --faults and no --state.", next="leave them out.")
    recorded = None if replay is None else _recorded(replay)
    try:
        script = FaultScript() if faults is None else FaultScript.model_validate_json(read_text(faults))
        settings = SimulatorSettings(
            state_dir=state,
            speed=speed,
            clip_seconds=clip_seconds,
            median_seconds=median_seconds,
            tick_seconds=tick_seconds,
            pool=pool,
            takes=takes,
            accept_keys=frozenset(accept_key) if accept_key else None,
            faults=script,
            replay=recorded,
        )
    except (ValidationError, ValueError) as error:
        raise InputError(f"The simulator cannot be set up: {_faults(error)}.", next="correct it.") from None
    except OSError as error:
        raise InputError(f"{faults} cannot be read: {error.strerror}.", next="correct --faults.") from None
    _check_port(port)
    if state is not None:
        _make_folder(state)

    def ready(url: str) -> None:
        if output.as_json:
            output.object({"url": url})
        output.say(f"The simulated gateway listens at {url} (Ctrl-C ends it). For example:")
        output.say(f"  {_example(url, recorded)}")

    try:
        serve(settings, host, port, ready)
    except OSError as error:
        raise InputError(
            f"The simulator cannot listen on {host}:{port}: {error.strerror or error}.",
            next="choose another --port (0 takes a free one).",
        ) from None


def _recorded(path: Path) -> Replay:
    from songflow.simulator import Replay

    try:
        return Replay.load(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", next="correct --replay.") from None
    except ValueError as error:
        raise InputError(
            f"{path} is no report that can be played back: {_faults(error)}.",
            next="give a file of `songflow doctor --report`.",
        ) from None


def _example(url: str, recorded: Replay | None) -> str:
    """A command that asks this gateway."""
    words = f"{typed_program('songflow')} generate 'a waltz'"
    first = recorded.generations[0] if recorded else None
    if first is not None and first.gateway == CUSTOM and first.settings:
        options = " ".join(
            f"--{name.replace('_', '-')} '{value}'" for name, value in sorted(first.settings.items())
        )
        return f"{FALLBACK_KEY_VARIABLE}=any {words} --gateway {CUSTOM} --base-url {url} {options}"
    known = DIALECTS.get(first.gateway) if first is not None else None
    dialect = known if known is not None and known.base_url else next(iter(DIALECTS.values()))
    return f"{dialect.key_variable}=any {words} --gateway {dialect.name} --base-url {url}"


def _check_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise InputError(f"--port is {port}: allowed are 0 (takes a free one) to 65535.", next="correct it.")


def _make_folder(state: Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{state} cannot be used: {error.strerror or error}.", next="choose another --state."
        ) from None


def _faults(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            ": ".join(filter(None, (".".join(map(str, fault["loc"])), fault["msg"])))
            for fault in error.errors(include_url=False)
        )
    return str(error)
