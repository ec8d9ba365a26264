from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from sacrebleu.metrics import BLEU

from llmos.errors import UsageError
from llmos.metrics.diversity import Repetition, distinct, self_bleu
from llmos.metrics.score import add, score


def test_distinct_by_hand() -> None:
    texts = ["a b a b", "A, b!", "猫猫"]
    assert distinct(texts, 1).value == pytest.approx(3 / 8)  # a, b, 猫
    found = distinct(texts)
    assert found.value == pytest.approx(3 / 5)  # ab ba ab, ab, 猫猫
    assert math.isinf(found.low) and found.sums == () and found.n == 3
    with pytest.raises(UsageError, match="distinct-3"):
        distinct(["a b"], 3)


def test_self_bleu_is_the_mean_of_sacrebleus() -> None:
    generator = random.Random(0)
    texts = [" ".join(generator.choices("abcde", k=generator.randint(1, 15))) for _ in range(20)]
    texts += [texts[0], "x y z"]
    single = BLEU(tokenize="none", effective_order=True)
    wanted = [
        single.sentence_score(text, texts[:place] + texts[place + 1 :]).score
        for place, text in enumerate(texts)
    ]
    assert self_bleu(texts).value == pytest.approx(sum(wanted) / len(wanted))
    assert self_bleu(["one two three four"] * 3).value == pytest.approx(100)
    assert self_bleu(["a b", "", "c d"]).value == 0
    with pytest.raises(UsageError, match="1 texts"):
        self_bleu(["a"])
    with pytest.raises(UsageError, match="does not add up"):
        add(Repetition(), [replace(self_bleu(texts), metric="repetition-4")])


def test_repetition_by_hand() -> None:
    # Five runs of four, of which "a b c d" comes twice; nothing repeated; too short to have a run.
    texts = ["a b c d a b c d", "a b c d e", "a b"]
    rows = Repetition().rows(texts, [[]] * 3)
    assert rows.tolist() == [[pytest.approx(1 / 5), 1], [0, 1], [0, 1]]
    assert score(Repetition(), texts, [[]] * 3).value == pytest.approx(1 / 15)
    assert Repetition(1).rows(["哈哈哈哈"], [[]]).tolist() == [[0.75, 1]]
