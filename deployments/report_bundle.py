"""The bundle of `songflow doctor --report`: what helps to find a fault, in one JSON file without a secret.

It has the versions, the settings, the results of all checks, and the raw answers to the newest requests, which
`songflow simulate --replay` plays back. Every text is masked: gateway keys, passwords and tokens of the environment in
every spelling, and the queries of addresses, which may open a song to anybody. The finished bundle is searched once
more before it is written.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from deployments.health import Check
from songflow.errors import InputError, SongflowError
from songflow.gateways import key_variables
from songflow.gateways.redaction import MASK, Redactor
from songflow.ledger.engine import ledger_url
from songflow.ledger.ledger import Ledger
from songflow.ledger.recorded import RecordedRequest, newest_requests
from songflow.settings import FALLBACK_KEY_VARIABLE, LibrarySettings

__all__ = ["FORMAT", "Secrets", "make_bundle", "newest_answers", "require_new", "write_bundle"]

FORMAT = 1
_REQUESTS = 20
_MOST_BODY = 256 * 1024
_MOST_IN_ALL = 4 * 1024 * 1024
_PACKAGES = (
    "songflow", "prefect", "httpx", "httpcore", "h11", "pydantic", "sqlalchemy", "aiosqlite", "asyncpg", "alembic",
    "fastapi", "starlette", "uvicorn", "fsspec", "s3fs", "gcsfs", "pandas", "numpy", "soundfile", "PyYAML", "cyclopts",
    "certifi", "socksio",
)  # fmt: skip
_SETTINGS = re.compile(
    r"SONGFLOW_.*|PREFECT_.*|.*_PROXY|SSL_CERT_.*|REQUESTS_CA_BUNDLE|LANG|LC_.*|TZ|PYTHON.*", re.IGNORECASE
)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|AUTH|CREDENTIAL|COOKIE|PRIVATE|SIGNATURE", re.IGNORECASE)
# What looks like a key, whoever's it is.
_LIKE_A_KEY = re.compile(
    r"(?i:bearer|basic)\s+[\w.~+/=-]{8,}|\bsk-[\w-]{12,}|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*|\bAKIA[0-9A-Z]{16}\b"
)
_USER_OF_ADDRESS = re.compile(r"(?<=://)[^/\s\"'\\]*@|(?<![\w/])[\w.+-]+:[^\s/@:\"'\\]+@(?=[\w\[])")
_USER = re.compile(r"(?:^|(?<=//))[^/\s]*@")
_QUERY_OF_ADDRESS = re.compile(
    r"(?P<address>\bhttps?:\\?/\\?/[^\s\"'<>\\?#]*(?:\\/[^\s\"'<>\\?#]*)*)"
    r"[?#](?:[^\s\"'<>\\]|\\u[0-9a-fA-F]{4}|\\/)*"
)
_PASSWORD = re.compile(r"(?:^|//)[^/\s:@]*:([^/\s]+)@")
_NAMED_PASSWORD = re.compile(r"(?i)(?:password|passwd|token|key|secret)=([^&\s;]+)")
# Shorter ones are masked as whole words only, and those of other programs' variables not at all.
_LONG = 6
_SHORTEST = 3


class Secrets:
    """Masks every secret of an environment in texts and in plain data.

    Args:
        environment: Variables. Secret are the values of those that are named so, and passwords in addresses.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        keys = {*key_variables(), FALLBACK_KEY_VARIABLE}
        sure = {value.strip() for name, value in environment.items() if name in keys}
        sure |= {one for value in environment.values() for one in _passwords(value)}
        named = {value.strip() for name, value in environment.items() if _SECRET_NAME.search(name)}
        found = sure | {one for one in named if len(one) >= _LONG}
        # The longest first: one secret may contain another.
        self._redactors = [
            Redactor(one, everywhere=len(one) >= _LONG)
            for one in sorted(found, key=len, reverse=True)
            if len(one) >= _SHORTEST
        ]

    def masked(self, value: Any) -> Any:
        """Plain data with every text masked; the names of fields are ours."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                return {name: self.masked(entry) for name, entry in value.items()}
            case list() | tuple():
                return [self.masked(entry) for entry in value]
        return value

    def text(self, text: str) -> str:
        """A text with secrets, what looks like a key, and users and queries of addresses masked."""
        text = self._without(text)
        text = _LIKE_A_KEY.sub(MASK, text)
        text = _USER_OF_ADDRESS.sub(f"{MASK}@", text)
        return _QUERY_OF_ADDRESS.sub(rf"\g<address>?{MASK}", text)

    def are_in(self, value: Any) -> bool:
        """True if plain data still hold a secret in some spelling."""
        match value:
            case str():
                return self._without(value) != value
            case Mapping():
                return any(self.are_in(entry) for entry in value.values())
            case list() | tuple():
                return any(self.are_in(entry) for entry in value)
        return False

    def _without(self, text: str) -> str:
        for redact in self._redactors:
            text = redact(text)
        return text


def _passwords(value: str) -> list[str]:
    """The passwords in an address or a list of settings, as they are written and as they are meant."""
    found = _PASSWORD.findall(value) + _NAMED_PASSWORD.findall(value)
    return [one for part in found for one in {part, unquote(part)}]


async def newest_answers(settings: LibrarySettings) -> list[RecordedRequest]:
    """The newest requests of a library that exists, with their raw answers; none if its ledger cannot be read."""
    if not settings.exists():
        return []
    try:
        async with Ledger(ledger_url(settings.ledger_url, settings.folder), reads_only=True) as ledger:
            return await newest_requests(ledger.database, _REQUESTS)
    except (SongflowError, OSError):  # a check says why
        return []


def make_bundle(
    checks: Sequence[Check], requests: Sequence[RecordedRequest], environment: Mapping[str, str] | None = None
) -> str:
    """The bundle as JSON.

    Raises:
        SongflowError: a secret is left in it, which is a fault of ours.
    """
    given = os.environ if environment is None else environment
    secrets, keys = Secrets(given), key_variables()
    bundle: dict[str, Any] = {
        "songflow_report": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "settings": {
            name: _setting(name, value)
            for name, value in sorted(given.items())
            if name in keys or _SETTINGS.fullmatch(name)
        },
        "checks": [check.as_dict() for check in checks],
        "generations": _generations(requests),
    }
    masked = secrets.masked(bundle)
    if secrets.are_in(masked):
        raise SongflowError(
            "The report is not written: a key or a password is left in it.",
            next="unset the variable that holds it, run again, and tell us.",
        )
    return json.dumps(masked, indent=1, ensure_ascii=False) + "\n"


def require_new(path: Path) -> None:
    """Check that a bundle can be written there, before the song that it is about is paid for.

    Raises:
        InputError: the file exists already, or its folder does not.
    """
    problem = errno.EEXIST if path.exists() else None if path.parent.is_dir() else errno.ENOENT
    if problem is not None:
        raise _unwritable(path, os.strerror(problem))


def write_bundle(text: str, path: Path) -> None:
    """Write a bundle, readable by its owner only.

    Raises:
        InputError: the file exists already, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None


