"""How well a language model predicts a text: perplexity, and bits per byte.

Perplexity depends on the tokenizer, because it is per token. Bits per byte does not, so it compares
models whose tokenizers differ (Gao et al. 2020, "The Pile", arXiv 2101.00027, section 3.1).
"""

from __future__ import annotations

import math

from llmos.errors import UsageError


def bits_per_byte(nll_nats: float, bytes: int) -> float:
    """Bits per UTF-8 byte of a text whose negative log-likelihoods sum to `nll_nats`.

    Raises `UsageError` when there are no bytes.
    """
    if bytes <= 0:
        raise UsageError(f"bits per byte of {bytes} bytes: score a text that is not empty")
    return nll_nats / (math.log(2) * bytes)


def perplexity(nll_nats: float, tokens: int) -> float:
    """exp of the mean negative log-likelihood per predicted token; infinite where that overflows.

    Raises `UsageError` when there are no tokens.
    """
    if tokens <= 0:
        raise UsageError(f"perplexity of {tokens} tokens: score a text that is not empty")
    try:
        return math.exp(nll_nats / tokens)
    except OverflowError:
        return math.inf
