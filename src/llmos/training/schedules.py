"""Learning-rate schedules: the fraction of the peak at a step."""

from __future__ import annotations

import math
from collections.abc import Callable

from llmos.recipe import TrainingSection


def _constant(progress: float, settings: TrainingSection) -> float:
    return 1.0


def _linear(progress: float, settings: TrainingSection) -> float:
    return 1.0 + (settings.final_learning_rate - 1.0) * progress


def _cosine(progress: float, settings: TrainingSection) -> float:
    # Loshchilov & Hutter 2017, one half-wave without restarts.
    final = settings.final_learning_rate
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))


def _wsd(progress: float, settings: TrainingSection) -> float:
    # Warm-up, stable, decay: Hu et al. 2024 (arXiv 2404.06395).
    share = settings.decay_share
    return _linear(max(0.0, (progress - (1.0 - share)) / share), settings)


SCHEDULES: dict[str, Callable[[float, TrainingSection], float]] = {
    "constant": _constant,
    "linear": _linear,
    "cosine": _cosine,
    "wsd": _wsd,
}


def learning_rate_factor(settings: TrainingSection, step: int, total_steps: int) -> float:
    """The fraction of the peak learning rate at `step` (from 0): linear warm-up, then the schedule.

    The warm-up takes at most half of the steps.
    """
    warmup = min(settings.warmup_steps, total_steps // 2)
    if step < warmup:
        return (step + 1) / warmup
    span = max(1, total_steps - warmup)
    return SCHEDULES[settings.schedule](min(1.0, (step - warmup) / span), settings)
