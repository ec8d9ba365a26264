"""RMS normalisation and rotary positions against their formulas in float64."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from llmos.models.fused_layers import RMSNorm, rotate_both

torch.set_num_threads(1)  # over tensors this small, threads only wait for one another


def normed(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


@pytest.mark.parametrize("eps", [1e-6, 0.1])
@pytest.mark.parametrize("shape", [(12,), (7, 12), (2, 3, 12)])
def test_rms_norm_and_its_gradients(eps: float, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).requires_grad_()
    weight = torch.randn(12, generator=generator)
    layer = RMSNorm(nn.Parameter(weight), eps)
    exact = x.detach().double().requires_grad_(), weight.double().requires_grad_()
    found, expected = layer(x), normed(*exact, eps)
    towards = torch.randn(shape, generator=generator)
    gradients = torch.autograd.grad(found, (x, layer.weight), towards)
    exact_gradients = torch.autograd.grad(expected, exact, towards.double())
    for one, other in zip((found, *gradients), (expected, *exact_gradients), strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-6)


def test_rms_norm_under_autocast_is_rounded_once() -> None:
    x = torch.randn(5, 12, generator=torch.Generator().manual_seed(0)).requires_grad_()
    layer = RMSNorm(nn.Parameter(torch.full((12,), 1.7)), 1e-6)
    towards = torch.linspace(-1, 2, 60).view(5, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = layer(x)
        (gradient,) = torch.autograd.grad(found, x, towards.bfloat16())
    assert found.dtype == torch.bfloat16
    exact = x.detach().double().requires_grad_()
    expected = normed(exact, layer.weight.detach().double(), 1e-6)
    torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=0)
    (exact_gradient,) = torch.autograd.grad(expected, exact, towards.bfloat16().double())
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=1e-5, atol=1e-6)


def test_rms_norm_of_bfloat16_is_computed_in_float32() -> None:
    x = torch.randn(4, 12, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    layer = RMSNorm(nn.Parameter(torch.ones(12).bfloat16()), 1e-6)
    found = layer(x)
    assert found.dtype == torch.bfloat16
    expected = normed(x.double(), torch.ones(12).double(), 1e-6)
    torch.testing.assert_close(found.double(), expected, rtol=2**-8, atol=0)
    found.sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("unsqueeze_dim", [1, 2])
def test_rotation_and_its_gradients(dtype: torch.dtype, unsqueeze_dim: int) -> None:
    """Pairs as complex numbers, multiplied with those of length one."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, 5, 6), (2, 2, 5, 6)]
    if unsqueeze_dim == 2:
        shapes = [(b, t, h, d) for b, h, t, d in shapes]
    both = [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for shape in shapes]
    angles = torch.rand(1, 5, 3, generator=generator) * 50
    cos, sin = (f(angles).repeat(1, 1, 2) for f in (torch.cos, torch.sin))
    turns = torch.polar(torch.ones_like(angles), angles).to(torch.complex128)
    for found, given in zip(rotate_both(*both, cos, sin, unsqueeze_dim), both, strict=True):
        exact = given.detach().double().requires_grad_()
        as_complex = torch.complex(exact[..., :3], exact[..., 3:]) * turns.unsqueeze(unsqueeze_dim)
        expected = torch.cat([as_complex.real, as_complex.imag], dim=-1)
        assert found.dtype == dtype
        towards = torch.randn(given.shape, generator=generator).to(dtype)
        (gradient,) = torch.autograd.grad(found, given, towards)
        (exact_gradient,) = torch.autograd.grad(expected, exact, towards.double())
        tolerance = 1e-5 if dtype == torch.float32 else 2**-8
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(
            gradient.double(), exact_gradient, rtol=tolerance, atol=tolerance
        )
