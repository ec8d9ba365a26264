"""Noise on a member's piece counts: differential privacy for the documents behind them.

What is claimed: the counts that leave a member are (epsilon, delta)-differentially private where
two data sets are neighbours if one has a document more than the other, a document being what
`Material` divides (after `data.part_bytes` has cut it). Towards everybody, the coordinator too.

How: each document counts for at most `pieces` distinct pieces, each once. So one document moves
all counts together by at most `pieces`, and to each count that is not 0 discrete Laplace noise of
scale pieces / epsilon is added (Ghosh, Roughgarden and Sundararajan 2009, arXiv:0811.2841).
Which pieces exist is secret as well: a piece leaves only if its noisy count reaches a threshold
that one document alone passes with probability delta at most (Korolova et al. 2009; Wilson et al.
2020, arXiv:1909.01917, theorem 1).

What is not claimed: nothing for a person with many documents (divide epsilon by their number), for
what else a run sends (weights, scores, sizes on the card), or for counts that are drawn twice: a
member that counts again spends epsilon again. The noise is from the operating system's random
numbers, never from the recipe's seed: what others can compute again protects nothing. A joint
tokenizer with noise is therefore not reproducible by design; its counts are on record.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from random import Random, SystemRandom

from llmos.models.pieces import split_text, training_pieces
from llmos.recipe import TokenizerSection


@dataclass(frozen=True)
class Noise:
    """The mechanism: `epsilon` and `delta` per document, of which at most `pieces` count."""

    epsilon: float
    delta: float
    pieces: int

    @classmethod
    def of(cls, section: TokenizerSection) -> Noise | None:
        """What a recipe asks for; None where it asks for no noise."""
        if not section.noise_epsilon:
            return None
        return cls(section.noise_epsilon, section.noise_delta, section.noise_pieces)

    @property
    def rate(self) -> Fraction:
        """Noise x comes with probability proportional to exp(-rate |x|), exactly."""
        return Fraction(self.epsilon) / self.pieces

    @property
    def threshold(self) -> int:
        """The least noisy count that leaves: one document's count of 1 reaches it, for any of its
        pieces, with probability `delta` at most.

        P(1 + noise >= t) = exp(-rate (t - 1)) / (1 + exp(-rate)) for t >= 2; times `pieces`.
        """
        rate = float(self.rate)
        fold = self.pieces / (self.delta * (1 + math.exp(-rate)))
        return 1 + max(1, math.ceil(math.log(fold) / rate))

    def add(self, counts: Mapping[str, int], random: Random | None = None) -> dict[str, int]:
        """The noisy counts, sorted, not yet cut at a threshold; of counts of `count_bounded`.

        `random` is for tests; without it the operating system's random numbers are used.
        """
        source = random or SystemRandom()
        return {
            piece: count + discrete_laplace(self.rate, source)
            for piece, count in sorted(counts.items())
            if count > 0
        }


def count_bounded(texts: Iterable[str], most: int) -> Counter[str]:
    """In how many texts each training piece occurs, where a text names at most `most` pieces.

    Of a text with more, those are taken whose hash together with the text's is smallest: a choice
    as if at random that no other text has a part in.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        pieces = {part for piece in set(split_text(text)) for part in training_pieces(piece)}
        if len(pieces) > most:
            own = hashlib.sha256(text.encode())
            pieces = set(sorted(pieces, key=lambda piece: _mixed(own, piece))[:most])
        counts.update(pieces)
    return counts


def _mixed(own: hashlib._Hash, piece: str) -> bytes:
    digest = own.copy()
    digest.update(piece.encode())
    return digest.digest()


def discrete_laplace(rate: Fraction, random: Random) -> int:
    """A whole number x with probability (1 - a) / (1 + a) a^|x|, where a = exp(-rate), exactly.

    Canonne, Kamath and Steinke (2020, arXiv:2004.00010), algorithm 2. No floating-point numbers,
    whose gaps would give small counts away (Mironov 2012).
    """
    scale, step = rate.denominator, rate.numerator
    while True:
        low = random.randrange(scale)
        if not _bernoulli_exp(low, scale, random):
            continue
        high = 0
        while _bernoulli_exp(1, 1, random):
            high += 1
        size = (low + scale * high) // step
        negative = random.getrandbits(1)
        if not (negative and size == 0):
            return -size if negative else size


def _bernoulli_exp(numerator: int, denominator: int, random: Random) -> bool:
    """True with probability exp(-numerator / denominator), at most 1: algorithm 1 there."""
    k = 1
    while random.randrange(denominator * k) < numerator:
        k += 1
    return k % 2 == 1
