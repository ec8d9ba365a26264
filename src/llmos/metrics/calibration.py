"""Whether a model is right as often as it says: the expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats


@dataclass(frozen=True)
class CalibrationError:
    """The mean distance of confidence and accuracy over bins of equal width, from 0 to 1.

    Guo et al. 2017 (arXiv 1706.04599), equation 3, 15 bins, a bin closed above. Few items make it
    too large: compare at equal n. Rows: for each bin the items, their confidence, and hits.
    """

    bins: int = 15

    name = "ECE"
    higher_is_better = False
    is_share = False
    bounds = (0.0, 1.0)

    @property
    def settings(self) -> str:
        return f"bins:{self.bins}"

    def rows(self, confidence: npt.ArrayLike, correct: npt.ArrayLike) -> Floats:
        """`confidence` in what was predicted, from 0 to 1, and whether it was right: (N,) each."""
        sure, hits = np.asarray(confidence, np.float64), np.asarray(correct, np.float64)
        if sure.shape != hits.shape or sure.ndim != 1:
            raise UsageError(f"confidences {sure.shape} and hits {hits.shape}: give one of each")
        if not ((sure >= 0) & (sure <= 1)).all():
            raise UsageError("a confidence is not from 0 to 1: give probabilities")
        place = np.maximum(np.ceil(sure * self.bins).astype(int) - 1, 0)
        rows = np.zeros((len(sure), 3, self.bins))
        rows[np.arange(len(sure)), :, place] = np.stack([np.ones(len(sure)), sure, hits], axis=1)
        return rows.reshape(len(sure), -1)

    def value(self, sums: Floats) -> float:
        items, sure, hits = sums.reshape(3, self.bins)
        return float(np.abs(sure - hits).sum() / items.sum())
