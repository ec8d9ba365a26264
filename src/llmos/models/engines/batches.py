"""Rows of tokens as padded batches. Shapes: B rows, T tokens of the longest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

BATCH_TOKENS = 4096


class Batch(NamedTuple):
    """ids and mask: (B, T); rows: which rows they are."""

    rows: list[int]
    ids: torch.Tensor
    mask: torch.Tensor


def padded(
    rows: Sequence[Sequence[int]],
    pad: int,
    device: torch.device,
    *,
    left: bool = False,
    batch_tokens: int = BATCH_TOKENS,
    batch_size: int = 32,
) -> Iterator[Batch]:
    """Batches of rows of similar length, the longest first: if memory is short, that shows at once.

    With `left` the padding stands before a row, so that all of them end together.
    """
    order = sorted(range(len(rows)), key=lambda row: -len(rows[row]))
    at = 0
    while at < len(order):
        width = max(1, len(rows[order[at]]))
        some = order[at : at + min(batch_size, max(1, batch_tokens // width))]
        at += len(some)
        ids = torch.full((len(some), width), pad)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(some):
            size = len(rows[row])
            where = slice(width - size, width) if left else slice(size)
            ids[place, where] = torch.tensor(list(rows[row]), dtype=torch.long)
            mask[place, where] = 1
        yield Batch(some, ids.to(device), mask.to(device))
