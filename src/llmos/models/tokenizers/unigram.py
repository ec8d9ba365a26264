"""T5's Unigram tokenizer, trained from piece counts without any text.

Kudo (2018, arXiv:1804.10959): of all frequent substrings those are kept that the likelihood of the
text needs most. The steps and their constants are those of SentencePiece, which T5 and mT5 use, and
of `UnigramTrainer` in Hugging Face tokenizers; that one adds up in an order that changes from
process to process, so its files never have the same hash twice. Here equal counts give equal bytes.

Two things are done otherwise. How often a piece is used is its expectation over all ways to cut
the text, where SentencePiece asks the likeliest way only. And in the M step exp(digamma(c)) is
c - 1/2, from which it differs by 0.14 at most for c >= 1/2 and which needs no logarithm.

A blank is ▁, as in T5. Nothing is normalized, characters that the vocabulary does not cover are
their UTF-8 bytes: a text comes back as it was, but for a ▁ in it, which comes back as a blank.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from llmos.errors import DataError
from llmos.models.bpe import BYTES, require_supported
from llmos.models.pieces import LONGEST_WORD, is_unspaced, split_pattern
from llmos.models.tokenizers.candidates import Candidates
from llmos.models.tokenizers.characters import covered_characters
from llmos.models.tokenizers.lattice import Floats, Words

UNKNOWN = "<unk>"
BLANK = "▁"

SEEDS = 1_000_000
"""Substrings to begin with: SentencePiece's seed_sentencepiece_size."""
MOST_WORDS = 400_000
"""Distinct words that training looks at, the most frequent ones: so it needs 1 GB at most."""
SUB_ITERATIONS = 2
SHRINKING = 0.75
"""SentencePiece's num_sub_iterations and shrinking_factor."""
SPARE = 1.1
"""Pieces, as a multiple of those wanted, at which shrinking ends (SentencePiece)."""
FEWEST_USES = 0.5
"""A piece used less often, in expectation, goes (SentencePiece)."""
LEAST_WEIGHT = 0.01
"""The weight, in uses, of a character that hardly occurs outside longer pieces: characters stay."""
NEVER = -1000.0
"""Score of special tokens and bytes: text that spells one is always cut otherwise."""


def train_unigram(
    counts: Mapping[str, int], vocabulary_size: int, special_tokens: Sequence[str]
) -> Tokenizer:
    """Train a tokenizer of exactly `vocabulary_size` tokens; `special_tokens` hold `UNKNOWN`.

    Ids: the special tokens, the 256 bytes, the pieces from the likeliest on. The result does not
    depend on the order of `counts`. Raises `DataError` when the size is too small for bytes and
    characters or more than the pieces support.
    """
    characters, words = _words(counts)
    reserved = len(special_tokens) + BYTES
    if vocabulary_size < reserved + len(characters):
        raise DataError(
            f"vocabulary_size {vocabulary_size} is too small for {BYTES} bytes and the "
            f"{len(special_tokens)} special tokens and {len(characters)} characters of this "
            "text: raise it, or use byte_bpe, which needs no characters"
        )
    learned = _learn(characters, words, vocabulary_size - reserved)
    require_supported(reserved + len(learned), vocabulary_size)
    scores = [(piece, round(math.log(share), 6)) for piece, share in learned]
    return _assemble(scores, special_tokens)


def _words(counts: Mapping[str, int]) -> tuple[list[str], dict[str, int]]:
    """The characters to cover, and the words made of them, longest first.

    Words are cut at characters that are not covered. A single character of a script without
    spaces is counted in the parts of its run already (see `pieces.training_pieces`). Each
    character is one word more, so that each is there however rare its words are.
    """
    spelled: Counter[str] = Counter()
    for piece, count in counts.items():
        if count > 0 and len(piece) <= LONGEST_WORD:
            spelled[piece.replace(" ", BLANK)] += count
    characters = covered_characters(spelled)
    apart = {ord(character): "\0" for character in set().union(*spelled) - {*characters}}
    words = Counter(characters)
    for word, count in spelled.items():
        if len(word) > 1 or not is_unspaced(word):
            for part in filter(None, word.translate(apart).split("\0")):
                words[part] += count
    most = sorted(words, key=lambda word: (len(word) > 1, -words[word], word))[:MOST_WORDS]
    return characters, {word: words[word] for word in sorted(most, key=lambda w: (-len(w), w))}


