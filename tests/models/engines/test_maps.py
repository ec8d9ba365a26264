"""Maps laid out for the processor are the same maps."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from llmos.models.engines.maps import PackedMap, PlainMap, filled, is_packed, linear_map

CPU = torch.device("cpu")
needs_bf16 = pytest.mark.skipif(
    not is_packed(CPU, torch.bfloat16), reason="this processor does not multiply in bf16"
)


@needs_bf16
@pytest.mark.parametrize("rows", [1, 7, 33])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_packed_map_rounds_the_exact_outcome(rows: int, has_bias: bool) -> None:
    """Against float64: at most two roundings to bf16's 8 bits."""
    torch.manual_seed(0)
    weight = (torch.randn(48, 32) / 6).bfloat16()
    bias = torch.randn(48).bfloat16() if has_bias else None
    given, added = torch.randn(rows, 32).bfloat16(), torch.randn(rows, 48).bfloat16()
    exact = functional.linear(given.double(), weight.double())
    if bias is not None:
        exact = exact + bias.double()
    found = linear_map(weight, bias)
    assert isinstance(found, PackedMap) and found.outputs == 48
    for outcome, expected in (
        (found(given), exact),
        (found(given, added), exact + added.double()),
        (found.gelu(given), functional.gelu(exact, approximate="tanh")),
        (found.gelu(given, added), functional.gelu(exact + added.double(), approximate="tanh")),
    ):
        assert outcome.dtype == torch.bfloat16
        torch.testing.assert_close(outcome.double(), expected, rtol=2**-7, atol=2**-7)


def test_a_float32_map_is_pytorchs() -> None:
    torch.manual_seed(0)
    weight, bias, given, added = (torch.randn(s) for s in ((8, 4), (8,), (3, 4), (3, 8)))
    found = linear_map(weight, bias)
    assert isinstance(found, PlainMap)
    expected = functional.linear(given, weight, bias)
    assert torch.equal(found(given), expected)
    assert torch.equal(found(given, added), expected + added)
    assert torch.equal(found.gelu(given), functional.gelu(expected, approximate="tanh"))


def test_few_numbers_of_rows_occur() -> None:
    numbers = [filled(rows) for rows in range(1, 1025)]
    assert all(many >= rows for rows, many in enumerate(numbers, 1))
    assert numbers == sorted(numbers)
    assert len(set(numbers)) <= 20
    assert filled(1) == 1
    assert filled(2) == 8
    assert filled(129) == 192
