"""How fast this machine multiplies matrices, and how many operations a model needs for a token."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import torch

from llmos.device import default_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@cache
def matmul_rate(dtype: torch.dtype) -> float:
    """The best rate of a plain matrix product of this type on this device, in FLOP/s."""
    device = default_device()
    size = 2048 if device == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = 0.0
    for _ in range(8):
        started = time.perf_counter()
        product = a @ b
        float(product[0, 0])  # waits for the device
        best = max(best, 2 * size**3 / (time.perf_counter() - started))
    return best


def flops_per_token(model: PreTrainedModel, length: int) -> float:
    """Floating-point operations to train on one token of sequences of `length` tokens.

    6 N + 12 L H Q T (Chowdhery et al. 2022, PaLM, appendix B): forward and backward of N weights
    that are multiplied with, and of attention in L layers of width H Q. The input embeddings are
    not multiplied with; where they are also the output's weights, those are.
    """
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    output = model.get_output_embeddings()
    used = {id(p): p.numel() for p in model.parameters() if id(p) not in embeddings}
    if output is not None:
        used[id(output.weight)] = output.weight.numel()
    config = model.config
    layers = config.num_hidden_layers
    return 6.0 * sum(used.values()) + 12.0 * int(layers) * int(config.hidden_size) * length
