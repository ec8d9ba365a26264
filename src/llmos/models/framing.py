"""Texts as the tokens that a model reads: what stands before and behind them. No torch."""

from __future__ import annotations

from llmos.models.vocabulary import Vocabulary


def source_tokens(words: Vocabulary, text: str) -> list[int]:
    """As the objective seq2seq lays a source out."""
    encoding = words.tokenizer.encode(text)
    ends = encoding.special_tokens_mask[-1:] == [1]
    return [*encoding.ids] if ends else [*encoding.ids, words.end]


def document_tokens(words: Vocabulary, text: str) -> list[int]:
    """A text that begins a new document, for a decoder to continue."""
    begin = words.end if words.begin is None else words.begin
    return [begin, *words.encode(text)]


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
