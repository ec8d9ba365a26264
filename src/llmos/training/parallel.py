"""Several processes that train one model together at one site, each on its share of every batch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Processes:
    """This process alone; `parallel` makes more of it. `rank` counts from 0 to `count` - 1."""

    rank = 0
    count = 1

    def wrap(self, losses: nn.Module) -> nn.Module:
        """The module that computes the losses, made one of several."""
        return losses

    def share(self, batch_size: int) -> range:
        """The rows of a batch that this process computes."""
        return range(batch_size)

    @contextmanager
    def synchronised(self, losses: nn.Module, is_last: bool) -> Iterator[None]:
        """Around one micro-batch; after the last one the gradients are those of all processes."""
        yield

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum of `values` over the processes."""
        return values.clone()


ONE_PROCESS = Processes()
