"""DiLoCo: many local steps, then one outer step of SGD with Nesterov momentum on their mean.

Douillard et al. 2023, arXiv 2311.08105; its best outer learning rate 0.7 and momentum 0.9 are the
defaults. The formula is that of torch.optim.SGD(nesterov=True) with dampening 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmos.errors import ProtocolError, RecipeError
from llmos.federation.strategies.base import (
    Contribution,
    State,
    Vector,
    pseudo_gradient,
    to_float32,
)


@dataclass(frozen=True)
class DiLoCo:
    """m <- mu m + g; base <- base - lr (g + mu m), where g = sum(weight * delta).

    The state is {"momentum": m}, shape (n,). Learning rate 1 and momentum 0 make it FedAvg.
    """

    learning_rate: float = 0.7
    momentum: float = 0.9

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise RecipeError(f"outer learning rate {self.learning_rate}: choose one above 0")
        if not 0 <= self.momentum < 1:
            raise RecipeError(f"outer momentum {self.momentum}: choose one from 0 to under 1")

    def merge(
        self, base: Vector, updates: Sequence[Contribution], state: State
    ) -> tuple[Vector, State]:
        """See `Strategy.merge`."""
        if state.keys() - {"momentum"}:
            raise ProtocolError(f"DiLoCo has no state {sorted(state)}: resume its own run")
        merged = base.copy()
        if not updates:
            return merged, {name: values.copy() for name, values in state.items()}
        momentum = state["momentum"].copy() if state else np.zeros_like(base)
        if momentum.shape != base.shape or momentum.dtype != np.float32:
            raise ProtocolError(
                f"the momentum is {momentum.dtype} of shape {momentum.shape}, the base float32 of "
                f"shape {base.shape}: resume with the state of this run"
            )
        for part, gradient in pseudo_gradient(base, updates):
            velocity = momentum[part].astype(np.float64) * self.momentum + gradient
            step = (velocity * self.momentum + gradient) * self.learning_rate
            merged[part] = to_float32(base[part].astype(np.float64) - step, part.start)
            momentum[part] = to_float32(velocity, part.start)
        return merged, {"momentum": momentum}
