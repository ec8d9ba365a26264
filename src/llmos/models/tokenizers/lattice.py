"""All the ways to cut many words into pieces, at once: the sums behind a Unigram tokenizer.

Shape legend: W words, longest first; C characters of the longest; P pieces.

Of the words with at least o characters, a prefix of all W as they are sorted, `lattice.pieces`
says for each offset o and length l which piece (-1: none) its characters o to o+l spell. So each
sum over all words is a few array operations on prefixes, with + - x / alone: the same bits on
every machine. Probabilities are scaled by `SCALE` for each character, against underflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

LONGEST_PIECE = 16
"""Characters of the longest piece: SentencePiece's max_sentencepiece_length."""
SCALE = 2.0**20
"""A power of two, so that scaling changes no digit; with 32 characters it stays below 2^640."""


@dataclass(frozen=True)
class Words:
    """Words as numbers of characters, (W, C), longest first; beyond the end they are 0."""

    codes: Integers
    lengths: Integers

    def at_least(self, length: int) -> int:
        """How many words have at least `length` characters."""
        return int(np.searchsorted(-self.lengths, -length, side="right"))


class Trie:
    """Numbers for the characters, and for all substrings that occur at least twice.

    `levels[l]` are the sorted keys (number of the prefix in its level x alphabet + character) of
    substrings of l+1 characters, whose frequencies, in the same order, are `frequency[l]`.
    """

    def __init__(self, words: Words, counts: Floats, alphabet: int) -> None:
        self.alphabet = alphabet
        self.levels: list[Integers] = []
        self.frequency: list[Floats] = []
        width = words.codes.shape[1]
        keys = [words.codes[: words.at_least(o + 1), o] for o in range(width)]
        for length in range(1, min(LONGEST_PIECE, width) + 1):
            weights = np.concatenate([counts[: len(found)] for found in keys])
            level, where = np.unique(np.concatenate(keys), return_inverse=True)
            frequency = np.bincount(where, weights, minlength=len(level))
            kept = (level >= 0) & ((frequency >= 2) | (length == 1))
            if not kept.any():
                break
            self.levels.append(level[kept])
            self.frequency.append(frequency[kept].astype(np.float64))
            number = np.where(kept, np.cumsum(kept) - 1, -1)[where]
            nodes = np.split(number, np.cumsum([len(found) for found in keys])[:-1])
            keys = [
                _extend(nodes[o], words, o, length + 1, alphabet) for o in range(width - length)
            ]

    def follow(self, words: Words) -> Iterator[list[Integers]]:
        """For each length from 1 on, and each offset, the node of each word that is long enough;
        -1: none."""
        width = words.codes.shape[1]
        keys = [words.codes[: words.at_least(o + 1), o] for o in range(width)]
        for length, level in enumerate(self.levels[:width], start=1):
            nodes = [_look_up(level, found) for found in keys]
            yield nodes
            keys = [
                _extend(nodes[o], words, o, length + 1, self.alphabet)
                for o in range(width - length)
            ]

    def spell(self, level: int, nodes: Integers) -> Integers:
        """The characters of nodes of a level, (nodes, level + 1)."""
        codes = np.empty((len(nodes), level + 1), np.int64)
        for at in range(level, -1, -1):
            nodes, codes[:, at] = np.divmod(self.levels[at][nodes], self.alphabet)
        return codes


def _extend(nodes: Integers, words: Words, offset: int, length: int, alphabet: int) -> Integers:
    """Keys of the substrings at `offset` of `length`, whose parents are `nodes`; -1: none."""
    enough = words.at_least(offset + length)
    parents = nodes[:enough]
    keys: Integers = parents * alphabet + words.codes[:enough, offset + length - 1]
    return np.where(parents >= 0, keys, -1)


def _look_up(level: Integers, keys: Integers) -> Integers:
    at = np.minimum(np.searchsorted(level, keys), len(level) - 1)
    return np.where(level[at] == keys, at, -1)


