"""Attention for training on a processor: fewer passes through memory than transformers' own.

Its "eager" attention computes softmax in float32 on all of (B, H, T, S), several passes of it; the
backward pass of "sdpa" is slow on processors (docs/benchmarks.md). This keeps the weights in the
type of the queries, as the products give and take them. Call `register` once, then
`model.set_attn_implementation("llmos")`. Shapes: B sequences, T queries, S keys, H heads, D width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

LONGEST = 512
"""Keys up to which the weights, B H T S of them, are kept for the backward pass."""
ROWS = 128
"""Queries at a time where none looks ahead, so that keys behind them are left out."""


def register() -> None:
    """Let transformers know this attention as "llmos"."""
    AttentionInterface.register("llmos", attend)
    AttentionMaskInterface.register("llmos", sdpa_mask)


def attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    position_bias: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """As transformers' "sdpa", whose backward pass is slow on processors: (B, T, H, D / H).

    query: (B, H, T, D / H); key and value: (B, H or fewer, S, D / H); attention_mask: (B, 1, T, S),
    True where a query may look, or a number to add; position_bias: (1 or B, H, T, S), to add.
    """
    if dropout or not query.is_cpu or not torch.is_grad_enabled() or key.shape[2] > LONGEST:
        return sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout,
            scaling,
            is_causal=is_causal,
            position_bias=position_bias,
            **kwargs,
        )
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    shared = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, shared), repeat_kv(value, shared)
    causal = module.is_causal if is_causal is None else is_causal
    causal = causal and attention_mask is None and query.shape[2] > 1
    bias = attention_mask
    if bias is not None and bias.dtype == torch.bool:
        # Not -inf: where a query may look nowhere, its softmax would be no number.
        bias = query.new_zeros(bias.shape).masked_fill(~bias, torch.finfo(query.dtype).min)
    if position_bias is not None:
        bias = position_bias if bias is None else position_bias + bias
        if causal:
            bias = bias + _ahead(query.shape[2], torch.float32)
        causal = False
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    found: torch.Tensor = _Attention.apply(  # type: ignore[no-untyped-call]
        query, key, value, bias, scale, causal
    )
    return found.transpose(1, 2), None


@lru_cache(maxsize=4)
def _ahead(length: int, dtype: torch.dtype) -> torch.Tensor:
    """-inf where a query would look ahead, else 0: (length, length)."""
    return torch.full((length, length), float("-inf"), dtype=dtype).triu(1)


class _Attention(torch.autograd.Function):
    """Softmax of scaled products, in few passes through memory; the softmax is that of float32."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bias: torch.Tensor | None,
        scale: float,
        causal: bool,
    ) -> torch.Tensor:
        q, k, v = (x.flatten(0, 1) for x in (query, key, value))  # (B H, T or S, D / H)
        length, keys = q.shape[1], k.shape[1]
        added = _ahead(length, q.dtype) if causal else q.new_zeros(1, length, keys)
        if bias is not None:
            added = bias.to(q.dtype).expand(*query.shape[:3], keys).flatten(0, 1)
        weights, states = [], []
        for start in range(0, length, ROWS if causal else length):
            stop = min(start + ROWS, length) if causal else length
            seen = stop if causal else keys
            here = added[..., start:stop, :seen]
            scores = torch.baddbmm(here, q[:, start:stop], k[:, :seen].mT, alpha=scale)
            weights.append(scores.softmax(dim=-1))
            states.append(weights[-1] @ v[:, :seen])
        ctx.save_for_backward(q, k, v, *weights)
        ctx.scale, ctx.bias_shape = scale, None if bias is None else bias.shape
        return _joined(states).view(*query.shape[:3], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, *weights = ctx.saved_tensors
        g = grad.flatten(0, 1)
        d_queries: list[torch.Tensor] = []
        d_key, d_value, d_bias = k, v, None
        stop, nothing = q.shape[1], q.new_zeros(())
        for weight in reversed(weights):  # the last one has all the keys
            start, seen = stop - weight.shape[1], weight.shape[2]
            rows, is_first = slice(start, stop), not d_queries
            d_weight = g[:, rows] @ v[:, :seen].mT
            d_scores = torch.ops.aten._softmax_backward_data(d_weight, weight, -1, weight.dtype)
            scaled = {"beta": 0.0, "alpha": ctx.scale}
            d_queries.insert(0, torch.baddbmm(nothing, d_scores, k[:, :seen], **scaled))
            to_key = torch.baddbmm(nothing, d_scores.mT, q[:, rows], **scaled)
            to_value = weight.mT @ g[:, rows]
            if is_first:
                d_key, d_value = to_key, to_value
            else:
                d_key[:, :seen] += to_key
                d_value[:, :seen] += to_value
            if ctx.needs_input_grad[3]:  # then all queries were taken at once
                d_bias = d_scores.view(*grad.shape[:3], -1).float().sum_to_size(ctx.bias_shape)
            stop = start
        gradients = _joined(d_queries), d_key, d_value
        return (*(x.unflatten(0, grad.shape[:2]) for x in gradients), d_bias, None, None)


def _joined(rows: list[torch.Tensor]) -> torch.Tensor:
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)
