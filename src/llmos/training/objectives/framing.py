"""Texts with the special tokens that a model reads around them."""

from __future__ import annotations

from collections.abc import Sequence

from llmos.errors import RecipeError
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe


def frame_of_one(words: Vocabulary) -> tuple[list[int], list[int]]:
    """The special tokens before and after a text: BERT's [CLS] and [SEP], T5's </s>; or none."""
    before, after, _ = _frame(words)
    return before, after


def frame_of_two(words: Vocabulary) -> tuple[list[int], list[int], list[int]]:
    """The special tokens before, between and after two texts.

    Where the tokenizer puts none between them (GPT-2's), the end of text stands behind each.
    """
    before, between, after = _frame(words, "x")
    return (before, between, after) if between else ([], [words.end], [words.end])


def room_in(frame: Sequence[list[int]], recipe: Recipe) -> int:
    """How many tokens of text a training sequence holds beside those of the frame.

    Raises `RecipeError` where it is less than one for each text.
    """
    length, special, texts = recipe.training.sequence_length, sum(map(len, frame)), len(frame) - 1
    if length - special < texts:
        raise RecipeError(
            f"training.sequence_length = {length} leaves no room for "
            f"{'a text' if texts == 1 else f'{texts} texts'} beside {special} special tokens: "
            "raise it"
        )
    return length - special


def _frame(words: Vocabulary, second: str | None = None) -> tuple[list[int], ...]:
    """What the tokenizer itself puts before a text, behind it, and behind a second one."""
    encoding = words.tokenizer.encode("x", second)
    frame: tuple[list[int], ...] = ([], [], [])
    texts_seen = 0
    for text, number in zip(encoding.sequence_ids, encoding.ids, strict=True):
        if text is None:
            frame[texts_seen].append(number)
        else:
            texts_seen = text + 1
    return frame
