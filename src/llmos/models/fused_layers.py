"""RMS normalisation and rotary positions in few passes through memory, for processors.

As transformers computes them, to the last bits of float32. Shapes: B sequences, T tokens, H heads,
D width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class RMSNorm(nn.Module):
    """x / √(mean x² + eps) times the weight (Zhang & Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight = weight
        self.variance_epsilon = eps

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """hidden_states: (..., D). Under autocast the result has its type, as products take it."""
        x, weight, eps = hidden_states.float(), self.weight, self.variance_epsilon
        dtype = hidden_states.dtype
        if {dtype, weight.dtype} == {torch.float32} and x.is_cpu:
            if torch.is_autocast_enabled("cpu"):
                dtype = torch.get_autocast_dtype("cpu")
            normed: torch.Tensor = _RMSNorm.apply(x, weight, eps, dtype)  # type: ignore[no-untyped-call]
            return normed
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        scaled: torch.Tensor = weight * x.to(dtype)
        return scaled


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float, dtype: torch.dtype
    ) -> torch.Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()  # (..., 1)
        ctx.save_for_backward(x, weight, inverse)
        normed: torch.Tensor = x * inverse
        return normed.mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        g = grad.float()
        # That of layer normalisation with a mean of zero, which is one fused operation, but for the
        # term that the mean's own gradient would add.
        d_x, d_weight, _ = torch.ops.aten.native_layer_norm_backward(
            g,
            x,
            [x.shape[-1]],
            torch.zeros_like(inverse),
            inverse,
            weight,
            None,
            [True, True, False],
        )
        with torch.autocast("cpu", enabled=False):
            through_mean = (g @ weight)[..., None].mul_(inverse).div_(x.shape[-1])
        return d_x.add_(through_mean), d_weight, None, None


def rotate_both(
    q: torch.Tensor,
    k: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    unsqueeze_dim: int = 1,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Queries and keys turned by their positions (Su et al. 2021, arXiv 2104.09864).

    q and k: (B, H, T, D / H); cos and sin: (B, T, D / H), whose halves are equal.
    """
    cos, sin = (x.unsqueeze(unsqueeze_dim)[..., : x.shape[-1] // 2].float() for x in (cos, sin))
    return _Rotation.apply(q, cos, sin), _Rotation.apply(k, cos, sin)  # type: ignore[no-untyped-call]


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _rotated(x, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _rotated(grad, cos, -sin), None, None


def _rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Each pair (x[i], x[i + half]) turned, computed in float32."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.empty(x.shape, dtype=torch.float32, device=x.device)
    left, right = turned.chunk(2, dim=-1)
    torch.mul(first, cos, out=left).addcmul_(second, sin, value=-1.0)
    torch.mul(second, cos, out=right).addcmul_(first, sin)
    return turned.to(x.dtype)
