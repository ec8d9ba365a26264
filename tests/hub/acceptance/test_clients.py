"""The oldest and newest clients that are claimed, each in an environment of its own, with Xet and
without."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

WALK = Path(__file__).with_name("client_walk.py")
KEPT = Path(sys.prefix) / "clients"  # environments are made once: they take a while


def _python(version: str) -> Path:
    """The Python of an environment with that huggingface_hub (0.36 or 1)."""
    place = KEPT / version
    python = place / "bin" / "python"
    if not (place / "whole").exists():
        venv.create(place, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", f"huggingface_hub=={version}.*"]
        subprocess.run(install, check=True)
        (place / "whole").touch()
    return python


def _walk(python: Path, folder: Path, endpoint: str, token: str, **more: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    around = {"HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HOME": str(folder / "home")}
    folder.mkdir()
    answer = subprocess.run(
        [python, WALK, folder],
        env={**kept, **around, "PYTHONPATH": "", "PYTHONUTF8": "1", **more},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-6000:]
    return answer.stdout


@pytest.mark.slow
def test_the_installed_client_walks(world, live: str, tmp_path: Path) -> None:
    said = _walk(Path(sys.executable), tmp_path / "a", live, world.tokens["alice"])
    assert "walked with" in said


@pytest.mark.system
@pytest.mark.parametrize("xet", ["with Xet", "without Xet"])
@pytest.mark.parametrize("version", ["0.36", "1"])
def test_other_clients_walk(world, live: str, tmp_path: Path, version: str, xet: str) -> None:
    off = {"HF_HUB_DISABLE_XET": "1"} if xet == "without Xet" else {}
    said = _walk(_python(version), tmp_path / "a", live, world.tokens["alice"], **off)
    assert f"walked with huggingface_hub {version}." in said
