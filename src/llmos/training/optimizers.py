"""Optimizers by the name a recipe uses."""

from __future__ import annotations

import torch
from torch import nn

from llmos.recipe import TrainingSection


def adamw(model: nn.Module, settings: TrainingSection) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), with weight decay on matrices and embeddings only."""
    named = sorted(model.named_parameters())
    return torch.optim.AdamW(
        [
            {
                "params": [p for _, p in named if p.ndim >= 2],
                "weight_decay": settings.weight_decay,
            },
            {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        fused=True,
    )


OPTIMIZERS = {"adamw": adamw}
