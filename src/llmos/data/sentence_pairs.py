"""Pairs of segments for BERT's next-sentence prediction, drawn anew in each epoch.

After Devlin et al. (arXiv 1810.04805, A.2) and google-research/bert, create_pretraining_data.py.
Three things differ. A pair needs two sentences of a document, where that program gives a lone last
one a random partner; so half of the pairs are random whatever the text. A sentence longer than half
a row is read in pieces, where that program cuts off its ends. One row in ten is short, where there
all rows of one document in ten are: here a document may be a book. B rows, T places.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmos.data.batches import Batch
from llmos.errors import DataError

Integers = npt.NDArray[np.int64]

SHORT = 0.1
"""Share of the rows that are made shorter than they could be, as texts are in use later."""
_BLOCK = 4096


class Sentences(NamedTuple):
    """A document's tokens, (n,), and how many of them each sentence has, (sentences,); none 0."""

    tokens: npt.NDArray[np.uint32]
    sizes: Integers


class Marks(NamedTuple):
    """The ids of the tokens around and between segments: [CLS] a [SEP] b [SEP] [PAD] ..."""

    begin: int
    separator: int
    pad: int


class Pairs(NamedTuple):
    """P pairs of segments, each a stretch of the tokens of all documents.

    start, size: (P, 2), of the first and the second segment; random: (P,), 1 where the second one
    is from another document, 0 where it follows the first one.
    """

    start: Integers
    size: Integers
    random: Integers


