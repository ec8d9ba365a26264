"""Byte-level BPE trained from piece counts, without any text.

Sennrich, Haddow and Birch (2016, arXiv:1508.07909) over bytes (Radford et al. 2019). The order of
merges, ties included, is that of `BpeTrainer` in Hugging Face tokenizers: counts summed over
members give the very tokenizer that this trainer gives on all texts in one place. That trainer
reads texts only; hence this one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from operator import add

from tokenizers import AddedToken, Tokenizer, decoders, models, processors

from llmos.errors import DataError, UsageError
from llmos.models.pieces import pre_tokenizer

BYTES = 256

_SHIFT = 32
_RIGHT = (1 << _SHIFT) - 1


@cache
def byte_symbols() -> tuple[str, ...]:
    """The printable symbol of each byte 0 to 255, as GPT-2 draws them (encoder.py)."""
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = {byte: chr(byte) for byte in shown}
    hidden = (byte for byte in range(BYTES) if byte not in symbols)
    symbols.update((byte, chr(BYTES + position)) for position, byte in enumerate(hidden))
    return tuple(symbols[byte] for byte in range(BYTES))


def train_bpe(
    counts: Mapping[str, int], vocabulary_size: int, special_tokens: Sequence[str]
) -> Tokenizer:
    """Train a tokenizer of exactly `vocabulary_size` tokens from piece counts.

    Ids: the special tokens in their order, the 256 bytes sorted by symbol, then one per merge.
    The result does not depend on the order of `counts`. Raises `DataError` when the size is too
    small for bytes and special tokens or more than the pieces support, and `UsageError` for
    special tokens that are empty, repeated or a single byte.
    """
    check_vocabulary(vocabulary_size, special_tokens)
    tokens = [*special_tokens, *sorted(byte_symbols())]
    number = {token: number for number, token in enumerate(tokens)}
    of_byte = [number[symbol] for symbol in byte_symbols()]
    kept = [(piece, count) for piece, count in counts.items() if count > 0]
    words = [[of_byte[byte] for byte in piece.encode()] for piece, _ in kept]
    merges = learn_merges(words, [count for _, count in kept], vocabulary_size, tokens)
    require_supported(len(tokens), vocabulary_size)
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs = [(tokens[left], tokens[right]) for left, right in merges]
    return assemble(models.BPE(vocab=vocabulary, merges=pairs), special_tokens)


def assemble(model: models.Model, special_tokens: Sequence[str]) -> Tokenizer:
    """A lossless tokenizer around `model`: no normalization, `pre_tokenizer()`, bytes back."""
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    # Adds no token. Without any, transformers puts one in and the saved file has another hash.
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special_tokens]
    )
    return tokenizer


def check_vocabulary(vocabulary_size: int, special_tokens: Sequence[str]) -> None:
    """Raise `UsageError` or `DataError` (see `train_bpe`) before any work is done."""
    for position, token in enumerate(special_tokens):
        if not token or token in byte_symbols() or token in special_tokens[:position]:
            raise UsageError(
                f"special token {token!r} is empty, a single byte or given twice: "
                "choose different names such as <|endoftext|>"
            )
    least = BYTES + len(special_tokens)
    if vocabulary_size < least:
        raise DataError(
            f"vocabulary_size {vocabulary_size} is too small for {BYTES} bytes and "
            f"{len(special_tokens)} special tokens: set it to at least {least}"
        )


def require_supported(supported: int, vocabulary_size: int) -> None:
    """Raise `DataError` when training ended with fewer tokens than were asked for."""
    if supported < vocabulary_size:
        raise DataError(
            f"vocabulary_size {vocabulary_size} is too large: the pieces that passed the threshold "
            f"support {supported} tokens; set vocabulary_size to at most {supported}, lower the "
            "threshold or add text"
        )


def learn_merges(
    words: list[list[int]],
    frequency: Sequence[int],
    vocabulary_size: int,
    tokens: list[str],
    join: Callable[[str, str], str] = add,
) -> list[tuple[int, int]]:
    """Append learned tokens to `tokens` until it has `vocabulary_size`; the merges by rank.

    `words` are lists of ids into `tokens`, each occurring `frequency` times, and are changed in
    place; `join` spells the token of a pair. A pair is one integer, left id in the high bits, so
    that integers order as pairs do. The heap holds (-count, pair, words), each pair once: most
    frequent first, then smallest pair. Its counts go stale as merges destroy pairs; a stale entry
    is refreshed when it is at the top.
    """
    identifiers = {token: number for number, token in enumerate(tokens)}
    pair_counts: dict[int, int] = {}
    found: dict[int, set[int]] = {}
    for position, word in enumerate(words):
        count = frequency[position]
        for left, right in pairwise(word):
            pair = left << _SHIFT | right
            pair_counts[pair] = pair_counts.get(pair, 0) + count
            found.setdefault(pair, set()).add(position)

    heap: list[tuple[int, int, set[int]]] = []
    merges: list[tuple[int, int]] = []
    while len(tokens) < vocabulary_size:
        for pair, where in found.items():
            if pair_counts[pair] > 0:
                heapq.heappush(heap, (-pair_counts[pair], pair, where))
        if not heap:
            break
        key, pair, where = heap[0]
        count = pair_counts[pair]
        if -key != count:
            heapq.heapreplace(heap, (-count, pair, where))
            found = {}
            continue
        if count < 1:
            break
        heapq.heappop(heap)
        left, right = pair >> _SHIFT, pair & _RIGHT
        token = join(tokens[left], tokens[right])
        # Within its borders a token is always built by the same merges, so only a special token
        # can have been spelled before; as in the reference, the merge then leads to its id.
        new = identifiers.setdefault(token, len(tokens))
        if new == len(tokens):
            tokens.append(token)
        merges.append((left, right))
        found = _merge(left, right, new, where, words, frequency, pair_counts)
    return merges


def _merge(
    left: int,
    right: int,
    new: int,
    where: set[int],
    words: list[list[int]],
    frequency: Sequence[int],
    pair_counts: dict[int, int],
) -> dict[int, set[int]]:
    """Replace `left`, `right` by `new` in the words at `where`, leftmost first.

    Updates `pair_counts` of the neighbours and returns the pairs that came up, each with its words.
    """
    found: dict[int, set[int]] = {}
    for position in where:
        word = words[position]
        count = frequency[position]
        at = 0
        while True:
            try:
                at = word.index(left, at, len(word) - 1)
            except ValueError:
                break
            if word[at + 1] != right:
                at += 1
                continue
            word[at : at + 2] = [new]
            if at > 0:
                before = word[at - 1] << _SHIFT
                pair_counts[before | left] -= count
                pair_counts[before | new] = pair_counts.get(before | new, 0) + count
                found.setdefault(before | new, set()).add(position)
            if at + 1 < len(word):
                after = word[at + 1]
                pair_counts[right << _SHIFT | after] -= count
                pair = new << _SHIFT | after
                pair_counts[pair] = pair_counts.get(pair, 0) + count
                found.setdefault(pair, set()).add(position)
            at += 1
    return found
