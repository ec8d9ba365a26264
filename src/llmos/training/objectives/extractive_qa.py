"""Extractive question answering: where in a context the answer to a question begins and ends.

A row is the question and a window of the context (`models.windows`). As in transformers' run_qa.py
all windows are trained on, those without the whole answer to point at place 0.
Shapes: B rows, T tokens, L tokens of a context.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from llmos.data.batches import Batch
from llmos.data.documents import Document
from llmos.data.padded import Example, PaddedExamples
from llmos.errors import DataError
from llmos.models.framing import frame_of_two
from llmos.models.scoring import Scores
from llmos.models.vocabulary import Vocabulary
from llmos.models.windows import LONGEST_ANSWER, SpanScores, Window, windows
from llmos.recipe import Recipe
from llmos.training.objectives.framing import room_in
from llmos.training.objectives.outputs import outputs

_ENCODED_AT_ONCE = 256


class Answer(NamedTuple):
    """An answer, where it begins in the context (characters), and how probable it is.

    The probability is that among all spans of the context that may be an answer.
    """

    text: str
    start: int
    probability: float


class _Context(NamedTuple):
    """A context's tokens and the characters that each stands for: (L,), (L, 2) from and until."""

    ids: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int32]


class ExtractiveQA:
    """Questions, each with one answer that stands in its context."""

    head = "extractive_qa"
    record = "question"

    def __init__(self, recipe: Recipe, words: Vocabulary) -> None:
        self.words = words
        self.length = recipe.training.sequence_length
        self._frame = frame_of_two(words)
        room_in(self._frame, recipe)  # raises where there is none
        self._pad = {"input_ids": words.pad, "attention_mask": 0, "token_type_ids": 0}

    def batches(self, documents: Sequence[Document], seed: int) -> PaddedExamples:
        contexts = self._contexts(documents)
        examples: list[Example] = []
        for document, cut in zip(documents, self._windows(documents, contexts), strict=True):
            span = _answer_span(document, contexts[document.fields["context"]])
            for window in cut:
                shift = window.place - window.start
                start, end = (place + shift for place in span) if window.holds(*span) else (0, 0)
                examples.append({**_row(window), "start_positions": start, "end_positions": end})
        return PaddedExamples(examples, self._pad, seed)

    def counts(self, batch: Batch) -> dict[str, int]:
        # Two predictions a row, so that the mean is the mean of both, as transformers' loss.
        return {"span": 2 * len(batch["start_positions"])}

    def tokens(self, batch: Batch) -> int:
        return int(batch["attention_mask"].sum())

    def losses(
        self, model: nn.Module, batch: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        logits = _logits(model, batch)
        places = torch.stack([batch["start_positions"], batch["end_positions"]], dim=1)  # (B, 2)
        loss = functional.cross_entropy(logits.flatten(0, 1), places.flatten(), reduction="sum")
        return {"span": loss}

    def score(
        self, model: nn.Module, documents: Sequence[Document], *, block_bytes: int = 0
    ) -> Scores:
        """The surprise at the start and the end (2 tokens) of each document's answer.

        Given the window that holds it with the most context around. An answer longer than the
        overlap may be in no window; its document is then no unit.
        """
        contexts = self._contexts(documents)
        rows, places, sizes = [], [], []
        for document, cut in zip(documents, self._windows(documents, contexts), strict=True):
            span = _answer_span(document, contexts[document.fields["context"]])
            holding = [window for window in cut if window.holds(*span)]
            if holding:
                best = max(holding, key=lambda window: window.around(*span))
                rows.append(_row(best))
                places.append([place - best.start + best.place for place in span])
                sizes.append(len(document.fields["answer"].encode()))

        def forward(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
            return functional.log_softmax(_logits(model, batch), dim=-1)

        found = outputs(model, rows, self._pad, forward)  # (2, T) each
        nll = [-float(f[[0, 1], at].sum()) for f, at in zip(found, places, strict=True)]
        twos = np.full(len(rows), 2, np.int64)
        return Scores(np.array(nll, np.float64), twos, np.array(sizes, np.int64))

    def answer(
        self, model: nn.Module, question: str, context: str, longest: int = LONGEST_ANSWER
    ) -> Answer:
        """The most probable answer of at most `longest` tokens; empty for a blank context."""
        document = Document("", "", {"question": question, "context": context})
        return self.answer_all(model, [document], longest)[0]

    def answer_all(
        self, model: nn.Module, documents: Sequence[Document], longest: int = LONGEST_ANSWER
    ) -> list[Answer]:
        """As `answer`, the answer to the question of each document in its context.

        As `models.windows.SpanScores` says, of spans alone.
        """
        contexts = self._contexts(documents)
        of_document = list(self._windows(documents, contexts))
        rows = [_row(window) for cut in of_document for window in cut]
        found = iter(outputs(model, rows, self._pad, lambda batch: _logits(model, batch)))
        answers = []
        for document, cut in zip(documents, of_document, strict=True):
            text = document.fields["context"]
            scores = SpanScores(text, contexts[text].offsets, longest)
            for window in cut:
                begins, ends = next(found).astype(np.float64)
                scores.enter(window, begins, ends)
            start, stop, probability = scores.best()
            answers.append(Answer(text[start:stop], start, probability))
        return answers

    def _contexts(self, documents: Sequence[Document]) -> dict[str, _Context]:
        """The tokens of each context, whatever the number of questions on it."""
        texts = list(dict.fromkeys(document.fields["context"] for document in documents))
        found = {}
        for at in range(0, len(texts), _ENCODED_AT_ONCE):
            some = texts[at : at + _ENCODED_AT_ONCE]
            encodings = self.words.tokenizer.encode_batch(some, add_special_tokens=False)
            for text, encoding in zip(some, encodings, strict=True):
                offsets = np.array(encoding.offsets, np.int32).reshape(-1, 2)
                found[text] = _Context(np.array(encoding.ids, np.int32), offsets)
        return found

    def _windows(
        self, documents: Sequence[Document], contexts: Mapping[str, _Context]
    ) -> Iterator[list[Window]]:
        """The windows of each document; none where its context is empty."""
        questions = self.words.encode_all([document.fields["question"] for document in documents])
        for document, question in zip(documents, questions, strict=True):
            ids = contexts[document.fields["context"]].ids.tolist()
            yield windows(question, ids, self._frame, self.length)


def _row(window: Window) -> dict[str, array[int]]:
    return {
        "input_ids": array("i", window.ids),
        "attention_mask": array("b", [1]) * len(window.ids),
        "token_type_ids": array("b", window.segments),
    }


def token_span(offsets: npt.NDArray[np.int32], start: int, stop: int) -> tuple[int, int] | None:
    """The first and the last token of the characters from `start` until `stop`; None: no token.

    `offsets`, (L, 2), are the characters that each token stands for. Tokens of a byte-level
    vocabulary may share a character, so of those that begin where the answer does the first one is
    taken, and of those that end where it does the last one. Where no token does, it is the first
    (or last) that has a part of the answer: such as a leading blank and a word in one token.
    """
    (touching,) = np.nonzero((offsets[:, 0] < stop) & (offsets[:, 1] > start))
    if not len(touching):
        return None
    first = next((i for i in touching if offsets[i, 0] == start), touching[0])
    rest = touching[touching >= first]
    last = next((i for i in rest[::-1] if offsets[i, 1] == stop), rest[-1])
    return int(first), int(last)


def _answer_span(document: Document, context: _Context) -> tuple[int, int]:
    """The first and the last token of a document's answer, in its context."""
    answer, start = document.fields["answer"], int(document.fields["start"])
    start += len(answer) - len(answer.lstrip())
    span = token_span(context.offsets, start, start + len(answer.strip()))
    if span is None:
        raise DataError(
            f"{document.id} has the answer {answer[:60]!r} at character {start} of its context, of "
            "which the tokenizer makes no token: leave that record out"
        )
    return span


def _logits(model: nn.Module, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """For the start and the end, (B, 2, T) in float32; -inf in the padding.

    Transformers leaves the padding in, so that a row's loss there depends on the batch it is in.
    """
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    if getattr(model.config, "type_vocab_size", 0) > 1:
        inputs["token_type_ids"] = batch["token_type_ids"]
    output = model(**inputs, use_cache=False)
    logits = torch.stack([output.start_logits, output.end_logits], dim=1).float()
    return logits.masked_fill(batch["attention_mask"][:, None] == 0, -torch.inf)
