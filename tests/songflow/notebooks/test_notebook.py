"""The notebook of the documents, executed in a kernel: progress with the key, players, and the manifest."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

NOTEBOOK = Path(__file__).parents[3] / "docs" / "notebook.ipynb"


def outputs(cell: Any, kind: str) -> list[str]:
    return [output["data"][kind] for output in cell.outputs if kind in output.get("data", {})]


def test_the_documents_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel: each paying cell has its key and its players, and the last one the library's rows."""
    monkeypatch.setenv("SONGFLOW_LIBRARY", str(tmp_path / "songs"))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.outputs for cell in notebook.cells if cell.cell_type == "code")
    client = nbclient.NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    _, made, one, longer, table = (cell for cell in notebook.cells if cell.cell_type == "code")
    for cell in (made, longer):
        (progress, _) = outputs(cell, "text/plain")
        (html,) = outputs(cell, "text/html")
        key = re.search(r"key (song-\w{20}): stored", progress)
        assert key, progress
        assert f"key: {key[1]}" in html
        assert "simulated: nothing is billed" in html
        assert html.count("<audio controls") == 2
    (html,) = outputs(one, "text/html")
    assert html.count("data:audio/mpeg;base64,") == 1
    assert "seed: <i>4</i>" in html
    path = re.search(r"<code>(.*?\.mp3)</code>", html)
    assert path
    embedded = re.search(r'base64,([^"]+)"', html)
    assert embedded
    assert base64.b64decode(embedded[1]) == Path(path[1]).read_bytes()
    (html,) = outputs(table, "text/html")
    assert html.count("a slow waltz for two cellos") == 4
    assert html.count("continuation") == 2