def _unwritable(path: Path, reason: str) -> InputError:
    return InputError(f"The report {path} cannot be written: {reason}.", next="choose another --output.")


def _versions() -> dict[str, str | None]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _setting(name: str, value: str) -> str:
    """A setting for others to see: of a secret, only that it is there and how odd it looks."""
    if not _SECRET_NAME.search(name):
        return _USER.sub(f"{MASK}@", value)
    odd = [
        word
        for word, is_so in (
            ("blank", not value.strip()),
            ("white space around it", value != value.strip()),
            ("not printable", not value.isprintable()),
            ("not ASCII", not value.isascii()),
        )
        if is_so
    ]
    return f"(set, {len(value)} characters{''.join(f', {one}' for one in odd)})"


def _generations(requests: Sequence[RecordedRequest]) -> list[dict[str, Any]]:
    """The requests, oldest first; where they are too many bytes, the oldest are left out."""
    found: list[dict[str, Any]] = []
    room = _MOST_IN_ALL
    for one in reversed(requests):
        answers = [{**answer, "body": str(answer["body"])[:_MOST_BODY]} for answer in one.answers]
        room -= sum(len(answer["body"]) for answer in answers)
        if room < 0 and found:
            break
        found.append({**one.facts, "settings": dict(one.settings), "answers": answers})
    return found[::-1]
