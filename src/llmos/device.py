"""Which device this machine computes on, and how its threads wait. Free of torch until asked."""

from __future__ import annotations

import os


def share_cores() -> None:
    """Let waiting threads sleep soon; call it before torch is loaded.

    GNU OpenMP spins for some 10 ms by default, which on cores that others use too makes training
    10 to 40 times slower (docs/log.md); after 20,000 turns it costs an idle machine nothing.
    A value that the user has set stays.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def default_device() -> str:
    """`LLMOS_DEVICE` where it is set, else `cuda` where PyTorch sees a GPU, else `cpu`."""
    if named := os.environ.get("LLMOS_DEVICE"):
        return named
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
