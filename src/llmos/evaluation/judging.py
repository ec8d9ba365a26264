"""What each item adds to the figures of a benchmark, from what a model answered."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from llmos.evaluation.items import Answer, Item
from llmos.evaluation.quantities import quantities
from llmos.evaluation.suites import Benchmark
from llmos.metrics.bootstrap import Floats
from llmos.metrics.pass_at_k import PassAtK
from llmos.metrics.perplexity import BitsPerByte, Perplexity


def rows(
    benchmark: Benchmark, items: Sequence[Item], answers: Sequence[Answer]
) -> dict[str, Floats]:
    """What each item adds, (N, K), by the name of the metric."""
    found: dict[str, Floats] = {}
    numbers = np.array([one.numbers for one in answers], np.float64).reshape(len(answers), -1)
    for name, quantity in quantities(benchmark).items():
        if isinstance(quantity, Perplexity):
            found[name] = quantity.rows(numbers[:, 0], numbers[:, 1])
        elif isinstance(quantity, BitsPerByte):
            found[name] = quantity.rows(numbers[:, 0], numbers[:, 2])
        elif isinstance(quantity, PassAtK):
            written, passed = numbers.astype(int).T.tolist()
            found[name] = quantity.rows(written, passed)
        else:
            texts = [extracted(benchmark, one.text) for one in answers]
            wanted = [[extracted(benchmark, text) for text in one.references] for one in items]
            found[name] = quantity.rows(texts, wanted)  # type: ignore[attr-defined]
    return found


def extracted(benchmark: Benchmark, text: str) -> str:
    """The answer within a text (see `Benchmark`): "" where there is none."""
    if benchmark.extract:
        found = list(re.finditer(benchmark.extract, text))
        text = "" if not found else found[-1][1 if found[-1].re.groups else 0]
    return text.translate({ord(c): None for c in benchmark.ignore}).strip()
