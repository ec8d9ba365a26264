"""The device: named by the environment, else what PyTorch sees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import llmos.device
from llmos.device import default_device


@pytest.mark.parametrize(("available", "expected"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_used_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch, available: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    for unset in (None, ""):
        if unset is None:
            monkeypatch.delenv("LLMOS_DEVICE", raising=False)
        else:
            monkeypatch.setenv("LLMOS_DEVICE", unset)
        assert default_device() == expected


def test_the_environment_decides_without_torch() -> None:
    code = (
        "import sys; from llmos.device import default_device; "
        "print(default_device(), 'torch' in sys.modules)"
    )
    source = str(Path(llmos.device.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": source, "LLMOS_DEVICE": "cuda:3"},
    )
    assert done.stdout == "cuda:3 False\n"
