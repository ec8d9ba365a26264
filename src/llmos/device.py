"""Which device this machine computes on."""

from __future__ import annotations

import os


def default_device() -> str:
    """`LLMOS_DEVICE` where it is set, else `cuda` where PyTorch sees a GPU, else `cpu`."""
    if named := os.environ.get("LLMOS_DEVICE"):
        return named
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
