"""The checks of `songflow doctor` that need no Prefect: this machine, the library, the keys and their gateways.

No check spends money or creates anything: a library that does not exist yet is not created.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from types import MappingProxyType

import httpx
from packaging.requirements import Requirement
from packaging.version import Version

from deployments.health import Check, bad, good, hint
from songflow.audio.decoding import AudioProblem, measure
from songflow.errors import SongflowError
from songflow.gateways import DIALECTS, Account, Dialect, read_credit
from songflow.gateways.network import Proxies, open_client
from songflow.generation.rescue import stranded
from songflow.generation.session import Session
from songflow.ledger.money import LIBRARY_SCOPE
from songflow.library.audio_store import require_space
from songflow.library.library import Library
from songflow.settings import (
    FALLBACK_KEY_VARIABLE,
    LibrarySettings,
    amount,
    gateway_address,
    gateway_key,
    network_error,
)

__all__ = ["check_machine", "reachable", "unmet"]

_OLDEST_PYTHON = (3, 11)
_PATIENCE_SECONDS = 5.0
_DECODER_RATE = 44_100
_NOTHING: Mapping[str, str] = MappingProxyType({})


async def check_machine(
    read_settings: Callable[[], LibrarySettings], addresses: Mapping[str, str] = _NOTHING
) -> AsyncIterator[Check]:
    """Run the checks that need no Prefect server, and yield their results.

    Args:
        read_settings: Gives the library's settings; its error is a result, too.
        addresses: The base URLs of gateways to ask instead of the published ones, by name.
    """
    yield _python()
    yield _packages()
    yield _decoder()
    network = _network()
    yield network
    async for check in _library(read_settings):
        yield check
    for check in _keys():
        yield check
    if network.state == "bad":
        return
    known = {name: address for name, dialect in DIALECTS.items() if (address := _address_in_use(dialect))}
    for name, base_url in (known | dict(addresses)).items():
        yield await reachable(f"gateway {name}", base_url)
        if (found := await _credit(name, base_url)) is not None:
            yield found


async def _credit(name: str, base_url: str) -> Check | None:
    """What the environment's account at a gateway has left; None where it cannot be asked for."""
    dialect = DIALECTS.get(name)
    if dialect is None:
        return None
    try:
        account = Account(dialect, base_url, key=gateway_key(dialect.key_variable))
    except ValueError:
        return None  # the checks of the keys say so
    credit, part = await read_credit(account), f"credit {name}"
    if credit is None:
        return None
    if isinstance(credit, str):
        return hint(
            part, f"could not be read ({credit}).", "nothing depends on it; look at the gateway's own page."
        )
    if credit.amount <= 0:
        return hint(
            part, f"{credit} left.", "pay in there: the gateway refuses requests, and bills none of them."
        )
    return good(part, f"{credit} left.")


def _address_in_use(dialect: Dialect) -> str | None:
    """The address of a gateway whose key or address is in the environment; None for any other."""
    own = gateway_address(dialect.address_variable)
    return own or (dialect.base_url if gateway_key(dialect.key_variable) else None)


async def reachable(part: str, base_url: str) -> Check:
    """Check that a gateway's host answers a GET without a key, which costs nothing."""
    try:
        async with open_client(timeout=_PATIENCE_SECONDS) as client:
            answer = await client.get(base_url)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return bad(
            part,
            f"{base_url} does not answer ({type(error).__name__}).",
            "check the address, the network and the proxy.",
        )
    return good(part, f"{base_url} answers (HTTP {answer.status_code}); no key was sent and nothing spent.")


def _network() -> Check:
    """Check that the environment's proxies and certificates can be used, as the first request would."""
    if (error := network_error()) is not None:
        return bad("network", error.message, error.next or "correct it.")
    used = ", ".join(f"{scheme}_proxy".upper() for scheme in Proxies.of_environment().by_scheme)
    return good(
        "network", f"requests go through {used}, but to this machine." if used else "no proxy is set."
    )


def _python() -> Check:
    said = f"Python {platform.python_version()}, songflow {version('songflow')}"
    if sys.version_info < _OLDEST_PYTHON:
        return bad("Python", said, "use Python 3.11 or newer.")
    return good("Python", said)


def _packages() -> Check:
    """Check the requirements that Songflow and Prefect declare against what is installed."""
    # Prefect 3.8 declares no upper bound for FastAPI, without which its server does not start; our extra does.
    extra = "prefect-3-8" if Version(version("prefect")) < Version("3.9") else ""
    wrong = list(unmet([*(requires("songflow") or []), *(requires("prefect") or [])], extra))
    if wrong:
        return bad(
            "packages",
            "; ".join(wrong),
            "install the locked versions: `make demo` in a clone, else `pip install --force-reinstall songflow`.",
        )
    return good("packages", f"prefect {version('prefect')}, fastapi {version('fastapi')} and the others fit.")


