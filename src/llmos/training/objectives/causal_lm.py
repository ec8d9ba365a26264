"""Causal language modelling: predict each token from those before it.

Shapes: B sequences, T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def causal_lm_loss(model: PreTrainedModel, rows: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood in nats per token; rows: (B, T + 1) token ids."""
    logits = model(input_ids=rows[:, :-1], use_cache=False).logits  # (B, T, V)
    return functional.cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
