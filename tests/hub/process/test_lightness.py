"""The hub is light: no torch, little memory, and its own extra is all it needs."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[3]
HEAVY = ("torch", "transformers", "tokenizers", "datasets", "huggingface_hub", "pandas", "pyarrow")


def _loaded(code: str) -> set[str]:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_no_module_of_the_hub_loads_torch() -> None:
    loaded = _loaded(
        "import importlib, pkgutil, sys, llmos.hub\n"
        "for one in pkgutil.walk_packages(llmos.hub.__path__, 'llmos.hub.'):\n"
        "    if '.migrations.' not in one.name: importlib.import_module(one.name)\n"
        "print(*sys.modules)"
    )
    assert {"llmos.hub.server", "llmos.hub.upkeep.checking"} <= loaded
    assert not loaded & set(HEAVY)


def test_a_hub_that_waits_is_small_and_has_loaded_no_torch(start: Callable[..., Any]) -> None:
    hub = start()
    hub.ready()
    status = Path(f"/proc/{hub.process.pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 200 * 1024  # kB
    libraries = Path(f"/proc/{hub.process.pid}/maps").read_text()
    assert "libtorch" not in libraries and "tokenizers" not in libraries
    assert "sqlite" in libraries  # where it looks, loaded libraries are seen


@pytest.mark.slow
@pytest.mark.system
def test_the_extra_alone_makes_a_hub(start: Callable[..., Any], tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pinned = ["--constraint", SOURCE / "constraints.txt", "--no-compile"]
    subprocess.run([python, "-m", "pip", "install", "-q", *pinned, f"{SOURCE}[hub]"], check=True)
    loaded = subprocess.run(
        [python, "-m", "pip", "list"], check=True, capture_output=True, text=True
    ).stdout
    assert not {line.split()[0] for line in loaded.splitlines() if line} & set(HEAVY)
    hub = start(python=python, cwd=tmp_path)
    hub.ready()
    assert hub.end()[0] == 0
