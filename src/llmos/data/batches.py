"""Batches: what a source of training data gives the training loop.

The arrays of a batch are int64 with the sequences as first dimension, named as transformers names
the arguments of its models. `labels` stand where the prediction is made, so a decoder's are shifted
already; `IGNORE` marks places where nothing is predicted.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

Batch = dict[str, npt.NDArray[np.int64]]
IGNORE = -100
"""The label that no loss counts, as in PyTorch."""


class Batches(Protocol):
    """Batches as a function of the step alone, so that a run that was stopped can go on."""

    def batch(self, step: int, batch_size: int) -> Batch:
        """The batch of a step (from 0): arrays of (batch_size, ...)."""
