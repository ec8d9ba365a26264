"""Federated averaging: the new base is the weighted mean of the members' models.

McMahan et al. 2017, arXiv 1602.05629. With delta = before - after and weights that sum to 1,
base - sum(weight * delta) is that mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmos.federation.strategies.base import (
    Contribution,
    State,
    Vector,
    pseudo_gradient,
    to_float32,
)


@dataclass(frozen=True)
class FedAvg:
    """base <- base - sum(weight * delta); it has no state."""

    def merge(
        self, base: Vector, updates: Sequence[Contribution], state: State
    ) -> tuple[Vector, State]:
        """See `Strategy.merge`."""
        merged = base.copy()
        if updates:
            for part, gradient in pseudo_gradient(base, updates):
                merged[part] = to_float32(base[part].astype(np.float64) - gradient, part.start)
        return merged, dict(state)
