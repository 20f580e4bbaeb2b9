"""The code blocks of the documents, sorted by kind, with their commands line by line."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = frozenset({"songflow", "prefect", "python", "make", "docker", "pip", "export"})

_FENCE = re.compile(r"^```")
_FILE = re.compile(r"^# (?P<name>[\w-]+\.(?:ya?ml|json|txt|csv))$")
_CODE = re.compile(r"^(?:from|import) ", re.MULTILINE)


@dataclass(frozen=True)
class Chunk:
    """A piece of a code block. `kind` is commands, file (with its `name`), python, yaml or other."""

    page: Path
    line: int
    kind: str
    text: str
    name: str = ""

    def commands(self) -> Iterator[str]:
        """Its command lines with their comments; a backslash continues a line in the next."""
        for line in re.sub(r"\\\n\s*", "", self.text).splitlines():
            if line.strip():
                yield line.strip()

    @property
    def place(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.name}:{self.line}"


def prose(page: Path) -> str:
    """The text of a page without its code blocks."""
    lines = page.read_text(encoding="utf-8").splitlines()
    inside = {number for first, block in _blocks(lines) for number in range(first, first + len(block))}
    return "\n".join(line for number, line in enumerate(lines) if number not in inside)


def chunks(page: Path) -> list[Chunk]:
    """All pieces of a page's indented and fenced blocks, from top to bottom."""
    found: list[Chunk] = []
    for first, block in _blocks(page.read_text(encoding="utf-8").splitlines()):
        for start, lines in _pieces(block):
            found.append(_chunk(page, first + start + 1, "\n".join(lines).strip("\n")))
    return found


def comment_of(command: str) -> str:
    """The comment after a command."""
    return command.partition(" # ")[2]


def words_of(command: str) -> list[str]:
    """The words of a command, without its comment and without the environment's folder."""
    words = shlex.split(command, comments=True)
    return [word.removeprefix(".venv/bin/") for word in words]


def program_of(line: str) -> str:
    """A line's program: its first word that is not NAME=VALUE."""
    try:
        words = words_of(line)
    except ValueError:  # an unmatched apostrophe: not a command
        return ""
    return next((word for word in words if not re.match(r"[A-Z_]+=", word)), "")


def _blocks(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """The first line number and the unindented lines of each block, without the fences."""
    number, blank_before = 0, True
    while number < len(lines):
        line = lines[number]
        if _FENCE.match(line):
            end = next(at for at in range(number + 1, len(lines)) if _FENCE.match(lines[at]))
            yield number + 1, lines[number + 1 : end]
            number = end + 1
        elif blank_before and line.startswith("    "):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield number, [text[4:] for text in lines[number:end]]
            number = end
        else:
            blank_before = not line.strip()
            number += 1
            continue
        blank_before = True


def _pieces(block: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Split a block at empty lines between commands and other text."""
    groups: list[tuple[int, list[str]]] = []
    for number, line in enumerate(block):
        if number == 0 or not block[number - 1].strip():
            groups.append((number, []))
        groups[-1][1].append(line)
    merged: list[tuple[int, list[str]]] = []
    for start, lines in groups:
        if merged and not (_are_commands(lines) or _are_commands(merged[-1][1])):
            merged[-1][1].extend(lines)
        else:
            merged.append((start, lines))
    return iter([(start, lines) for start, lines in merged if any(line.strip() for line in lines)])


def _are_commands(lines: list[str]) -> bool:
    filled = [line for line in lines if line.strip()]
    return bool(filled) and program_of(filled[0]) in PROGRAMS


def _chunk(page: Path, line: int, text: str) -> Chunk:
    if _are_commands(text.splitlines()):
        return Chunk(page, line, "commands", text)
    first, _, rest = text.partition("\n")
    if named := _FILE.match(first):
        return Chunk(page, line, "file", f"{rest}\n", named["name"])
    return Chunk(page, line, _kind(text), text)


def _kind(text: str) -> str:
    try:
        compile(text, "document", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except SyntaxError:
        pass
    else:
        if _CODE.search(text):
            return "python"
    try:
        return "yaml" if isinstance(yaml.safe_load(text), dict) else "other"
    except yaml.YAMLError:
        return "other"
