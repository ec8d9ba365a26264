"""What a model says of each row, in the order of the rows and in batches of like lengths."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from llmos.training.objectives.outputs import outputs

PAD = {"input_ids": -1}


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=12), max_size=30))
def test_rows_keep_their_order_and_batches_their_size(texts: list[list[int]]) -> None:
    model = nn.Linear(1, 1)
    shapes = []

    def forward(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        assert not model.training and not torch.is_grad_enabled()
        ids = batch["input_ids"]
        shapes.append(ids.shape)
        assert (batch["number"] == (ids != -1).sum(1)).all()
        return torch.stack([ids.clamp(min=0).sum(1), (ids != -1).sum(1)], 1).bfloat16()

    rows = [{"input_ids": text, "number": len(text)} for text in texts]
    found = outputs(model, rows, PAD, forward, batch_tokens=24)
    assert model.training
    assert len(found) == len(texts)
    for text, values in zip(texts, found, strict=True):
        assert values.dtype == np.float32
        assert values == pytest.approx([sum(text), len(text)], rel=1e-2)
    widths = [width for _, width in shapes]
    assert all(rows * width <= 24 for rows, width in shapes)
    assert widths == sorted(widths, reverse=True)
    assert sum(rows for rows, _ in shapes) == len(texts)


def test_a_row_longer_than_a_batch_is_one_by_itself() -> None:
    found = outputs(
        nn.Linear(1, 1), [{"input_ids": [1] * 50}] * 3, PAD, lambda b: b["input_ids"].sum(1), 10
    )
    assert [value.item() for value in found] == [50, 50, 50]


def test_the_model_trains_on_after_an_error() -> None:
    model = nn.Linear(1, 1)

    def forward(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        outputs(model, [{"input_ids": [1]}], PAD, forward)
    assert model.training
