from __future__ import annotations

import math

import pytest
import torch

from llmos.errors import UsageError
from llmos.metrics.perplexity import BitsPerByte, Perplexity, bits_per_byte, fluency, perplexity
from llmos.metrics.score import add, score_rows


def test_a_uniform_model_has_its_vocabulary_as_perplexity() -> None:
    text = "Grüße aus Köln"
    size = len(text.encode())
    nll = size * math.log(256)  # a uniform model over bytes
    assert perplexity(nll, size) == pytest.approx(256)
    assert bits_per_byte(nll, size) == pytest.approx(8)


def test_against_torchs_cross_entropy() -> None:
    logits = torch.randn(50, 300, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(50)
    total = torch.nn.functional.cross_entropy(logits, targets, reduction="sum").item()
    mean = torch.nn.functional.cross_entropy(logits, targets)
    assert perplexity(total, 50) == pytest.approx(mean.exp().item())
    assert bits_per_byte(total, 130) == pytest.approx(mean.item() * 50 / 130 / math.log(2))


def test_bits_per_byte_does_not_depend_on_the_tokens() -> None:
    assert bits_per_byte(100.0, 40) == 100 / 40 / math.log(2)
    assert bits_per_byte(0.0, 40) == 0 and perplexity(0.0, 3) == 1


def test_the_ends() -> None:
    assert perplexity(1e6, 10) == math.inf
    for wrong in (0, -1):
        with pytest.raises(UsageError, match=str(wrong)):
            bits_per_byte(1.0, wrong)
        with pytest.raises(UsageError, match=str(wrong)):
            perplexity(1.0, wrong)


def test_scores_of_texts_are_ratios_of_sums() -> None:
    nll, tokens, sizes = [30.0, 12.0, 55.0], [10, 5, 20], [40, 18, 90]
    ours = Perplexity("tokenizer:x|window:8|stride:4")
    found = score_rows(ours, ours.rows(nll, tokens))
    assert found.value == pytest.approx(math.exp(97 / 35)) and found.n == 3
    assert found.low <= found.value <= found.high and "stride:4" in found.settings
    bits = BitsPerByte("window:8")
    parts = [score_rows(bits, bits.rows(nll[a:b], sizes[a:b])) for a, b in ((0, 1), (1, 3))]
    assert add(bits, parts).value == pytest.approx(97 / 148 / math.log(2))
    judge = fluency("gpt2")
    assert (judge.name, judge.settings) == ("fluency", "judge:gpt2")
    with pytest.raises(UsageError, match=r"\(1,\) scores and \(2,\) sizes"):
        ours.rows([1.0], [1, 2])
