"""Settings from the environment: the library, the gateways' keys, and how a process behaves.

All environment variables but the tests' own are read here, and validated by a plain pydantic model. pydantic-settings
is not used: its import takes 0.13 s of CPU in every command, and its other sources (dotenv, secrets, CLI) have no use
here.
"""

from __future__ import annotations

import getpass
import ipaddress
import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BaseModel, Field, SecretStr, ValidationError, create_model

from songflow.errors import InvalidEnvironment, LibraryError
from songflow.gateways.callback import Callback
from songflow.gateways.dialect import check_base_url
from songflow.gateways.network import Network, check_network
from songflow.gateways.tls import NetworkProblem

__all__ = [
    "DEFAULT_NAME_TEMPLATE",
    "FALLBACK_KEY_VARIABLE",
    "LibrarySettings",
    "PageSettings",
    "PrefectSettings",
    "amount",
    "debugging",
    "gateway_address",
    "gateway_key",
    "inherited",
    "measures_on_arrival",
    "network_error",
    "person",
    "price_list",
    "range_text",
    "require_network",
    "resolver_networks",
    "room_token",
    "sender_environment",
]

DEFAULT_NAME_TEMPLATE = "{title}-{uid}.mp3"
_SHORTEST_SECRET = 16
_LONGEST_NAME = 255

FALLBACK_KEY_VARIABLE = "SONGFLOW_API_KEY"
"""Read if a gateway's own variable is not set."""

_Units = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Settings = TypeVar("_Settings", "LibrarySettings", "PageSettings", "PrefectSettings")


@dataclass(frozen=True, slots=True)
class LibrarySettings:
    """Location and policies of a library.

    Attributes:
        folder: The local folder: SQLite ledger, spool, unfinished downloads, and the audio unless elsewhere.
        ledger_url: A database URL for the ledger instead of SQLite in the folder. May hold a password.
        audio_url: Any fsspec URL for the songs instead of `audio/` in the folder.
        name_template: File names of songs, from `{title}`, `{song_id}`, `{uid}`.
        verify_audio: Decode each download to its end (off: check its size only).
        covers: Fetch the cover that a gateway offers with a song, into the song's tag and beside it.
        budget: The most that this library may ever spend, in the accounts' units (None: no cap).
        budget_per_day: The same for a day (UTC).
        unit: The name of the units of prices and budgets.
    """

    folder: Path = field(metadata={"variable": "SONGFLOW_LIBRARY", "default": Path("songs")})
    ledger_url: str | None = field(default=None, repr=False)
    audio_url: str | None = None
    name_template: str = DEFAULT_NAME_TEMPLATE
    verify_audio: bool = True
    covers: bool = True
    budget: _Units | None = None
    budget_per_day: _Units | None = None
    unit: str = "units"

    @classmethod
    def from_environment(cls, folder: str | Path | None = None) -> LibrarySettings:
        """Read the settings from `SONGFLOW_` and the field's name; the folder from SONGFLOW_LIBRARY, else `./songs`.

        Args:
            folder: Takes precedence over SONGFLOW_LIBRARY.

        Raises:
            LibraryError: a variable has a value that is not allowed, or the folder's `~user` does not exist.
        """
        found = _read(cls, "SONGFLOW_", LibraryError)
        return replace(found, folder=_absolute(Path(folder) if folder else found.folder))

    def exists(self) -> bool:
        """False if opening this library would create it (a ledger elsewhere always counts as existing)."""
        try:
            return self.ledger_url is not None or (self.folder / "ledger.sqlite").is_file()
        except OSError:  # the name is too long, or the folder may not be searched
            return False

    def has_spool(self) -> bool:
        """True if requests were sent from here, even if the ledger is lost."""
        return any((self.folder / "spool").glob("accepted.*.jsonl"))


@dataclass(frozen=True, slots=True)
class PageSettings:
    """What the pages in Prefect's UI embed of a song, and where they link to.

    Attributes:
        preview_seconds: Length of the part of each take that a page plays (0: pages have no players).
        room_url: The listening room's address, as whoever reads the pages reaches it (None: no links to it).
    """

    preview_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    room_url: str | None = None

    @classmethod
    def from_environment(cls) -> PageSettings:
        """Read SONGFLOW_PREVIEW_SECONDS and SONGFLOW_ROOM_URL.

        Raises:
            InvalidEnvironment: the seconds are not a number from 0.
        """
        return _read(cls, "SONGFLOW_", InvalidEnvironment)

    def song_url(self, row_id: int) -> str | None:
        """The address of a song in the listening room, by its row id in the ledger."""
        return f"{self.room_url.rstrip('/')}/#song-{row_id}" if self.room_url else None


