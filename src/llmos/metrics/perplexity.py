"""How well a language model predicts a text: perplexity, and bits per byte.

Perplexity depends on the tokenizer, because it is per token. Bits per byte does not, so it compares
models whose tokenizers differ (Gao et al. 2020, "The Pile", arXiv 2101.00027, section 3.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from llmos.errors import UsageError
from llmos.metrics.bootstrap import Floats


def bits_per_byte(nll_nats: float, bytes: float) -> float:
    """Bits per UTF-8 byte of a text whose negative log-likelihoods sum to `nll_nats`.

    Raises `UsageError` when there are no bytes.
    """
    if bytes <= 0:
        raise UsageError(f"bits per byte of {bytes} bytes: score a text that is not empty")
    return nll_nats / (math.log(2) * bytes)


def perplexity(nll_nats: float, tokens: float) -> float:
    """exp of the mean negative log-likelihood per predicted token; infinite where that overflows.

    Raises `UsageError` when there are no tokens.
    """
    if tokens <= 0:
        raise UsageError(f"perplexity of {tokens} tokens: score a text that is not empty")
    try:
        return math.exp(nll_nats / tokens)
    except OverflowError:
        return math.inf


@dataclass(frozen=True)
class Perplexity:
    """The perplexity of texts. Rows: nats, tokens. `settings` name tokenizer, window and stride.

    Under the name "fluency" it is that of what a model wrote, by another one, the judge: then
    `settings` name the judge.
    """

    settings: str
    name: str = "perplexity"

    higher_is_better = False
    is_share = False
    bounds = (0.0, math.inf)

    def rows(self, nll_nats: npt.ArrayLike, tokens: npt.ArrayLike) -> Floats:
        """The negative log-likelihood and the number of tokens of each text: (N,) each."""
        return _pairs(nll_nats, tokens)

    def value(self, sums: Floats) -> float:
        return perplexity(float(sums[0]), sums[1])


@dataclass(frozen=True)
class BitsPerByte:
    """The bits per UTF-8 byte of texts. Rows: nats, bytes. `settings` name window and stride."""

    settings: str

    name = "bits per byte"
    higher_is_better = False
    is_share = False
    bounds = (0.0, math.inf)

    def rows(self, nll_nats: npt.ArrayLike, bytes: npt.ArrayLike) -> Floats:
        """The negative log-likelihood and the size of each text: (N,) each."""
        return _pairs(nll_nats, bytes)

    def value(self, sums: Floats) -> float:
        return bits_per_byte(float(sums[0]), sums[1])


def fluency(judge: str) -> Perplexity:
    """The perplexity of written texts under a named judge; lower is more fluent.

    Low as well for texts that repeat themselves: say `repetition-4` beside it.
    """
    return Perplexity(f"judge:{judge}", "fluency")


def _pairs(nll_nats: npt.ArrayLike, sizes: npt.ArrayLike) -> Floats:
    nll, size = np.asarray(nll_nats, np.float64), np.asarray(sizes, np.float64)
    if nll.shape != size.shape or nll.ndim != 1:
        raise UsageError(f"{nll.shape} scores and {size.shape} sizes: give one of each for a text")
    return np.stack([nll, size], axis=1)
