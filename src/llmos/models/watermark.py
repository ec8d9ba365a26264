"""A watermark in written text, and whether a text has it.

The green list of Kirchenbauer et al. 2023 (arXiv 2301.10226): the token before draws a quarter of
the vocabulary, which is made likelier. It cannot be seen, but counted: a text written without it
has a quarter of green tokens. By transformers' own processor, with its defaults, so that its
detector finds it as well. It proves little: other words, a translation or another key undo it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from transformers import WatermarkLogitsProcessor

from llmos.errors import UsageError

RATIO = 0.25
"""The share of green tokens."""
BIAS = 2.0
"""What is added to their logits."""
KEY = 15485863
FEWEST = 16
"""Tokens below which nothing is said: even if all were green, chance would do it too often."""


@dataclass(frozen=True)
class Detection:
    """tokens: those that count, each pair of neighbours once; green: of these; z: the score."""

    tokens: int
    green: int
    z: float
    p: float


@lru_cache(maxsize=4)
def watermark(vocabulary_size: int) -> WatermarkLogitsProcessor:
    """What adds the watermark to logits (R, V), given the ids before, (R, T)."""
    return WatermarkLogitsProcessor(
        vocab_size=vocabulary_size,
        device="cpu",
        greenlist_ratio=RATIO,
        bias=BIAS,
        hashing_key=KEY,
        seeding_scheme="lefthash",
        context_width=1,
    )


def detect(ids: Sequence[int], vocabulary_size: int) -> Detection:
    """How many of `ids` are green, as z-score and one-sided p-value (equation 3).

    Each pair of neighbours counts once, or a text that repeats itself would seem marked. Raises
    `UsageError` for too short a text.
    """
    pairs = list(dict.fromkeys(pairwise(ids)))
    if len(pairs) < FEWEST:
        raise UsageError(
            f"the text has {len(pairs)} pairs of tokens that count, too few to tell: give a text "
            f"of more than {FEWEST}"
        )
    processor = watermark(vocabulary_size)
    lists = {left: _green(processor, left) for left, _ in pairs}
    green = sum(right in lists[left] for left, right in pairs)
    count = len(pairs)
    z = (green - RATIO * count) / math.sqrt(count * RATIO * (1 - RATIO))
    return Detection(count, green, z, math.erfc(z / math.sqrt(2)) / 2)


def _green(processor: WatermarkLogitsProcessor, left: int) -> frozenset[int]:
    before: Any = torch.tensor([left])
    return frozenset(processor._get_greenlist_ids(before).tolist())
