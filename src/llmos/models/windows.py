"""Where in a context the answer to a question stands: windows of a long one, scores of its spans.

A row is the question and a window of the context, framed as the tokenizer frames two texts:
[CLS] question [SEP] context [SEP] for BERT, question </s> context </s> for T5, with the end of text
in the place of </s> for decoders. Windows of a long context overlap by half. Training and answering
lay questions out alike. No torch. Shapes: T tokens of a row, L tokens of a context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LONGEST_ANSWER = 30
"""Tokens, as in transformers' run_qa.py (`max_answer_length`). A small byte-level vocabulary has up
to 3 tokens a Chinese character."""

Floats = npt.NDArray[np.float64]
Offsets = npt.NDArray[np.integer]
"""The characters that each token stands for, from and until: (L, 2)."""
Frame = tuple[Sequence[int], Sequence[int], Sequence[int]]
"""The special tokens before, between and after two texts (`framing.frame_of_two`)."""


@dataclass(frozen=True)
class Window:
    """A row: the context's tokens from `start`, `size` of them, stand from `place` in `ids`."""

    ids: list[int]
    start: int
    size: int
    place: int

    @property
    def segments(self) -> list[int]:
        """0 for the question and what frames it, 1 for the rest, as BERT's `token_type_ids`."""
        return [0] * self.place + [1] * (len(self.ids) - self.place)

    def holds(self, first: int, last: int) -> bool:
        """Whether these tokens of the context, `last` included, are in the window."""
        return self.start <= first and last < self.start + self.size

    def around(self, first: int, last: int) -> int:
        """How much context the tokens have at the side where they have less."""
        return min(first - self.start, self.start + self.size - 1 - last)


def windows(
    question: Sequence[int], context: Sequence[int], frame: Frame, length: int
) -> list[Window]:
    """The rows of at most `length` tokens for a question; none where the context is empty.

    A question longer than half of what the frame leaves is cut, so that some context is always
    seen.
    """
    before, between, after = frame
    most = (length - len(before) - len(between) - len(after)) // 2
    head = [*before, *question[:most], *between]
    room = length - len(head) - len(after)
    found = []
    for start in range(0, len(context), room - room // 2):
        part = context[start : start + room]
        found.append(Window([*head, *part, *after], start, len(part), len(head)))
        if start + room >= len(context):
            break
    return found


class SpanScores:
    """How much each span of a context is its answer: the sum of the logits of its two ends.

    As in run_qa.py; in several windows the highest counts. No span begins or ends with a token
    that is blank. longest: tokens of a span at most.
    """

    def __init__(self, context: str, offsets: Offsets, longest: int = LONGEST_ANSWER) -> None:
        self._context, self._offsets = context, offsets
        self._scores = np.full((len(offsets), longest), -np.inf)  # by first token and length - 1
        self._is_filled = np.array([bool(context[a:b].strip()) for a, b in offsets], bool)

    def enter(self, window: Window, begins: Floats, ends: Floats) -> None:
        """Enter what a window says: the logits of its row, (T,) each."""
        there = slice(window.start, window.start + window.size)
        here = slice(window.place, window.place + window.size)
        is_filled = self._is_filled[there]
        begin, end = (np.where(is_filled, values[here], -np.inf) for values in (begins, ends))
        for more in range(min(self._scores.shape[1], window.size)):
            found = self._scores[window.start : window.start + window.size - more, more]
            np.maximum(found, begin[: window.size - more] + end[more:], out=found)

    def best(self, nothing: float = -np.inf) -> tuple[int, int, float]:
        """Begin and end of the answer in characters, and its probability among all spans.

        nothing: the score of there being no answer, as if it were another span: (0, 0, p) where it
        is the highest.
        """
        highest = max(self._scores.max(initial=-np.inf), nothing)
        if highest == -np.inf:
            return 0, 0, 0.0
        if not np.isfinite(self._scores).any():
            return 0, 0, 1.0
        chance = float(1 / (np.exp(self._scores - highest).sum() + np.exp(nothing - highest)))
        first, more = np.unravel_index(self._scores.argmax(), self._scores.shape)
        if nothing > self._scores[first, more]:
            return 0, 0, chance
        start, stop = int(self._offsets[first, 0]), int(self._offsets[first + more, 1])
        text = self._context[start:stop]
        start += len(text) - len(text.lstrip())
        return start, start + len(text.strip()), chance
