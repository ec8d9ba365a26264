from __future__ import annotations

import random
import sys

import numpy as np
import pytest
from sacrebleu.metrics import BLEU, CHRF, TER

from llmos.errors import UsageError
from llmos.metrics.score import score
from llmos.metrics.translation import Bleu, ChrF, Ter, bleu, bleu_tokenizer

LINES = {
    "en": "The old man, who lives by the river, sold 3.5 kg of fish; nobody asked why!",
    "zh": "老人住在河边，他卖了3.5公斤鱼。",
    "ja": "川のそばに住む老人は、魚を売った。",
    "ko": "강가에 사는 노인은 물고기를 팔았다.",
    "th": "ชายชราขายปลา",
}


def pairs(language: str, seed: int = 0) -> tuple[list[str], list[list[str]]]:
    """Shuffled, cut and whole lines against one or two references."""
    generator, line = random.Random(seed), LINES[language]
    units = line.split() if " " in line else list(line)
    joint = " " if " " in line else ""
    found, wanted = [], []
    for _ in range(12):
        kept = [unit for unit in units if generator.random() < 0.8]
        if generator.random() < 0.3:
            generator.shuffle(kept)
        found.append(joint.join(kept))
        wanted.append([line, joint.join(units[: generator.randint(2, len(units))])])
    return found, [refs[: 1 + place % 2] for place, refs in enumerate(wanted)]


@pytest.mark.parametrize("language", LINES)
def test_figures_are_sacrebleus(language: str) -> None:
    found, wanted = pairs(language)
    streams = [[line[0] for line in wanted], [line[1] if line[1:] else None for line in wanted]]
    characters = language in ("zh", "ja")
    for ours, theirs in (
        (Bleu(language), BLEU(tokenize=bleu_tokenizer(language))),
        (Bleu(language, lowercase=True), BLEU(True, tokenize=bleu_tokenizer(language))),
        (ChrF(), CHRF()),
        (ChrF(2), CHRF(word_order=2)),
        (Ter(language), TER(normalized=characters, asian_support=characters)),
    ):
        whole = theirs.corpus_score(found, streams)
        own = score(ours, found, wanted)
        assert own.value == pytest.approx(whole.score)
        assert own.metric == whole.name.replace("chrF2", "chrF")
        assert own.settings == str(theirs.get_signature())
        rows = ours.rows(found, wanted)
        for row, text, refs in zip(rows, found, wanted, strict=True):
            alone = theirs.sentence_score(text, refs)
            assert ours.value(row) == pytest.approx(alone.score)


def test_bleu_of_sums_is_sacrebleus_at_every_corner() -> None:
    generator = np.random.default_rng(0)
    for _ in range(2000):
        length = int(generator.integers(0, 7))
        total = [max(0, length - n) for n in range(4)]
        found = [int(generator.integers(0, t + 1)) for t in total]
        wanted = int(generator.integers(0, 9))
        for effective in (False, True):
            theirs = BLEU.compute_bleu(
                found, total, length, wanted, smooth_method="exp", effective_order=effective
            ).score
            sums = np.array([length, wanted, *found, *total], np.float64)
            assert bleu(sums, effective_order=effective) == pytest.approx(theirs)


def test_empty_texts() -> None:
    for metric, wanted in ((Bleu(), 0), (ChrF(), 0), (Ter(), 100)):
        assert score(metric, [""], [["a cat"]]).value == wanted
    assert score(Ter(), [""], [[""]]).value == 0


def test_the_tokenizer_of_a_language(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [bleu_tokenizer(tag) for tag in ("zh-Hant", "zho", "km", "en", "fr_CA", "")] == [
        "zh", "zh", "char", "13a", "13a", "13a",
    ]  # fmt: skip
    monkeypatch.setattr("llmos.metrics.translation.find_spec", lambda name: name)
    assert bleu_tokenizer("ja") == "ja-mecab" and bleu_tokenizer("ko-KR") == "ko-mecab"


def test_without_mecab_japanese_goes_by_characters_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llmos.metrics.translation.find_spec", lambda name: None)
    assert "|tok:char|" in Bleu("ja").settings and "|tok:char|" in Bleu("ko").settings


def test_without_sacrebleu_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    with pytest.raises(UsageError, match=r"llmos\[evaluate\]"):
        score(Bleu(), ["a"], [["a"]])
