"""Classification: the label of a text, from a model with a classification head.

A text is framed as the tokenizer does it: [CLS] text [SEP] for BERT, text </s> for T5, the text
alone for decoders, which put the label out at the last token that is not padding.
Shapes: B texts, T tokens, C labels, N texts in all.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from llmos.data.batches import Batch
from llmos.data.documents import Document
from llmos.data.padded import Example, PaddedExamples
from llmos.errors import DataError
from llmos.metrics.classification import accuracy, confusion_matrix
from llmos.models.framing import frame_of_one
from llmos.models.scoring import Scores
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.training.objectives.framing import room_in
from llmos.training.objectives.outputs import outputs


class Classification:
    """Texts with one label each, cut at the recipe's sequence length."""

    head = "classification"
    record = "labelled"

    def __init__(self, recipe: Recipe, words: Vocabulary) -> None:
        self.words = words
        self.labels = recipe.objective.labels
        self._number = {label: number for number, label in enumerate(self.labels)}
        self._pad = {"input_ids": words.pad, "attention_mask": 0}
        self._before, self._after = frame = frame_of_one(words)
        self._room = room_in(frame, recipe)

    def batches(self, documents: Sequence[Document], seed: int) -> PaddedExamples:
        rows = self._rows([document.fields["text"] for document in documents])
        examples: list[Example] = [
            {**row, "labels": self._label(document)}
            for row, document in zip(rows, documents, strict=True)
        ]
        return PaddedExamples(examples, self._pad, seed)

    def counts(self, batch: Batch) -> dict[str, int]:
        return {"label": len(batch["labels"])}

    def tokens(self, batch: Batch) -> int:
        return int(batch["attention_mask"].sum())

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        logits = _logits(model, batch)
        return {"label": functional.cross_entropy(logits, batch["labels"], reduction="sum")}

    def score(
        self, model: nn.Module, documents: Sequence[Document], *, block_bytes: int = 0
    ) -> Scores:
        """The surprise at each document's label: one token a document, whatever `block_bytes`."""
        numbers = [self._label(document) for document in documents]
        found = self._log_probabilities(model, [d.fields["text"] for d in documents])
        nll = -found[np.arange(len(documents)), numbers]
        sizes = [len(self.labels[number].encode()) for number in numbers]
        ones = np.ones(len(documents), np.int64)
        return Scores(nll.astype(np.float64), ones, np.array(sizes, np.int64))

    def predict(self, model: nn.Module, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """The probability of each label for each text: (N, C)."""
        return np.exp(self._log_probabilities(model, texts))

    def confusion(self, model: nn.Module, documents: Sequence[Document]) -> npt.NDArray[np.int64]:
        """How many documents of each label (rows) get each label (columns): (C, C)."""
        likely = self._log_probabilities(model, [d.fields["text"] for d in documents]).argmax(-1)
        return confusion_matrix(likely, [self._label(d) for d in documents], len(self.labels))

    def accuracy(self, model: nn.Module, documents: Sequence[Document]) -> float:
        """The share of documents whose most probable label is the right one."""
        return accuracy(self.confusion(model, documents))

    def _label(self, document: Document) -> int:
        label = document.fields["label"]
        if label not in self._number:
            raise DataError(
                f"{document.id} has the label {label[:60]!r}, but objective.labels are "
                f"{', '.join(self.labels)}: add it there, or leave such records out"
            )
        return self._number[label]

    def _rows(self, texts: Sequence[str]) -> list[dict[str, array[int]]]:
        rows = []
        for tokens in self.words.encode_all(texts):
            framed = self._before + tokens[: self._room] + self._after
            ids = array("i", framed or [self.words.end])  # an empty text needs a place, too
            rows.append({"input_ids": ids, "attention_mask": array("b", [1]) * len(ids)})
        return rows

    def _log_probabilities(self, model: nn.Module, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """(N, C), in nats."""

        def forward(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
            return functional.log_softmax(_logits(model, batch), dim=-1)

        found = outputs(model, self._rows(texts), self._pad, forward)
        return np.array(found, np.float32).reshape(len(texts), len(self.labels))


def _logits(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(B, C) in float32."""
    output = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    )
    logits: torch.Tensor = output.logits.float()
    return logits