def _learn(characters: list[str], words: Mapping[str, int], wanted: int) -> list[tuple[str, float]]:
    """At most `wanted` pieces with their probabilities, likeliest first."""
    if not words:
        return []
    code = {character: number for number, character in enumerate(characters)}
    table = np.zeros((len(words), max(map(len, words))), np.int64)
    for row, word in enumerate(words):
        table[row, : len(word)] = [code[character] for character in word]
    lengths = np.array([len(word) for word in words])
    counts = np.array([float(count) for count in words.values()])
    pieces = Candidates(Words(table, lengths), counts, len(characters), SEEDS)
    probability = _probability(pieces.weight)
    while True:
        for _ in range(SUB_ITERATIONS):
            uses = pieces.lattice.expected(probability, counts)
            kept = pieces.single | (uses >= FEWEST_USES)
            if kept.sum() < wanted:
                kept |= _largest(uses, wanted)
            pieces.keep(kept)
            uses = uses[kept]
            probability = _probability(np.maximum(uses - 0.5, LEAST_WEIGHT))
        if len(uses) <= SPARE * wanted:
            break
        size = max(int(SPARE * wanted), int(SHRINKING * len(uses)))  # all characters fit
        kept = _most_needed(pieces, probability, uses, size)
        pieces.keep(kept)
        probability = probability[kept]
    # All characters, then the likeliest pieces.
    order = np.lexsort((-probability, ~pieces.single))[:wanted]
    texts = ["".join(characters[c] for c in pieces.spelling(number)) for number in order]
    share = _probability(probability[order]).tolist()
    return sorted(zip(texts, share, strict=True), key=lambda item: (-item[1], item[0]))


def _probability(weight: Floats) -> Floats:
    return weight / math.fsum(weight)


def _most_needed(
    pieces: Candidates, probability: Floats, uses: Floats, size: int
) -> NDArray[np.bool_]:
    """Which `size` pieces, (P,), to keep: all characters, and those whose loss would cost most.

    As in SentencePiece, the cost of a piece is what the log-likelihood loses when all its uses go
    to the pieces of the likeliest other way to cut it. Logarithms are rounded to 9 digits, so that
    machines that differ in the last bit of one still order the pieces alike.
    """
    cuts, parts = pieces.as_words().best_cuts(probability)
    total = math.fsum(uses)
    cost = _log(uses) - _log(np.array([total]))
    after = _log(total + uses * (parts - 1))
    for part in cuts:
        cost -= np.where(part >= 0, _log(uses[part] + uses) - after, 0.0)
    cost = np.where(pieces.single, np.inf, uses * cost)
    return _largest(cost, size)


def _largest(values: Floats, number: int) -> NDArray[np.bool_]:
    """Which are the `number` largest; of equal values the first are taken."""
    taken = np.zeros(len(values), bool)
    taken[np.argsort(-values, kind="stable")[:number]] = True
    return taken


def _log(values: Floats) -> Floats:
    logarithms: Floats = np.log(np.maximum(values, 1e-300))
    return logarithms.round(9)


def _assemble(scores: Sequence[tuple[str, float]], special_tokens: Sequence[str]) -> Tokenizer:
    reserved = [*special_tokens, *(f"<0x{byte:02X}>" for byte in range(BYTES))]
    tokenizer = Tokenizer(
        models.Unigram(
            vocab=[*((token, NEVER) for token in reserved), *scores],
            unk_id=reserved.index(UNKNOWN),
            byte_fallback=True,
        )
    )
    blanks = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme="never", split=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split_pattern(), blanks])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in special_tokens]
    )
    return tokenizer
