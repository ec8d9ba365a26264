"""What an objective is: batches from documents, losses from a batch, scores of held-out documents.

To add one: a class in a file here, one line in `OBJECTIVES`, one test against a reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from llmos.data.batches import Batch, Batches
from llmos.data.documents import Document
from llmos.models.scoring import Scores

if TYPE_CHECKING:
    import torch
    from torch import nn


class Objective(Protocol):
    """One way to learn, under one recipe and vocabulary. Shapes: B sequences, T tokens."""

    head: str
    """Which class of model it trains, one of `families.HEADS`."""
    record: str
    """Which records it reads, one of `data.sources.RECORDS`."""

    def batches(self, documents: Sequence[Document], seed: int) -> Batches:
        """The training batches of these documents. Raises `DataError` where they are too few."""

    def counts(self, batch: Batch) -> dict[str, int]:
        """How many predictions each named loss of this batch is the sum of."""

    def tokens(self, batch: Batch) -> int:
        """How many real tokens the batch holds: no padding."""

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The named losses of a part of a batch, each the SUM over its predictions, in nats.

        What is minimised is the sum over the names of (sum / count), both over the whole batch.
        """

    def score(
        self, model: nn.Module, documents: Sequence[Document], *, block_bytes: int = 0
    ) -> Scores:
        """The losses on held-out documents by unit: a document, or a block of one when > 0.

        `Scores.bytes` counts the UTF-8 bytes of what was to be predicted, whatever the objective:
        a text, the masked tokens, a translation, the name of a label. In eval mode, float32, the
        same at every call.
        """
