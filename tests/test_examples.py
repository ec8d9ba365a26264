"""The examples run as they stand, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SAYS = {
    "01_joint_run.py": ("north: together", "south: together"),
    "02_train_alone.py": ("But it was raining hard. -> English", "Pero llovía mucho. -> Spanish"),
    "03_piece_by_piece.py": ("step 60: loss", "held out"),
    "04_hub.py": ("gpt2: (1, ", "t5-base: ", "bert-base-uncased: 5 guesses"),
}


def test_every_example_is_tried() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert all(text in done.stdout for text in SAYS[name]), done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
