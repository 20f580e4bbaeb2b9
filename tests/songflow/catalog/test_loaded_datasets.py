"""Exports are loaded and decoded by `datasets` itself, in the last version that does so without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from support.recordings import tone

from songflow.catalog.export import export
from songflow.catalog.manifest import COLUMNS, filter_manifest

PACKAGES = Path(f"{sys.prefix}-datasets")
"""What `make test` installs beside the environment, whose own pyarrow, pandas and soundfile are used."""

LOAD = """
import json, sys, types
# It imports librosa (150 MB with numba) before it decodes, and calls it only to resample, or to mix to one channel.
sys.modules["librosa"] = types.ModuleType("librosa")
import datasets
rows = datasets.load_dataset("audiofolder", data_dir=sys.argv[1], cache_dir=sys.argv[2], split="train")
whole = rows.cast_column("audio", datasets.Audio(mono=False))
decoded = [row["audio"] for row in whole]
print(json.dumps({
    "columns": rows.column_names, "titles": rows["title"], "torch": "torch" in sys.modules,
    "audio": [[list(one["array"].shape), one["sampling_rate"]] for one in decoded],
}))
"""


@pytest.fixture
def chosen(tmp_path: Path) -> pd.DataFrame:
    """Two songs that a person keeps, of three; their names would be taken for parts of a dataset."""
    rows = []
    for number, decision in enumerate(("keep", "keep", "discard")):
        path = tmp_path / "store" / f"a test [{number}] train.mp3"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(tone("MP3", 0.5))
        rows.append({"key": "k", "path": str(path), "title": f"Räin {number}", "decision": decision,
                     "account": "env:SECRET", "notes": "mine", "decided_by": "Ann", "take": number})  # fmt: skip
    frame = pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=dtype) for name, dtype in COLUMNS.items()}
    )
    return filter_manifest(frame, "decision == 'keep'")


def test_an_audiofolder_of_a_selection_is_loaded_with_its_audio(chosen: pd.DataFrame, tmp_path: Path) -> None:
    """Every song once, decoded, with its columns and without those that are private."""
    if not PACKAGES.is_dir():
        reason = f"no {PACKAGES.name} here (make {PACKAGES.name}/.ready)"
        if os.environ.get("SONGFLOW_REQUIRE_SERVICES") == "1":
            pytest.fail(f"{reason}, and SONGFLOW_REQUIRE_SERVICES=1")
        pytest.skip(reason)
    export(chosen, tmp_path / "out", "audiofolder", audio="copy", beside=True)
    home = {
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "out"), str(tmp_path / "cache")],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PACKAGES), **home},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded = json.loads(run.stdout.splitlines()[-1])
    assert sorted(loaded["titles"]) == ["Räin 0", "Räin 1"]
    assert not loaded["torch"]
    for shape, rate in loaded["audio"]:
        assert (shape[0], rate) == (2, 44_100)
        assert shape[1] == pytest.approx(22_050, abs=2500)
    assert {"audio", "decision", "request.prompt"} <= set(loaded["columns"])
    assert not {"account", "base_url", "path", "notes", "decided_by", "cover_path"} & set(loaded["columns"])