def unmet(declared: list[str], extra: str = "") -> Iterator[str]:
    """Requirements that are missing here or installed in a version that does not fit."""
    for text in declared:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield f"{requirement.name} is not installed"
            continue
        if not requirement.specifier.contains(Version(found), prereleases=True):
            yield f"{requirement.name} {found} is not {requirement.specifier}"


def _decoder() -> Check:
    """Encode and decode 0.2 s of mp3; downloads are checked with the same decoder."""
    try:
        import numpy
        import soundfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tone.mp3"
            tone = 0.5 * numpy.sin(numpy.arange(_DECODER_RATE // 5) * 0.06)
            soundfile.write(str(path), tone, _DECODER_RATE, format="MP3")
            seconds = measure(path).seconds
    except (ImportError, OSError, RuntimeError, AudioProblem) as error:
        return bad(
            "decoder",
            f"mp3 cannot be decoded ({type(error).__name__}: {error}).",
            "reinstall soundfile (its wheel brings libsndfile), or set SONGFLOW_VERIFY_AUDIO=0.",
        )
    return good("decoder", f"mp3 is decoded (libsndfile, {seconds:.2f} s of a test tone).")


async def _library(read_settings: Callable[[], LibrarySettings]) -> AsyncIterator[Check]:
    try:
        settings = read_settings()
        library = Library(settings)  # checks the settings, as the first command does, and makes nothing
        if not settings.exists():
            yield _new_library(library)
            return
        async with Session(settings) as session:
            for check in await _open_library(session):
                yield check
    except (SongflowError, OSError) as error:
        message, advice = (
            (error.message, error.next) if isinstance(error, SongflowError) else (str(error), None)
        )
        yield bad("library", message, advice or "mend it, or choose another --library.")


def _new_library(library: Library) -> Check:
    """Check that the nearest existing folders above a new library and its songs are writable."""
    settings = library.settings
    for wanted in (settings.folder, library.store.parts):
        home = next(folder for folder in (wanted, *wanted.parents) if folder.exists())
        if not home.is_dir() or not os.access(home, os.W_OK | os.X_OK):
            return bad(
                "library",
                f"{home} cannot be written to.",
                "choose another with --library or SONGFLOW_LIBRARY, and SONGFLOW_AUDIO_URL.",
            )
        require_space(home)
    library.store.require_opened()
    free = shutil.disk_usage(home).free >> 20
    return good("library", f"{settings.folder} will be made by the first song ({free} MiB free).")


async def _open_library(session: Session) -> list[Check]:
    library, settings = session.library, session.library.settings
    library.require_space()
    free = shutil.disk_usage(settings.folder).free >> 20
    where = "SQLite in the folder" if settings.ledger_url is None else "the database of SONGFLOW_LEDGER_URL"
    left = len(await stranded(session))
    waiting = "1 paid generation waits" if left == 1 else f"{left} paid generations wait"
    spooled = len(library.spool.entries())
    return [
        good("library", f"{settings.folder}: ledger in {where}, its schema fits, {free} MiB free."),
        good("spool", f"{spooled} accepted ids are noted on this disk."),
        hint("collected", f"{waiting} for a rescue.", "run `songflow rescue`.")
        if left
        else good("collected", "nothing that was paid for waits for a rescue."),
        *await _money(library),
    ]


async def _money(library: Library) -> list[Check]:
    money, settings = library.ledger.money, library.settings
    reason = await money.stop_reason()
    checks = [
        hint("spending", f"{reason[:1].upper()}{reason[1:]}.", "`songflow resume` allows it again.")
        if reason
        else good("spending", "allowed.")
    ]
    day = f"day:{datetime.now(UTC).date().isoformat()}"
    for name, scope, cap in (
        ("budget", LIBRARY_SCOPE, settings.budget),
        ("budget per day", day, settings.budget_per_day),
    ):
        balance = await money.balance(scope)
        taken = balance.spent + balance.reserved
        said = f"{amount(taken, settings.unit)} spent or reserved{'; no cap' if cap is None else f' of {cap:g}'}."
        full = cap is not None and taken >= cap
        checks.append(
            hint(name, said, "raise it; nothing new is sent until then.") if full else good(name, said)
        )
    return checks


def _keys() -> Iterator[Check]:
    """Check each key as the first command that pays with it would."""
    ours = [dialect for dialect in DIALECTS.values() if dialect.base_url]
    present = []
    for variable, dialect in (*((one.key_variable, one) for one in ours), (FALLBACK_KEY_VARIABLE, ours[0])):
        key = gateway_key(variable)
        if key is None:
            continue
        present.append(variable)
        try:
            Account(dialect, key=key)
        except ValueError as error:
            yield bad(
                "keys", f"{variable} cannot be used: {error}.", "copy the key again, without line breaks."
            )
            return
    if present:
        yield good("keys", f"in the environment: {', '.join(present)}.")
        return
    yield hint(
        "keys",
        "none in the environment: songs come from the simulator, or from a credentials block.",
        f"export {ours[0].key_variable}=... for real songs, and name the gateway.",
    )
