from __future__ import annotations

import pytest

from llmos.errors import UsageError
from llmos.metrics.names import METRICS, metric
from llmos.metrics.score import score


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_scores_right_answers_best(name: str) -> None:
    texts = ["the cat sat on the old mat", "no cat sat there at all today"]
    one = metric(name, language="en", labels=texts)
    right = score(one, texts, [[text] for text in texts])
    wrong = score(one, texts[::-1], [[text] for text in texts])
    better = right.value - wrong.value
    assert name == "repetition" or (better > 0) == one.higher_is_better
    assert right.n == 2 and right.low <= right.value <= right.high


def test_settings_go_to_the_metrics_that_have_them() -> None:
    assert "tok:zh" in metric("bleu", language="zh").settings
    assert "rules:cmrc2018" in metric("f1", language="zh", rules="cmrc2018").settings
    assert metric("macro_f1", labels=["a", "b"]).settings == "labels:a,b"
    for name, match in (("blue", "no metric 'blue'"), ("mcc", "mcc without labels")):
        with pytest.raises(UsageError, match=match):
            metric(name)