class SentencePairs:
    """Rows of two segments, the second of which follows the first or is from another document.

    Each of the `documents` has a sentence. `companions[d]` are the documents in their order, d
    among them, of which one other than d, all being equally likely, gives the second segment of a
    random pair; a document that has no companion gives it itself. `length` is that of the longest
    row, 5 or more. Raises `DataError` where no document has two sentences.

    An epoch goes through all documents, in pairs that depend on (seed, epoch) alone; each epoch is
    as long as the first, so that the epoch of a step is known without drawing those before.
    """

    def __init__(
        self,
        documents: Sequence[Sentences],
        companions: Sequence[Integers],
        length: int,
        seed: int,
        marks: Marks,
    ) -> None:
        self.seed = seed
        self.marks = marks
        self.room = length - 3
        pieces = [_in_pieces(document.sizes, self.room // 2) for document in documents]
        self._tokens = np.concatenate([document.tokens for document in documents])
        # Where each sentence starts in the tokens, and which sentence each document starts with.
        self._starts = np.cumsum(np.concatenate([[0], *pieces]), dtype=np.int64)
        self._first = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        self._companions = _Companions(companions)
        self._epoch = 0
        self._pairs = self._draw(0)
        self.rows = len(self._pairs.random)
        if not self.rows:
            raise DataError(
                "no document has two sentences, so nothing follows: add longer texts, or write "
                "next_sentence = false in [objective]"
            )

    def pairs(self, epoch: int) -> Pairs:
        """All pairs of an epoch, in the order in which its rows hold them."""
        if epoch != self._epoch:
            self._pairs = self._draw(epoch)
            self._epoch = epoch
        return self._pairs

    def batch(self, step: int, batch_size: int) -> Batch:
        """The batch of a step: input_ids, token_type_ids (1 in the second segment and its [SEP])
        and attention_mask (0 at padding), (B, T) with T as long as the longest row needs, and
        next_sentence_label (B,), 1 where the second segment is random.
        """
        rows = step * batch_size + np.arange(batch_size)
        epochs, places = np.divmod(rows, self.rows)
        parts = []
        for epoch in np.unique(epochs):
            pairs = self.pairs(int(epoch))
            chosen = places[epochs == epoch] % len(pairs.random)
            parts.append(Pairs(*(array[chosen] for array in pairs)))
        return self.fill(Pairs(*map(np.concatenate, zip(*parts, strict=True))))

    def fill(self, pairs: Pairs) -> Batch:
        """These pairs as rows (see `batch`)."""
        width = int(pairs.size.sum(axis=1).max()) + 3
        place = np.arange(width)
        first, second = pairs.size[:, :1], pairs.size[:, 1:]  # (B, 1)
        end = first + second + 2
        is_second = place > first + 1
        # Where in all tokens each place looks; what the marks look at does not count.
        source = np.where(
            is_second, pairs.start[:, 1:] + place - first - 2, pairs.start[:, :1] + place - 1
        )
        ids = self._tokens[np.clip(source, 0, len(self._tokens) - 1)].astype(np.int64)
        ids[:, 0] = self.marks.begin
        ids[(place == first + 1) | (place == end)] = self.marks.separator
        ids[place > end] = self.marks.pad
        return {
            "input_ids": ids,
            "token_type_ids": (is_second & (place <= end)).astype(np.int64),
            "attention_mask": (place <= end).astype(np.int64),
            "next_sentence_label": pairs.random,
        }

    def _draw(self, epoch: int) -> Pairs:
        random = np.random.Generator(np.random.Philox(key=[self.seed, epoch]))
        numbers = chain.from_iterable(self._chunks(random))
        chunks = np.fromiter(numbers, np.int64).reshape(-1, 6)
        document, at, second, stop, target, is_random = chunks[random.permutation(len(chunks))].T
        starts = self._starts
        a_start, a_size = starts[at], starts[second] - starts[at]
        # A random partner begins at any sentence and is as long as the row still has room for.
        other = self._companions.draw(document, random)
        begin, end = self._first[other], self._first[other + 1]
        sentence = begin + (random.random(len(chunks)) * (end - begin)).astype(np.int64)
        enough = np.searchsorted(starts, starts[sentence] + target - a_size)
        b_first = np.where(is_random, sentence, second)
        b_stop = np.where(is_random, np.clip(enough, sentence + 1, end), stop)
        b_start, b_size = starts[b_first], starts[b_stop] - starts[b_first]
        size = fit(a_size, b_size, self.room)
        # What is cut off goes from the front or the back, token by token.
        too_long = np.stack([a_size, b_size], axis=1) - size
        start = np.stack([a_start, b_start], axis=1) + random.binomial(too_long, 0.5)
        return Pairs(start, size, is_random)

    def _chunks(self, random: np.random.Generator) -> Iterator[tuple[int, ...]]:
        """Of each pair: document, first sentence of a, first behind a, first behind a next b,
        tokens wanted in all, whether b is random. Sentences that b would have had follow anew.
        """
        starts, first = self._starts.data, self._first.tolist()
        draws = _uniform(random)
        for document, (at, end) in enumerate(pairwise(first)):
            while end - at >= 2:
                short, where, coin = next(draws)
                target = self.room
                if short < SHORT:
                    target = 2 + int(short / SHORT * (self.room - 1))
                enough = bisect_left(starts, starts[at] + target, at + 1, end)
                stop = max(at + 2, enough)
                second = at + 1 + int(where * (stop - at - 1))
                yield document, at, second, stop, target, coin < 0.5
                at = second if coin < 0.5 else stop


class _Companions:
    """The other documents that each document's random partners are from."""

    def __init__(self, companions: Sequence[Integers]) -> None:
        starts: dict[int, int] = {}
        groups: list[Integers] = []
        total = 0
        for group in companions:
            if id(group) not in starts:
                starts[id(group)] = total
                groups.append(group)
                total += len(group)
        self._members = np.concatenate(groups) if groups else np.empty(0, np.int64)
        self._start = np.array([starts[id(group)] for group in companions], np.int64)
        self._size = np.array([len(group) for group in companions], np.int64)
        own = [int(np.searchsorted(group, d)) for d, group in enumerate(companions)]
        self._own = np.array(own, np.int64)

    def draw(self, document: Integers, random: np.random.Generator) -> Integers:
        """For each document one of its companions other than itself, if it has one."""
        size = self._size[document]
        steps = 1 + (random.random(len(document)) * (size - 1)).astype(np.int64)
        place = (self._own[document] + steps) % size
        return np.asarray(self._members[self._start[document] + place], np.int64)


def _in_pieces(sizes: Integers, longest: int) -> Integers:
    """The sizes, those above `longest` as several of about equal size."""
    pieces = -(-sizes // longest)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    size, pieces = np.repeat(sizes, pieces), np.repeat(pieces, pieces)
    return np.asarray(size * (number + 1) // pieces - size * number // pieces, np.int64)


def _uniform(random: np.random.Generator) -> Iterator[list[float]]:
    while True:
        yield from random.random((_BLOCK, 3)).tolist()


def fit(a: Integers, b: Integers, room: int) -> Integers:
    """The sizes, (P, 2), that are left when tokens are taken from the longer segment (the second
    where they are equal) until `room` is enough.
    """
    a_left = np.where(a <= b, np.minimum(a, room - room // 2), room - np.minimum(b, room // 2))
    fits = a + b <= room
    return np.stack([np.where(fits, a, a_left), np.where(fits, b, room - a_left)], axis=1)
