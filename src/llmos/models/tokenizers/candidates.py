"""The pieces of a Unigram tokenizer that are still in the running while it is trained."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmos.models.tokenizers.lattice import Floats, Integers, Lattice, Trie, Words


class Candidates:
    """All characters of `words` and their frequent substrings, longest first; P of them.

    `counts`, (W,), says how often each word occurs. At first `seeds` pieces are kept: those with
    the largest frequency x length, which is their first `weight`, (P,), as in SentencePiece.
    """

    def __init__(self, words: Words, counts: Floats, alphabet: int, seeds: int) -> None:
        self._trie = Trie(words, counts, alphabet)
        frequency = self._trie.frequency
        weight = np.concatenate([f * (level + 1) for level, f in enumerate(frequency)])
        single = np.arange(len(weight)) < len(frequency[0])
        order = np.lexsort((-weight, ~single))[: max(seeds, len(frequency[0]))]
        chosen = np.zeros(len(weight), bool)
        chosen[order] = True
        borders = np.cumsum([len(level) for level in frequency])[:-1]
        self._piece_of: list[Integers] = []
        width = len(frequency)
        codes, lengths, weights = [], [], []
        number = int(chosen.sum())
        for level, taken in enumerate(np.split(chosen, borders)):
            nodes = np.flatnonzero(taken)
            number -= len(nodes)  # longest first
            table = np.full(len(taken), -1)
            table[nodes] = number + np.arange(len(nodes))
            self._piece_of.append(table)
            spelled = np.zeros((len(nodes), width), np.int64)
            spelled[:, : level + 1] = self._trie.spell(level, nodes)
            codes.append(spelled)
            lengths.append(np.full(len(nodes), level + 1))
            weights.append(np.split(weight, borders)[level][nodes])
        self._spelled = Words(np.concatenate(codes[::-1]), np.concatenate(lengths[::-1]))
        self.weight: Floats = np.concatenate(weights[::-1])
        self.lattice = Lattice(words, self._trie, self._piece_of)

    @property
    def single(self) -> NDArray[np.bool_]:
        """Which pieces are one character, (P,)."""
        single: NDArray[np.bool_] = self._spelled.lengths == 1
        return single

    def spelling(self, piece: int) -> list[int]:
        """The numbers of a piece's characters."""
        codes: list[int] = self._spelled.codes[piece, : self._spelled.lengths[piece]].tolist()
        return codes

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Give up the pieces that are not `kept`, (P,); the others move up."""
        number = np.where(kept, np.cumsum(kept) - 1, -1)
        self._piece_of = [np.append(number, -1)[table] for table in self._piece_of]
        self._spelled = Words(self._spelled.codes[kept], self._spelled.lengths[kept])
        self.lattice.keep(number)

    def as_words(self) -> Lattice:
        """The pieces as words that are themselves cut into pieces."""
        return Lattice(self._spelled, self._trie, self._piece_of)
