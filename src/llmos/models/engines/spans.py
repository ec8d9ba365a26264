"""Where in a context the answer to a question stands, from a head for question answering.

As `training.objectives.extractive_qa` lays questions out, and as transformers' run_qa.py tells that
there is no answer: by the score of place 0, the least over the windows of a long context.
Shapes: L tokens of a context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from llmos.models.engines.batches import padded
from llmos.models.engines.engine import UnsupportedError
from llmos.models.engines.loading import Loaded

LONGEST_ANSWER = 30
"""Tokens, as in run_qa.py (`max_answer_length`)."""


class _Window(NamedTuple):
    """A row of which the context's tokens from `start`, `size` of them, stand from `place`."""

    question: int
    ids: list[int]
    segments: list[int]
    start: int
    size: int
    place: int


@torch.no_grad()
def spans(loaded: Loaded, pairs: Sequence[tuple[str, str]]) -> list[tuple[int, int, float]]:
    """For each (question, context): begin and end in characters, and the probability.

    (0, 0, p) where no answer is likelier than every span. The probability is that among all spans
    and no answer.
    """
    if loaded.head != "extractive_qa":
        raise UnsupportedError(f"{loaded.folder} has no head that finds answers in a context")
    encodings = [loaded.words.tokenizer.encode(c, add_special_tokens=False) for _, c in pairs]
    windows = [
        window
        for number, (question, _) in enumerate(pairs)
        for window in _windows(loaded, number, question, encodings[number].ids)
    ]
    offsets = [np.array(e.offsets, np.int64).reshape(-1, 2) for e in encodings]
    scores = [np.full((len(o), LONGEST_ANSWER), -np.inf) for o in offsets]
    nothing = np.full(len(pairs), np.inf)
    has_segments = getattr(loaded.model.config, "type_vocab_size", 0) > 1
    for batch in padded([w.ids for w in windows], loaded.words.pad, loaded.model.device):
        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if has_segments:
            segments = torch.zeros_like(batch.ids)
            for place, row in enumerate(batch.rows):
                segments[place, : len(windows[row].segments)] = torch.tensor(windows[row].segments)
            inputs["token_type_ids"] = segments
        output = loaded.model(**inputs)
        begins, ends = (x.double().cpu().numpy() for x in (output.start_logits, output.end_logits))
        for place, row in enumerate(batch.rows):
            window = windows[row]
            at = window.question
            nothing[at] = min(nothing[at], begins[place, 0] + ends[place, 0])
            text = pairs[at][1]
            _add(scores[at], window, begins[place], ends[place], _filled(text, offsets[at]))
    return [_best(*row) for row in zip(scores, nothing, offsets, pairs, strict=True)]


def _windows(loaded: Loaded, number: int, question: str, context: Sequence[int]) -> list[_Window]:
    """The windows of a context, which overlap by half."""
    before, between, after = _frame(loaded)
    room = loaded.context_length - len(before) - len(between) - len(after)
    # A question longer than half of it is cut, so that some context is always seen.
    head = [*before, *loaded.words.encode(question)[: room // 2], *between]
    size = loaded.context_length - len(head) - len(after)
    found = []
    for start in range(0, len(context), size - size // 2):
        part = list(context[start : start + size])
        ids = [*head, *part, *after]
        segments = [0] * len(head) + [1] * (len(part) + len(after))
        found.append(_Window(number, ids, segments, start, len(part), len(head)))
        if start + size >= len(context):
            break
    return found


def _frame(loaded: Loaded) -> tuple[list[int], list[int], list[int]]:
    """The special tokens before, between and after two texts; the end of text where none are."""
    encoding = loaded.words.tokenizer.encode("x", "x")
    frame: tuple[list[int], list[int], list[int]] = ([], [], [])
    seen = 0
    for text, token in zip(encoding.sequence_ids, encoding.ids, strict=True):
        if text is None:
            frame[seen].append(token)
        else:
            seen = text + 1
    return frame if frame[1] else ([], [loaded.words.end], [loaded.words.end])


def _filled(text: str, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which tokens are more than blanks: no answer begins or ends with one that is not."""
    return np.array([bool(text[start:stop].strip()) for start, stop in offsets], bool)


def _add(
    scores: npt.NDArray[np.float64],
    window: _Window,
    begins: npt.NDArray[np.float64],
    ends: npt.NDArray[np.float64],
    filled: npt.NDArray[np.bool_],
) -> None:
    """Enter a window's scores by first token and length - 1, (L, lengths); the highest counts."""
    there = slice(window.start, window.start + window.size)
    here = slice(window.place, window.place + window.size)
    begin, end = (np.where(filled[there], values[here], -np.inf) for values in (begins, ends))
    for more in range(min(LONGEST_ANSWER, window.size)):
        found = scores[window.start : window.start + window.size - more, more]
        np.maximum(found, begin[: window.size - more] + end[more:], out=found)


def _best(
    scores: npt.NDArray[np.float64],
    nothing: float,
    offsets: npt.NDArray[np.int64],
    pair: tuple[str, str],
) -> tuple[int, int, float]:
    if not np.isfinite(scores).any():
        return 0, 0, 1.0
    first, more = np.unravel_index(scores.argmax(), scores.shape)
    highest = max(scores[first, more], nothing)
    total = np.exp(scores - highest).sum() + np.exp(nothing - highest)
    if nothing > scores[first, more]:
        return 0, 0, float(1 / total)
    start, stop = int(offsets[first, 0]), int(offsets[first + more, 1])
    text = pair[1][start:stop]
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip()), float(1 / total)
