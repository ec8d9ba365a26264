"""How fast this machine multiplies matrices, and how many operations a model needs for a token."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import nn

from llmos.device import default_device

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@cache
def matmul_rate(dtype: torch.dtype) -> float:
    """The best rate of a plain matrix product of this type on this device, in FLOP/s.

    The size is one that large models have; products of other shapes can be faster.
    """
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


def flops_per_token(model: PreTrainedModel, length: int, predicted: float = 1.0) -> float:
    """Floating-point operations to train on one token of sequences of `length` tokens.

    6 N + 12 L H Q T (Chowdhery et al. 2022, PaLM, appendix B): forward and backward of N weights
    that are multiplied with, and of attention in L layers of width H Q over all T tokens. The input
    embeddings are not multiplied with; where they are also the output's weights, those are, for
    the share of the tokens at which something is `predicted`. A weight that is not trained takes 4
    instead of 6, since it gets no gradient. A token of an encoder-decoder goes through one of the
    two, so it takes half of both, if sources are as long as targets.
    """
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    output = model.get_output_embeddings()
    output_weight = None if output is None else output.weight
    flops = 0.0
    for weight in model.parameters():
        each = 6.0 if weight.requires_grad else 4.0
        if weight is output_weight:
            flops += each * predicted * weight.numel()
        elif id(weight) not in tables:
            flops += each * weight.numel()
    config = model.config
    heads = int(config.num_attention_heads)
    width = heads * int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    layers = int(config.num_hidden_layers)
    if not getattr(config, "is_encoder_decoder", False):
        return flops + 12.0 * layers * width * length
    decoder_layers = getattr(config, "decoder_layers", layers)  # BART's name, then T5's
    decoder_layers = int(getattr(config, "num_decoder_layers", decoder_layers))
    # Each of them looks at what is written and at the source.
    return (flops + 12.0 * (layers + 2 * decoder_layers) * width * length) / 2
