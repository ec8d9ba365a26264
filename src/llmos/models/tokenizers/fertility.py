"""What a tokenizer makes of texts: how long they get, and for which language it costs more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tokenizers import Tokenizer

from llmos.models.pieces import is_unspaced

UNSPACED_SHARE = 0.1
"""From this share of a text's letters in scripts without spaces on, its words are not counted:
text in Chinese, Japanese or Thai also holds Latin names and code."""


@dataclass(frozen=True)
class Fertility:
    """Sums over some texts; they add up over texts of one language."""

    texts: int
    tokens: int
    size: int
    """UTF-8 bytes."""
    characters: int
    words: int | None
    """Between white space, with a letter or digit; None for a script written without spaces."""
    unknown: int
    """Tokens that stand for what the vocabulary does not cover."""
    fallback: int
    """Tokens that are single bytes of characters that the vocabulary does not cover."""

    @property
    def tokens_per_word(self) -> float | None:
        """The fertility of Rust et al. (2021, arXiv:2012.15613)."""
        return self.tokens / self.words if self.words else None

    @property
    def bytes_per_token(self) -> float:
        return self.size / max(self.tokens, 1)

    @property
    def characters_per_token(self) -> float:
        return self.characters / max(self.tokens, 1)

    @property
    def unknown_share(self) -> float:
        return self.unknown / max(self.tokens, 1)

    @property
    def fallback_share(self) -> float:
        return self.fallback / max(self.tokens, 1)


def fertility(tokenizer: Tokenizer, texts: Iterable[str]) -> Fertility:
    """The sums over `texts`, which are encoded without special tokens around them."""
    unknown, fallback = _odd_ids(tokenizer)
    number = tokens = size = characters = words = unknowns = bytes_alone = 0
    letters = unspaced = 0
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        number += 1
        tokens += len(ids)
        size += len(text.encode())
        characters += len(text)
        words += sum(any(map(str.isalnum, word)) for word in text.split())
        unknowns += sum(identifier == unknown for identifier in ids)
        bytes_alone += sum(identifier in fallback for identifier in ids)
        alphabetic = [character for character in text if character.isalpha()]
        letters += len(alphabetic)
        unspaced += sum(map(is_unspaced, alphabetic))
    spaced = unspaced < UNSPACED_SHARE * letters or not letters
    return Fertility(
        texts=number,
        tokens=tokens,
        size=size,
        characters=characters,
        words=words if spaced else None,
        unknown=unknowns,
        fallback=bytes_alone,
    )


def premiums(parallel: Mapping[str, Fertility], reference: str) -> dict[str, float]:
    """Tokens for the same content, as multiples of those in the language `reference`.

    `parallel` says of each language what its version of one content takes (Petrov et al. 2023,
    arXiv:2305.15425, call it the tokenization premium).
    """
    base = max(parallel[reference].tokens, 1)
    return {language: found.tokens / base for language, found in parallel.items()}


def fairness_gap(parallel: Mapping[str, Fertility]) -> float:
    """Tokens of the most expensive language over those of the cheapest, for the same content."""
    tokens = [found.tokens for found in parallel.values()]
    return max(tokens) / max(min(tokens), 1)


def _odd_ids(tokenizer: Tokenizer) -> tuple[int | None, frozenset[int]]:
    """The id of the unknown token, and those of bytes that stand in for characters."""
    model = json.loads(tokenizer.to_str())["model"]
    name = model.get("unk_token")
    unknown = tokenizer.token_to_id(name) if name else model.get("unk_id")
    if not model.get("byte_fallback"):
        return unknown, frozenset()
    found = (tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in range(256))
    return unknown, frozenset(number for number in found if number is not None)
