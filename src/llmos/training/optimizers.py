"""Optimizers by the name a recipe uses; each may be several, for different weights."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import nn

from llmos.recipe import TrainingSection


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return sorted((name, p) for name, p in model.named_parameters() if p.requires_grad)


def _adamw(parameters: Sequence[nn.Parameter], settings: TrainingSection) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        [
            {
                "params": [p for p in parameters if p.ndim >= 2],
                "weight_decay": settings.weight_decay,
            },
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        fused=True,
    )


def adamw(model: nn.Module, settings: TrainingSection) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov & Hutter 2019), with weight decay on matrices and embeddings only."""
    return [_adamw([p for _, p in _trained(model)], settings)]


def muon(model: nn.Module, settings: TrainingSection) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) for the matrices inside the blocks, AdamW for all else.

    Its step is scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982), so that both
    share learning rate and weight decay. Embeddings and outputs (of tokens, labels, answers) are
    left to AdamW, as there. A block is one of a list, so its number is in the name.
    """
    # T5 has a table of relative positions inside a block.
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    matrices = [
        p
        for name, p in _trained(model)
        if p.ndim == 2 and re.search(r"\.\d+\.", name) and id(p) not in tables
    ]
    inside = {id(p) for p in matrices}
    rest = [p for _, p in _trained(model) if id(p) not in inside]
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(
            torch.optim.Muon(
                matrices,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                momentum=settings.muon_momentum,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return [*optimizers, _adamw(rest, settings)] if rest else optimizers


OPTIMIZERS = {"adamw": adamw, "muon": muon}
