"""Packages as pip installs them: a folder for `sys.path` with modules and their metadata."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from support.documents import ROOT, chunks

HUMMERY = Path(__file__).with_name("hummery.py")


def install(site: Path, name: str, entry_points: Mapping[str, Mapping[str, str]], **modules: str) -> None:
    """Install a package of version 1.0 with these entry points, by group and name, and these modules' texts."""
    folder = site / f"{name}-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = []
    for group, entries in entry_points.items():
        lines += [f"[{group}]", *(f"{entry} = {value}" for entry, value in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)


def install_tunery(site: Path) -> None:
    """The gateway of docs/add-a-gateway.md, whose code is that page's."""
    text = next(
        chunk.text for chunk in chunks(ROOT / "docs" / "add-a-gateway.md") if "TUNERY = " in chunk.text
    )
    install(site, "tunery", {"songflow.gateways": {"tunery": "tunery:TUNERY"}}, tunery=text)


def install_hummery(site: Path) -> None:
    """A gateway with a family of its own."""
    points = {
        "songflow.gateways": {"hummery": "hummery:HUMMERY"},
        "songflow.families": {"hum": "hummery:HUM"},
    }
    install(site, "hummery", points)
    shutil.copy(HUMMERY, site)
