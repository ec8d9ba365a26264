"""Attention for processors against PyTorch's in float64: results, gradients, masks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from llmos.models import fused_attention
from llmos.models.fused_attention import attend

torch.set_num_threads(1)  # over tensors this small, threads only wait for one another

B, H, D = 2, 4, 8
CAUSAL: Any = SimpleNamespace(is_causal=True)
BOTH_WAYS: Any = SimpleNamespace(is_causal=False)


def tensors(t: int, s: int, shared: int = 1, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = (B, H, t, D), (B, H // shared, s, D), (B, H // shared, s, D)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def compare(
    module: Any,
    parts: list[torch.Tensor],
    mask: torch.Tensor | None = None,
    position_bias: torch.Tensor | None = None,
    scaling: float | None = None,
) -> None:
    """Results and gradients of `attend` against those of scaled_dot_product_attention."""
    leaves = [x.clone().requires_grad_() for x in parts]
    others = [x.clone().requires_grad_() for x in parts]
    ours = theirs = None
    if position_bias is not None:
        ours, theirs = (position_bias.clone().requires_grad_() for _ in range(2))
        leaves.append(ours)
        others.append(theirs)
    t, s = parts[0].shape[2], parts[1].shape[2]
    added = torch.zeros(B, 1, t, s, dtype=torch.float64)
    if mask is None and module.is_causal:
        added = added.masked_fill(torch.ones(t, s, dtype=torch.bool).triu(1), float("-inf"))
    elif mask is not None and mask.dtype == torch.bool:
        added = added.masked_fill(~mask, float("-inf"))
    elif mask is not None:
        added = added + mask
    if theirs is not None:
        added = added + theirs
    shared = H // parts[1].shape[1]
    expected = functional.scaled_dot_product_attention(
        others[0],
        *(x.repeat_interleave(shared, dim=1) for x in others[1:3]),
        attn_mask=added,
        scale=scaling,
    ).transpose(1, 2)
    found, nothing = attend(module, *leaves[:3], mask, scaling=scaling, position_bias=ours)
    assert nothing is None
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(9)).double()
    gradients = torch.autograd.grad((found * weights).sum(), leaves)
    for one, other in zip(
        gradients, torch.autograd.grad((expected * weights).sum(), others), strict=True
    ):
        torch.testing.assert_close(one, other)


@settings(max_examples=30, deadline=None)
@given(
    length=st.integers(1, 11),
    rows=st.integers(1, 12),
    shared=st.sampled_from([1, 2, 4]),
    scaling=st.sampled_from([None, 0.3]),
)
def test_without_looking_ahead(length: int, rows: int, shared: int, scaling: float | None) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_attention, "ROWS", rows)
        compare(CAUSAL, tensors(length, length, shared), scaling=scaling)


@pytest.mark.parametrize("shared", [1, 2])
def test_both_ways_and_across(shared: int) -> None:
    compare(BOTH_WAYS, tensors(6, 6, shared))
    compare(BOTH_WAYS, tensors(3, 7, shared))
    compare(CAUSAL, tensors(1, 7, shared), torch.ones(B, 1, 1, 7, dtype=torch.bool))


@pytest.mark.parametrize("module", [CAUSAL, BOTH_WAYS])
def test_masks(module: Any) -> None:
    padding = (torch.arange(6) < torch.tensor([[6], [3]]))[:, None, None, :]
    compare(module, tensors(6, 6), padding)
    compare(module, tensors(6, 6), padding & torch.ones(6, 6, dtype=torch.bool).tril())
    added = torch.where(padding, 0.0, float("-inf")).double() + 0.5
    compare(module, tensors(6, 6), added.expand(B, 1, 6, 6))


@pytest.mark.parametrize("module", [CAUSAL, BOTH_WAYS])
@pytest.mark.parametrize("masked", [False, True])
def test_biases_by_position_learn(module: Any, masked: bool) -> None:
    bias = torch.randn(1, H, 6, 6, generator=torch.Generator().manual_seed(3)).double()
    mask = (torch.arange(6) < torch.tensor([[6], [3]]))[:, None, None, :] if masked else None
    compare(module, tensors(6, 6), mask, bias)


def test_a_query_that_may_look_nowhere_gives_numbers() -> None:
    mask = torch.zeros(B, 1, 5, 5, dtype=torch.bool)
    leaves = [x.requires_grad_() for x in tensors(5, 5)]
    found, _ = attend(BOTH_WAYS, *leaves, mask)
    gradients = torch.autograd.grad(found.sum(), leaves)
    assert all(bool(x.isfinite().all()) for x in (found, *gradients))


def test_under_autocast_it_is_about_as_exact_as_transformers_eager() -> None:
    parts = tensors(40, 40)
    mask = torch.full((40, 40), float("-inf")).triu(1)

    def eager(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        scores = torch.matmul(query, key.transpose(2, 3)) * D**-0.5 + mask
        return torch.matmul(scores.softmax(-1).to(query.dtype), value).transpose(1, 2)

    def ours(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return attend(CAUSAL, query, key, value, None)[0]

    def errors(function: Any) -> list[float]:
        leaves = [x.float().requires_grad_() for x in parts]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = function(*leaves)
        assert found.dtype == torch.bfloat16
        exact = [x.clone().requires_grad_() for x in parts]
        expected = eager(*exact)
        pairs = zip(
            (found, *torch.autograd.grad(found.float().square().sum(), leaves)),
            (expected, *torch.autograd.grad(expected.square().sum(), exact)),
            strict=True,
        )
        return [float(((a.double() - b).norm() / b.norm()).detach()) for a, b in pairs]

    for error, of_eager in zip(errors(ours), errors(eager), strict=True):
        assert error < 1.5 * of_eager < 0.02


@pytest.mark.parametrize("reason", ["dropout", "no gradient", "length"])
def test_otherwise_it_is_pytorchs(monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    def unused(*_: object) -> None:
        raise AssertionError("not here")

    monkeypatch.setattr(fused_attention._Attention, "apply", unused)
    monkeypatch.setattr(fused_attention, "LONGEST", 5 if reason == "length" else 512)
    parts = [x.float().requires_grad_() for x in tensors(6, 6, shared=2)]
    module: Any = nn.Module()
    module.is_causal, module.num_key_value_groups = True, 2
    dropout = 0.5 if reason == "dropout" else 0.0
    torch.manual_seed(0)
    with torch.set_grad_enabled(reason != "no gradient"):
        found, _ = attend(module, *parts, None, dropout=dropout)
    torch.manual_seed(0)
    query, key, value = parts
    expected = functional.scaled_dot_product_attention(
        query,
        key.repeat_interleave(2, dim=1),
        value.repeat_interleave(2, dim=1),
        is_causal=True,
        dropout_p=dropout,
    ).transpose(1, 2)
    torch.testing.assert_close(found, expected)
