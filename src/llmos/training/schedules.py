"""Learning-rate schedules: the fraction of the peak at a step."""

from __future__ import annotations

import math
from collections.abc import Callable


def _constant(progress: float, final: float) -> float:
    return 1.0


def _linear(progress: float, final: float) -> float:
    return 1.0 + (final - 1.0) * progress


def _cosine(progress: float, final: float) -> float:
    # Loshchilov & Hutter 2017, one half-wave without restarts.
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
}


def learning_rate_factor(
    schedule: str, step: int, total_steps: int, warmup_steps: int, final: float
) -> float:
    """The fraction of the peak learning rate at `step` (0-based): linear warm-up, then `schedule`.

    `final` is the fraction reached at `total_steps`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    span = max(1, total_steps - warmup_steps)
    return SCHEDULES[schedule](min(1.0, (step - warmup_steps) / span), final)
