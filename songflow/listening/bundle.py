"""The modules of a page as one classic script: a browser loads no modules from a folder (file://).

It knows only what our own modules write: `import {a, b} from "./x.js";`, `import "./x.js";`, `export const a = ..` and
`export { a };`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from importlib.resources import files

__all__ = ["asset", "bundle"]

_IMPORT = re.compile(r'^import (?:\{([^}]*)\} from )?"([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=const (\w+) =)", re.MULTILINE)
_EXPORTED = re.compile(r"^export \{([^}]*)\};\n", re.MULTILINE)


def asset(name: str) -> str:
    """The text of a file of the room's page."""
    return files("songflow.listening").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


def bundle(start: str, instead: Mapping[str, str]) -> str:
    """One script of a module and all that it imports, in the order in which they run.

    Args:
        start: The module's name in assets/.
        instead: Modules that take the place of others of the same names.
    """
    scripts: dict[str, str] = {}
    _add(start, instead, scripts)
    return '"use strict";\n{\nconst modules = {};\n' + "".join(scripts.values()) + "}\n"


def _add(name: str, instead: Mapping[str, str], scripts: dict[str, str]) -> None:
    text = asset(name)
    heads: list[str] = []
    for names, path in _IMPORT.findall(text):
        found = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        found = instead.get(found, found)
        if found not in scripts:
            _add(found, instead, scripts)
        if names:
            heads.append(f'const {{{names}}} = modules["{found}"];\n')
    exported = [*_EXPORT.findall(text), *(one for names in _EXPORTED.findall(text) for one in _split(names))]
    body = _EXPORTED.sub("", _EXPORT.sub("", _IMPORT.sub("", text)))
    if re.search(r"^(import|export)\b", body, re.MULTILINE):
        raise ValueError(f"{name} imports or exports in a way that bundles do not know")
    inner = "".join(heads) + body
    scripts[name] = f'modules["{name}"] = (() => {{\n{inner}return {{ {", ".join(exported)} }};\n}})();\n'


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]