@dataclass(frozen=True, slots=True)
class PrefectSettings:
    """Whether commands use Prefect, and Prefect's own variables that locate its server.

    Reading them here avoids an import of Prefect, which takes over a second.

    Attributes:
        enabled: Commands become flow runs if a Prefect server answers.
        api_url: The server's API.
        api_key, api_auth_string: Its key or its password.
        api_ssl_cert_file: The certificate authorities to trust instead of the usual ones.
        api_tls_insecure_skip_verify: Trust any certificate.
        home: The folder of Prefect's files.
        profiles_path: The file of profiles (None: `profiles.toml` in `home`).
        profile: The profile to use (None: the one that the file marks as active).
    """

    enabled: bool = field(default=True, metadata={"variable": "SONGFLOW_PREFECT"})
    api_url: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    api_auth_string: str | None = field(default=None, repr=False)
    api_ssl_cert_file: str | None = None
    api_tls_insecure_skip_verify: bool = False
    home: Path = Path("~/.prefect")
    profiles_path: Path | None = None
    profile: str | None = None

    @classmethod
    def from_environment(cls) -> PrefectSettings:
        """Read SONGFLOW_PREFECT, and the other fields from `PREFECT_` and their name.

        Raises:
            InvalidEnvironment: a switch is neither on nor off.
        """
        return _read(cls, "PREFECT_", InvalidEnvironment)


def number_text(value: float) -> str:
    """A number for people, without binary rounding errors."""
    return f"{round(value, 6) + 0.0:.12g}"


def range_text(least: float, most: float) -> str:
    """A range for people: "2", or "2 to 4"."""
    return number_text(least) if least == most else f"{number_text(least)} to {number_text(most)}"


def amount(price: float, unit: str = "units") -> str:
    """A price with its unit: "1 unit", "2 units", "0.07 EUR"."""
    return f"{number_text(price)} {'unit' if price == 1 and unit == 'units' else unit}"


def price_list() -> dict[str, float]:
    """The prices in SONGFLOW_PRICES by model: JSON as in a credentials block, or NAME=PRICE with commas between.

    Raises:
        InvalidEnvironment: it cannot be read, or a price is not a number from 0.
    """
    variable = "SONGFLOW_PRICES"
    text = os.environ.get(variable, "").strip()
    try:
        if text.startswith("{"):
            given = json.loads(text)
        else:
            given = dict(pair.split("=") for pair in text.replace(",", " ").split())
        prices = {name.strip(): float(price) for name, price in given.items()}
        if not all(math.isfinite(price) and price >= 0 for price in prices.values()):
            raise ValueError("a price is a number from 0")
    except (ValueError, TypeError) as error:
        raise InvalidEnvironment(
            f"{variable} cannot be read: {error}.",
            next='write it as {"MODEL": 0.07, "ANOTHER": 0.14} or MODEL=0.07,ANOTHER=0.14; nothing was sent.',
        ) from None
    return prices


def gateway_key(variable: str) -> SecretStr | None:
    """The gateway key in a variable; None if it is not set or blank."""
    key = os.environ.get(variable, "").strip()
    return SecretStr(key) if key else None


def gateway_address(variable: str | None) -> str | None:
    """The address in a gateway's variable (None: it has none); None if it is not set or blank."""
    return os.environ.get(variable or "", "").strip() or None


def require_network() -> None:
    """Raise InvalidEnvironment if no HTTP client can be opened with the environment's proxies and certificates."""
    if (error := network_error()) is not None:
        raise error


def network_error() -> InvalidEnvironment | None:
    """The variable with which no HTTP client can be opened, as an error; None if there is none."""
    try:
        check_network()
        resolver_networks()
    except NetworkProblem as problem:
        return InvalidEnvironment(f"{problem}.", next=f"{problem.mend}; nothing was sent.")
    except InvalidEnvironment as error:
        return error
    return None


def resolver_networks() -> tuple[Network, ...]:
    """The networks of SONGFLOW_RESOLVER_NETWORKS, where the user's own resolver finds public names.

    Raises:
        InvalidEnvironment: one of them is no network.
    """
    variable = "SONGFLOW_RESOLVER_NETWORKS"
    entries = os.environ.get(variable, "").replace(",", " ").split()
    try:
        return tuple(ipaddress.ip_network(entry, strict=False) for entry in entries)
    except ValueError as error:
        raise InvalidEnvironment(
            f"{variable} cannot be read: {error}.",
            next="write networks such as 198.18.0.0/15, with commas between; nothing was sent.",
        ) from None


def person() -> str | None:
    """The name under which judgements are recorded: SONGFLOW_USER, else the user's of this machine, if it has one."""
    named = os.environ.get("SONGFLOW_USER", "").strip()
    try:
        return (named or getpass.getuser())[:_LONGEST_NAME]
    except (OSError, KeyError, ImportError):  # a container's user without an entry
        return None


def debugging() -> bool:
    """True if SONGFLOW_DEBUG asks for tracebacks. Never raises: it is read while another error is handled."""
    return os.environ.get("SONGFLOW_DEBUG", "").strip().lower() not in {"", "0", "off", "no", "false"}