class Lattice:
    """The words, and which piece each of their substrings is.

    `piece_of[l][node]` is the piece of a node of the trie, -1 where it is none.
    """

    def __init__(self, words: Words, trie: Trie, piece_of: Sequence[Integers]) -> None:
        self.words = words
        self.pieces = [
            [np.append(table, -1).astype(np.int32)[nodes] for nodes in level]
            for table, level in zip(piece_of, trie.follow(words), strict=False)
        ]

    def keep(self, number: Integers) -> None:
        """Renumber the pieces; `number`, (P,), is -1 for a piece that is given up."""
        table = np.append(number, -1).astype(np.int32)
        self.pieces = [[table[pieces] for pieces in level] for level in self.pieces]

    def expected(self, probability: Floats, counts: Floats) -> Floats:
        """How often each piece is used, (P,), in expectation over all ways to cut each word.

        `counts`, (W,), is how often each word occurs. The E step of Kudo (2018, arXiv:1804.10959),
        by the forward-backward sums.
        """
        scaled = self._scaled(probability)
        width, lengths = self.words.codes.shape[1], self.words.lengths
        forward = [np.zeros(self.words.at_least(o)) for o in range(width + 1)]
        forward[0][:] = 1
        backward = [(lengths[: len(f)] == o).astype(np.float64) for o, f in enumerate(forward)]
        for offset in range(width):
            for length, table in enumerate(scaled, start=1):
                if offset + length <= width:
                    step = table[self.pieces[length - 1][offset]]
                    forward[offset + length] += forward[offset][: len(step)] * step
        for offset in reversed(range(width)):
            for length, table in enumerate(scaled, start=1):
                if offset + length <= width:
                    step = table[self.pieces[length - 1][offset]]
                    backward[offset][: len(step)] += backward[offset + length] * step
        share = counts / backward[0]
        used = np.zeros(len(probability))
        for length, (table, level) in enumerate(zip(scaled, self.pieces, strict=True), start=1):
            paths = [
                share[: len(p)] * forward[o][: len(p)] * table[p] * backward[o + length]
                for o, p in enumerate(level)
            ]
            # The first bin collects what is no piece.
            flat = np.concatenate(level) + 1
            used += np.bincount(flat, np.concatenate(paths), minlength=len(used) + 1)[1:]
        return used

    def best_cuts(self, probability: Floats) -> tuple[list[Integers], Integers]:
        """The likeliest way to cut each word into two pieces or more.

        Returns, for the last piece, the one before and so on, the piece of each word (-1: there is
        none so far in front), and how many pieces there are, (W,); 0 where a word cannot be cut.
        """
        scaled = self._scaled(probability)
        (number, width), lengths = self.words.codes.shape, self.words.lengths
        best = np.zeros((width + 1, number))
        best[0] = 1
        last = np.zeros((width + 1, number), np.int64)  # length of the last piece
        piece = np.full((width + 1, number), -1, np.int64)
        for end in range(1, width + 1):
            for length, table in enumerate(scaled[:end], start=1):
                pieces = self.pieces[length - 1][end - length]
                reached = best[end - length, : len(pieces)] * table[pieces]
                if length == end:  # not the word itself
                    reached = np.where(lengths[: len(pieces)] == end, 0, reached)
                better = np.flatnonzero(reached > best[end, : len(pieces)])
                best[end, better] = reached[better]
                last[end, better] = length
                piece[end, better] = pieces[better]
        every = np.arange(number)
        at = lengths.copy()
        cuts: list[Integers] = []
        while (at > 0).any():
            cuts.append(np.where(at > 0, piece[at, every], -1))
            at = np.where(last[at, every] > 0, at - last[at, every], 0)
        parts = np.zeros(number, np.int64)
        for cut in cuts:
            parts += cut >= 0
        return cuts, parts

    def _scaled(self, probability: Floats) -> list[Floats]:
        """For each length the scaled probabilities, with a 0 at -1 for what is no piece."""
        padded = np.append(probability, 0.0)
        return [padded * SCALE**length for length in range(1, len(self.pieces) + 1)]
