"""`songflow rebuild`: a ledger from the songs' own files."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cli.options import Common
from cli.output import Output
from songflow.accounts import gateway_names
from songflow.errors import InputError
from songflow.gateways import check_base_url
from songflow.library.library import Library
from songflow.library.rebuild import Finding, Found, Place, require_folder
from songflow.library.rebuild import rebuild as rebuild_library
from songflow.settings import LibrarySettings

__all__ = ["rebuild"]

_MARKS = {Found.ADDED: "+", Found.MOVED: ">", Found.KNOWN: "=", Found.SKIPPED: "-"}


def rebuild(
    folder: Path,
    /,
    *,
    trust: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    common: Common = Common(),
) -> int:
    """Restore ledger rows from the metadata in song files; existing rows stay unchanged.

    The files stay where they are, and nothing is sent. Their prices count as spent.

    Parameters
    ----------
    folder
        Where the songs are, folders in it included.
    trust
        A gateway whose songs are taken although neither its published address nor this ledger names it:
        NAME=URL (can be given several times). Whoever extends such a song sends a key there.
    """
    places = [_place(text) for text in trust]
    require_folder(folder)  # before a library is made for nothing
    output = Output(as_json=common.json, quiet=common.quiet)
    findings = asyncio.run(_rebuild(common.library_settings(), folder, places))
    counts = Counter(finding.found for finding in findings)
    numbers = {str(found): counts[found] for found in Found}
    answer = {**numbers, "files": [finding.as_dict() for finding in findings]}
    if not output.as_json:
        for finding in findings:
            if finding.found is not Found.KNOWN or finding.reason:
                output.line(_line(finding))
        output.line(", ".join(f"{number} {name}" for name, number in numbers.items()) + ".")
    if findings and counts[Found.SKIPPED] == len(findings):
        nothing = _nothing_taken(findings, folder)
        output.error(nothing, answer)
        return nothing.exit_code
    if output.as_json:
        output.object(answer)
    return 0


def _nothing_taken(findings: Sequence[Finding], folder: Path) -> InputError:
    """No song was taken: a sweep that is run now would pay again for what these files hold."""
    untrusted = sorted({finding.trust for finding in findings if finding.trust is not None})
    trust = " ".join(f"--trust {place}" for place in untrusted)
    return InputError(
        f"None of the {len(findings)} songs in {folder} was taken: the ledger does not know them, and would let them "
        "be paid for again.",
        next=f"if you trust the gateways that they come from, run again with {trust}."
        if trust
        else "see the reason of each file above (with --json in `files`).",
    )


def _line(finding: Finding) -> str:
    reason = f" ({finding.reason})" if finding.reason else ""
    return f"{_MARKS[finding.found]} {finding.path}{reason}"


def _place(text: str) -> Place:
    name, _, url = text.partition("=")
    try:
        if name.strip() not in gateway_names():
            raise ValueError(f"the gateways are {', '.join(gateway_names())}")
        return name.strip(), check_base_url(url)
    except ValueError as error:
        raise InputError(
            f"--trust {text[:80]!r} is not NAME=URL: {error}.", next="correct it; nothing was changed."
        ) from None


async def _rebuild(settings: LibrarySettings, folder: Path, places: Sequence[Place]) -> list[Finding]:
    async with Library(settings) as library:
        return await rebuild_library(library, folder, places)