def measures_on_arrival() -> bool:
    """Whether SONGFLOW_MEASURE asks to measure each song after it was stored: `arrival` (the default) or `off`.

    Raises:
        InvalidEnvironment: it is neither.
    """
    chosen = os.environ.get("SONGFLOW_MEASURE", "").strip().lower() or "arrival"
    if chosen not in {"arrival", "off"}:
        raise InvalidEnvironment(
            f"SONGFLOW_MEASURE is {chosen[:40]!r}: allowed is arrival or off.",
            next="correct it; nothing was sent.",
        )
    return chosen == "arrival"


def sender_environment() -> dict[str, str]:
    """The variables that a sender gets: what the network, a database and the language need, and no gateway's key."""
    kept = re.compile(
        r"PATH|HOME|USER|TMPDIR|LANG|TZ|SYSTEMROOT|LD_LIBRARY_PATH|SONGFLOW_FAIL_POINT|(LC|SSL|PG).*|.*_PROXY",
        re.I,
    )
    return {name: value for name, value in os.environ.items() if kept.fullmatch(name)}


def room_token(file: Path | None = None) -> SecretStr | None:
    """The token of a team's listening room: a file's content, else SONGFLOW_ROOM_TOKEN; None without either.

    Raises:
        InvalidEnvironment: the file cannot be read, or the token is too short.
    """
    where = "SONGFLOW_ROOM_TOKEN" if file is None else f"The file {file}"
    try:
        token = os.environ.get("SONGFLOW_ROOM_TOKEN", "") if file is None else file.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InvalidEnvironment(f"{where} cannot be read: {reason}.", next="give another.") from None
    token = token.strip()
    if file is None and not token:
        return None
    if len(token) < _SHORTEST_SECRET:
        raise InvalidEnvironment(
            f"{where} has not the {_SHORTEST_SECRET} characters that a token needs.",
            next="put a random text there, such as the output of `openssl rand -hex 16`.",
        )
    return SecretStr(token)


def webhook_callback() -> Callback | None:
    """SONGFLOW_WEBHOOK_URL, the public address of `songflow webhooks`, with SONGFLOW_WEBHOOK_SECRET; None without it.

    Raises:
        InvalidEnvironment: the address is none, or there is no secret.
    """
    url = os.environ.get("SONGFLOW_WEBHOOK_URL", "").strip()
    secret = os.environ.get("SONGFLOW_WEBHOOK_SECRET", "").strip()
    if not url:
        return None
    try:
        url = check_base_url(url)
    except ValueError as error:
        reason = str(error).replace("the gateway's base URL", "the address")
        raise InvalidEnvironment(
            f"SONGFLOW_WEBHOOK_URL cannot be used: {reason}.", next="correct it; nothing was sent."
        ) from None
    if len(secret) < _SHORTEST_SECRET:
        raise InvalidEnvironment(
            f"SONGFLOW_WEBHOOK_URL is set, and SONGFLOW_WEBHOOK_SECRET has not the {_SHORTEST_SECRET} characters that "
            "it needs.",
            next="set it to the key that the gateway signs callbacks with, or to a random text.",
        )
    return Callback(url, secret)


def inherited(names: Iterable[str]) -> dict[str, str]:
    """The named variables that are set, for the environment of a child process."""
    return {name: os.environ[name] for name in names if name in os.environ}


def _read(kind: type[_Settings], prefix: str, refused: type[InvalidEnvironment | LibraryError]) -> _Settings:
    """Read a dataclass's fields from the environment; unset and blank variables leave the defaults.

    Raises:
        InvalidEnvironment, LibraryError: as `refused`, naming the variable, its value and what is allowed.
    """
    model = _model(kind, prefix)
    variables = (str(one.validation_alias) for one in model.model_fields.values())
    try:
        found = model.model_validate(
            {name: value for name, value in inherited(variables).items() if value.strip()}
        )
    except ValidationError as error:
        # Only switches and numbers have values to refuse: no secret is in this message.
        fault = error.errors(include_url=False)[0]
        allowed = (
            "1 or 0 (also yes, no, true, false, on, off)" if "bool" in fault["type"] else "a number from 0"
        )
        raise refused(
            f"{fault['loc'][0]} is {str(fault['input'])[:40]!r}: allowed is {allowed}.",
            next="correct it; nothing was sent.",
        ) from None
    return kind(**{one.name: getattr(found, one.name) for one in fields(kind)})


def _model(kind: type[_Settings], prefix: str) -> type[BaseModel]:
    """A pydantic model with a dataclass's fields, each with its variable as alias."""
    hints = get_type_hints(kind, include_extras=True)
    parts: dict[str, Any] = {}
    for one in fields(kind):
        default = one.metadata["default"] if one.default is MISSING else one.default
        variable = one.metadata.get("variable", f"{prefix}{one.name.upper()}")
        parts[one.name] = (hints[one.name], Field(default, validation_alias=variable))
    return create_model(kind.__name__, **parts)


def _absolute(folder: Path) -> Path:
    try:
        return folder.expanduser().resolve()
    except (RuntimeError, OSError) as error:
        raise LibraryError(
            f"The library's folder {folder} cannot be used: {getattr(error, 'strerror', None) or error}.",
            next="choose another with --library or SONGFLOW_LIBRARY.",
        ) from None
