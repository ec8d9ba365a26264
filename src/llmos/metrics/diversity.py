"""How much texts repeat themselves and each other.

Repetition is a mean over texts and adds up like other metrics. Distinct-n and self-BLEU compare all
the texts with each other: they do not add up, have no interval (a draw with replacement repeats
texts, which is what they measure), and are comparable only for as many texts of like length.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats
from llmos.metrics.score import IsMean, Score, mean_rows
from llmos.metrics.translation import bleu
from llmos.metrics.units import words

Run = tuple[str, ...]


@dataclass(frozen=True)
class Repetition(IsMean):
    """The mean share of a text's runs of n units that it already had; 0 is best.

    seq-rep-n of Welleck et al. 2020 (arXiv 1908.04319), section 6. References are not looked at.
    """

    n: int = 4

    higher_is_better = False
    is_share = False
    bounds = (0.0, 1.0)

    @property
    def name(self) -> str:
        return f"repetition-{self.n}"

    @property
    def settings(self) -> str:
        return "units:words+characters"

    def rows(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        return mean_rows([self._share(text) for text in predictions])

    def _share(self, text: str) -> float:
        runs = _runs(words(text), self.n)
        return 1 - len(set(runs)) / len(runs) if runs else 0.0


def distinct(texts: Sequence[str], n: int = 2) -> Score:
    """The share of different ones among all runs of n units (Li et al. 2016, arXiv 1510.03055)."""
    runs = [run for text in texts for run in _runs(words(text), n)]
    if not runs:
        raise UsageError(f"distinct-{n} of texts without {n} words: give longer texts")
    return _alone(f"distinct-{n}", len(set(runs)) / len(runs), texts, "units:words+characters")


def self_bleu(texts: Sequence[str]) -> Score:
    """The mean BLEU (0 to 100) of each text against all the others; high where they are alike.

    Zhu et al. 2018 (arXiv 1802.01886), section 3.2; BLEU-4 by segment as sacrebleu computes it.
    """
    if len(texts) < 2:
        raise UsageError(f"self-BLEU of {len(texts)} texts: give two or more")
    units = [words(text) for text in texts]
    counts = [Counter(run for n in range(1, 5) for run in _runs(own, n)) for own in units]
    # The most that the others have of a run is the highest count, or the second where it is one's.
    first: Counter[Run] = Counter()
    second: Counter[Run] = Counter()
    for own in counts:
        for run, times in own.items():
            if times > first[run]:
                first[run], second[run] = times, first[run]
            else:
                second[run] = max(second[run], times)
    lengths = sorted(map(len, units))
    figures = []
    for words_, own in zip(units, counts, strict=True):
        sums = np.zeros(10)
        sums[0], sums[1] = len(words_), _nearest_other(lengths, len(words_))
        for run, times in own.items():
            others = second[run] if times == first[run] else first[run]
            sums[1 + len(run)] += min(times, others)
            sums[5 + len(run)] += times
        figures.append(bleu(sums, effective_order=True))
    return _alone("self-BLEU", math.fsum(figures) / len(figures), texts, "units:words+characters")


def _nearest_other(lengths: list[int], own: int) -> int:
    """The length nearest to `own`, rather the shorter, among sorted lengths without one `own`."""
    place = bisect_left(lengths, own)
    near = lengths[max(place - 1, 0) : place] + lengths[place + 1 : place + 2]
    return min(near, key=lambda length: (abs(length - own), length))


def _runs(units: list[str], n: int) -> list[Run]:
    return list(zip(*(units[start:] for start in range(n)), strict=False))


def _alone(name: str, value: float, texts: Sequence[str], settings: str) -> Score:
    return Score(
        name, value, -math.inf, math.inf, len(texts), settings, "none: compares all the texts"
    )
