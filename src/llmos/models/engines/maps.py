"""Linear maps whose weights are laid out once, as the processor multiplies them.

PyTorch lays a bf16 weight out anew at each product on a CPU: with few rows that takes longer than
the product. oneDNN can keep its own layout, and computes an addition or GELU in the same pass,
in float32, before it rounds; PyTorch's compiler uses the same operations when weights are frozen.
Shapes: N rows, I inputs, O outputs.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch.nn import functional

_onednn: Any = torch.ops.mkldnn


class Map(Protocol):
    """rows (N, I) -> rows W^T + b (N, O), and what is added: (N, O)."""

    outputs: int

    def __call__(self, rows: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor: ...

    def gelu(self, rows: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        """The same through GELU in the form with tanh (arXiv 1606.08415)."""
        ...


class PlainMap:
    """A map as PyTorch computes it, on any device and in any type."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.outputs, self.weight, self.bias = len(weight), weight, bias

    def __call__(self, rows: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        found = functional.linear(rows, self.weight, self.bias)
        return found if added is None else found + added

    def gelu(self, rows: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        return functional.gelu(self(rows, added), approximate="tanh")


class PackedMap:
    """A bf16 map on a CPU, kept in oneDNN's layout."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        self.outputs, self.bias = len(weight), bias
        self.weight: torch.Tensor = _onednn._reorder_linear_weight(weight, _ROWS)
        self._alone, self._adding = (
            _onednn._linear_pointwise.default,
            _onednn._linear_pointwise.binary,
        )

    def __call__(self, rows: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        found: torch.Tensor = (
            self._alone(rows, self.weight, self.bias, "none", [], "")
            if added is None
            else self._adding(rows, added, self.weight, self.bias, "add")
        )
        return found

    def gelu(self, rows: torch.Tensor, added: torch.Tensor | None = None) -> torch.Tensor:
        if added is not None:
            return functional.gelu(self(rows, added), approximate="tanh")
        found: torch.Tensor = self._alone(rows, self.weight, self.bias, "gelu", [], "tanh")
        return found


_ROWS = 32
"""Rows for which the layout is chosen; it is the same for 1 and for 256."""


def is_packed(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether oneDNN computes the maps of such a network."""
    return (
        device.type == "cpu"
        and dtype == torch.bfloat16
        and torch.backends.mkldnn.is_available()
        and bool(_onednn._is_mkldnn_bf16_supported())
    )


def linear_map(weight: torch.Tensor, bias: torch.Tensor | None = None) -> Map:
    """The map of a weight (O, I) and a bias (O), in the way that is fastest where they are."""
    return (PackedMap if is_packed(weight.device, weight.dtype) else PlainMap)(weight, bias)


def filled(rows: int) -> int:
    """To how many rows a step is filled up: some more, so that few different numbers occur.

    For each number of rows oneDNN makes a program for each map: about 1.5 ms and 0.5 MiB each.
    """
    step = next((step for most, step in _STEPS if rows <= most), _STEPS[-1][1])
    return -(-rows // step) * step


_STEPS = ((1, 1), (16, 8), (32, 16), (128, 32), (512, 64), (1 << 62, 128))
"""Up to so many rows, a multiple of that. Up to 16 rows take as long as one."""
