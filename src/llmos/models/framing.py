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
