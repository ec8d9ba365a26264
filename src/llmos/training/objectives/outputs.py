"""What a model says of rows of different length, without being trained on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from llmos.data.padded import Example, pad_rows


@torch.no_grad()
def outputs(
    model: nn.Module,
    rows: Sequence[Example],
    pad: Mapping[str, int],
    forward: Callable[[Mapping[str, torch.Tensor]], torch.Tensor],
    batch_tokens: int = 4096,
) -> list[npt.NDArray[np.float32]]:
    """`forward(batch)`, (B, ...), of each row, in the order of the rows.

    A batch has rows of similar length, at most `batch_tokens` tokens with the padding (or one
    row); the first name of a row gives its length. In eval mode, float32.
    """
    sizes = [len(next(v for v in row.values() if not isinstance(v, int))) for row in rows]
    order = sorted(range(len(rows)), key=lambda row: -sizes[row])
    found: dict[int, npt.NDArray[np.float32]] = {}
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        while len(found) < len(rows):
            at = len(found)
            group = order[at : at + max(1, batch_tokens // max(1, sizes[order[at]]))]
            batch = pad_rows([rows[row] for row in group], pad)
            values = forward({n: torch.from_numpy(a).to(device) for n, a in batch.items()})
            found.update(zip(group, values.float().cpu().numpy(), strict=True))
    finally:
        model.train(was_training)
    return [found[row] for row in range(len(rows))]
