from __future__ import annotations

import random

import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.scoring import BootstrapAggregator

from llmos.errors import UsageError
from llmos.metrics.rouge import Rouge
from llmos.metrics.score import score
from llmos.metrics.units import words

LINE = "The cat's 3.5 kg, sat_down! on RUNNING mats; (and) dogs ran home quickly"


@pytest.mark.parametrize("variant", ["1", "2", "L"])
@pytest.mark.parametrize("stemmer", [False, True])
def test_english_figures_are_rouge_scores(variant: str, stemmer: bool) -> None:
    generator = random.Random(0)

    def line() -> str:
        return " ".join(generator.choices(LINE.split(), k=generator.randint(0, 12)))

    found, wanted = [line() for _ in range(25)], [[line(), line()] for _ in range(25)]
    scorer, aggregator = RougeScorer([f"rouge{variant}"], stemmer), BootstrapAggregator()
    metric = Rouge(variant, stemmer)
    rows = metric.rows(found, wanted)
    for row, prediction, targets in zip(rows, found, wanted, strict=True):
        theirs = scorer.score_multi(targets, prediction)
        aggregator.add_scores(theirs)
        assert tuple(row[:3]) == pytest.approx(tuple(theirs[f"rouge{variant}"]))
    mean = sum(row[2] for row in rows) / len(rows)
    whole = score(metric, found, wanted)
    assert whole.value == pytest.approx(mean)
    interval = aggregator.aggregate()[f"rouge{variant}"]
    assert whole.low == pytest.approx(interval.low.fmeasure, abs=0.03)
    assert whole.high == pytest.approx(interval.high.fmeasure, abs=0.03)


def test_chinese_is_counted_by_characters() -> None:
    # 4 of 5 and of 6 characters; the runs 我爱 and 北京; in order all four.
    found, wanted = ["我爱，北京城"], [["我很爱北京！"]]
    assert score(Rouge("1"), found, wanted).value == pytest.approx(2 * 4 / (5 + 5))
    assert score(Rouge("2"), found, wanted).value == pytest.approx(2 * 2 / (4 + 4))
    assert score(Rouge("L"), found, wanted).value == pytest.approx(2 * 4 / (5 + 5))


def test_words_of_other_scripts_stay_whole() -> None:
    assert words("L’été, à Köln_2024!") == ["l", "été", "à", "köln", "2024"]
    assert words("हिन्दी भाषा। می‌روم") == ["हिन्दी", "भाषा", "می‌روم"]
    assert words("東京タワー is 333m") == [*"東京タワー", "is", "333m"]


def test_the_settings_tell_what_was_counted() -> None:
    assert Rouge("2").settings == "units:words+characters|rouge-score:0.1.2"
    assert "porter" in Rouge("2", stemmer=True).settings
    with pytest.raises(UsageError, match="ROUGE-5"):
        Rouge("5")
