from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from llmos.errors import UsageError
from llmos.metrics.calibration import CalibrationError
from llmos.metrics.labels import Accuracy, MacroF1, Matthews
from llmos.metrics.score import add, score, score_rows

LABELS = ("negative", "neutral", "positive")
PAIRS = st.lists(
    st.tuples(st.sampled_from([*LABELS, "no idea"]), st.sampled_from(LABELS)), min_size=1
)


@settings(max_examples=30, deadline=None)
@given(PAIRS)
@pytest.mark.filterwarnings("ignore")  # scikit-learn's, on classes without texts
def test_against_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    found, true = map(list, zip(*pairs, strict=True))
    wanted = [[label] for label in true]
    occurring = sorted({*found, *true} & set(LABELS))

    def value(metric: Accuracy | MacroF1 | Matthews) -> float:
        return metric.value(metric.rows(found, wanted).sum(axis=0))

    assert value(Accuracy()) == pytest.approx(accuracy_score(true, found))
    assert value(MacroF1(LABELS)) == pytest.approx(
        f1_score(true, found, labels=occurring, average="macro", zero_division=0)
    )
    assert value(Matthews(LABELS)) == pytest.approx(matthews_corrcoef(true, found))


def test_members_join_their_counts() -> None:
    generator = random.Random(0)
    true = [[generator.choice(LABELS)] for _ in range(120)]
    found = [t[0] if generator.random() < 0.7 else generator.choice(LABELS) for t in true]
    for metric in (MacroF1(LABELS), Matthews(LABELS), Accuracy()):
        whole = score(metric, found, true)
        joint = add(metric, [score(metric, found[a::3], true[a::3]) for a in range(3)])
        assert joint.value == pytest.approx(whole.value)
        assert [joint.low, joint.high] == pytest.approx([whole.low, whole.high], abs=0.03)
        assert joint.low < joint.value < joint.high


def test_labels_that_are_none() -> None:
    assert score(Accuracy(), [" yes\n", "no"], [["yes"], ["maybe", "no"]]).value == 1
    with pytest.raises(UsageError, match="'great'"):
        score(MacroF1(LABELS), ["neutral"], [["great"]])
    for labels in (("a", "a"), ("a",)):
        with pytest.raises(UsageError, match="two or more"):
            MacroF1(labels)


def test_calibration_against_scikit_learns_curve() -> None:
    generator = np.random.default_rng(0)
    sure = generator.random(500)
    right = generator.random(500) < sure**2
    true, said = calibration_curve(right, sure, n_bins=15)
    sizes = np.histogram(sure, np.linspace(0, 1, 16))[0]
    wanted = (np.abs(true - said) * sizes[sizes > 0]).sum() / 500
    metric = CalibrationError()
    found = score_rows(metric, metric.rows(sure, right), samples=200)
    assert found.value == pytest.approx(wanted) and found.settings == "bins:15"
    halves = [score_rows(metric, metric.rows(sure[a::2], right[a::2])) for a in range(2)]
    assert add(metric, halves).value == pytest.approx(wanted)


def test_bins_are_closed_above() -> None:
    # 0 and 0.1 lie in the first of ten bins, 1.0 in the last one.
    rows = CalibrationError(10).rows([0.0, 0.1, 1.0], [False, True, True])
    assert rows[:, :10].argmax(axis=1).tolist() == [0, 0, 9]
    with pytest.raises(UsageError, match="0 to 1"):
        CalibrationError().rows([1.2], [True])
    with pytest.raises(UsageError, match=r"\(1,\)"):
        CalibrationError().rows([0.2], [True, False])
