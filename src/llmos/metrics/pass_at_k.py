"""pass@k: how likely one of k programs of a model passes the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats
from llmos.metrics.score import IsMean, mean_rows


def pass_at_k(programs: int, passed: int, k: int) -> float:
    """The unbiased estimate from n programs of which c passed: 1 - C(n-c, k) / C(n, k).

    As a product, which neither overflows nor cancels: Chen et al. 2021 (arXiv 2107.03374),
    equation 1 and figure 3. Raises `UsageError` for fewer than k programs.
    """
    if not 1 <= k <= programs or not 0 <= passed <= programs:
        raise UsageError(f"pass@{k} of {programs} programs, {passed} passed: write at least {k}")
    if programs - passed < k:
        return 1.0
    return float(1 - np.prod(1 - k / np.arange(programs - passed + 1, programs + 1)))


@dataclass(frozen=True)
class PassAtK(IsMean):
    """The mean pass@k over problems. Rows: the problem's pass@k, 1."""

    k: int = 1

    higher_is_better = True
    is_share = False
    bounds = (0.0, 1.0)

    @property
    def name(self) -> str:
        return f"pass@{self.k}"

    @property
    def settings(self) -> str:
        return "estimator:unbiased"

    def rows(self, programs: Sequence[int], passed: Sequence[int]) -> Floats:
        """How many programs each problem has, and how many of them pass its tests: (N,) each."""
        pairs = zip(programs, passed, strict=True)
        return mean_rows([pass_at_k(n, c, self.k) for n, c in pairs])
