from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU
from sacrebleu.significance import PairedTest, _bootstrap_resample
from scipy import stats

from llmos.errors import UsageError
from llmos.metrics.answers import AnswerF1, ExactMatch
from llmos.metrics.difference import compare, compare_rows
from llmos.metrics.intervals import wilson
from llmos.metrics.perplexity import BitsPerByte
from llmos.metrics.score import (
    Mean,
    Score,
    add,
    mean_rows,
    score,
    score_rows,
)
from llmos.metrics.translation import Bleu, ChrF, Ter

LINE = "the cat sat on a mat and dog ran home by red river in old town"


def texts(n: int, seed: int, noise: float) -> tuple[list[str], list[list[str]]]:
    """Predictions that have `noise` of their words wrong, and their references."""
    generator, words = random.Random(seed), LINE.split()
    wanted = [[generator.choice(words) for _ in range(generator.randint(6, 20))] for _ in range(n)]
    generator = random.Random(seed * 1000 + int(noise * 100))
    found = [
        [generator.choice(words) if generator.random() < noise else word for word in line]
        for line in wanted
    ]
    return [" ".join(line) for line in found], [[" ".join(line)] for line in wanted]


@given(st.integers(1, 400), st.data())
def test_wilsons_interval_is_scipys(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    theirs = stats.binomtest(hits, n).proportion_ci(0.95, method="wilson")
    assert wilson(hits / n, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_the_bootstrap_is_sacrebleus_with_its_seed() -> None:
    found, wanted = texts(80, 0, 0.3)
    own = BLEU(force=True)
    rows = own._extract_corpus_statistics(found, [[line[0] for line in wanted]])
    _, theirs = _bootstrap_resample(rows, own, 500)
    ours = score(Bleu(), found, wanted, samples=500, seed=12345)
    low, high = np.quantile([one.score for one in theirs], [0.025, 0.975])
    assert [ours.low, ours.high] == pytest.approx([low, high], abs=1e-3)  # theirs are float32
    assert ours.value == pytest.approx(own.corpus_score(found, [[r[0] for r in wanted]]).score)
    assert ours.n == 80 and ours.settings.startswith("nrefs:1|case:mixed|eff:no|tok:13a|")
    assert "500 samples, seed 12345" in ours.interval


def test_sums_of_members_give_the_figure_of_all_their_texts() -> None:
    found, wanted = texts(90, 1, 0.3)
    metrics = (Bleu(), AnswerF1(), ExactMatch())
    for metric in metrics:
        whole = score(metric, found, wanted)
        parts = [score(metric, found[a:b], wanted[a:b]) for a, b in ((0, 20), (20, 50), (50, 90))]
        sent = [Score.from_json(json.loads(json.dumps(part.to_json()))) for part in parts]
        assert sent == parts
        joint = add(metric, sent)
        assert (joint.value, joint.n) == (pytest.approx(whole.value), 90)
        assert joint.settings == whole.settings
        # Sums of sums: the office of a country may add its members before.
        twice = add(metric, [add(metric, sent[:2]), sent[2]])
        assert (twice.low, twice.high) == pytest.approx((joint.low, joint.high))
        # The delta method and the bootstrap agree for 90 items; Wilson's is the same.
        width = whole.high - whole.low
        assert abs(joint.low - whole.low) < 0.12 * width
        assert abs(joint.high - whole.high) < 0.12 * width


def test_joint_intervals_cover_the_truth_as_often_as_they_say() -> None:
    # Bits per byte of documents whose rates are normal around 0.8 nats: a ratio of sums.
    generator, quantity, covered = np.random.default_rng(0), BitsPerByte("window:1"), 0
    for _ in range(400):
        scores = []
        for n in (15, 40):
            sizes = generator.integers(200, 4000, n)
            nll = sizes * 0.8 + generator.normal(0, 0.1, n) * sizes
            rows = quantity.rows(nll, sizes)
            one = score_rows(quantity, rows, samples=100)
            scores.append(one)
        joint = add(quantity, scores)
        covered += joint.low <= 0.8 / math.log(2) <= joint.high
    assert 0.915 <= covered / 400 <= 0.98


def test_without_moments_the_value_is_known_and_the_interval_is_not() -> None:
    found, wanted = texts(40, 2, 0.3)
    parts = [score(Bleu(), found[:20], wanted[:20]), score(Bleu(), found[20:], wanted[20:])]
    bare = Score.from_json(parts[0].to_json() | {"moments": None})
    joint = add(Bleu(), [bare, parts[1]])
    assert joint.value == pytest.approx(score(Bleu(), found, wanted).value)
    assert (joint.low, joint.high, joint.moments) == (-math.inf, math.inf, None)
    assert joint.to_json()["low"] is None and "[" not in str(joint)
    assert Score.from_json(joint.to_json()) == joint


def test_scores_of_other_settings_are_not_added() -> None:
    found, wanted = texts(5, 3, 0.2)
    mine, other = score(Bleu(), found, wanted), score(Bleu(lowercase=True), found, wanted)
    with pytest.raises(UsageError, match="case:lc"):
        add(Bleu(), [mine, other])
    with pytest.raises(UsageError, match="F1"):
        add(ExactMatch(), [score(AnswerF1(), found, wanted)])
    several = score(Bleu(), found, [[*line, "another"] for line in wanted])
    assert several.settings.startswith("nrefs:2|")
    assert add(Bleu(), [mine, several]).settings.startswith("nrefs:var|")
    with pytest.raises(UsageError, match="without 'n'"):
        Score.from_json({k: v for k, v in mine.to_json().items() if k != "n"})


def test_paired_tests_agree_with_sacrebleus() -> None:
    for noise in (0.30, 0.33, 0.45):
        (a, wanted), (b, _) = texts(70, 4, 0.30), texts(70, 4, noise)
        b = b if noise != 0.30 else texts(70, 4, 0.301)[0]
        ours = compare(Bleu(), a, b, wanted, samples=2000)
        theirs = PairedTest(
            [("a", a), ("b", b)], {"BLEU": BLEU(force=True)}, [[line[0] for line in wanted]],
            test_type="ar", n_samples=2000,
        )()[1]  # fmt: skip
        p = theirs["BLEU"][1].p_value
        assert ours.p == pytest.approx(p, abs=4 * math.sqrt(2 * p * (1 - p) / 2000) + 1e-3)
        assert ours.value == pytest.approx(theirs["BLEU"][0].score - theirs["BLEU"][1].score)
        assert ours.low < ours.value < ours.high
    assert ours.p < 0.01 and ours.low > 0 and ours.wins > 0.99


def test_equal_models_are_found_different_by_chance_only() -> None:
    generator, quantity = np.random.default_rng(1), AnswerF1()
    ps = []
    for seed in range(100):
        a, b = (np.stack([generator.random(30), np.ones(30)], axis=1) for _ in "ab")
        ps.append(compare_rows(quantity, a, b, samples=200, seed=seed).p)
    assert stats.kstest(ps, "uniform").pvalue > 0.001
    same = compare_rows(quantity, a, a, samples=200)
    assert (same.p, same.value, same.wins) == (1, 0, 0.5)


def test_p_is_that_of_all_swaps_counted_one_by_one() -> None:
    generator, quantity = np.random.default_rng(2), AnswerF1()
    a, b = (np.stack([generator.random(10), np.ones(10)], axis=1) for _ in "ab")
    seen = abs((a - b)[:, 0].sum())
    signs = np.array([[1 if n >> i & 1 else -1 for i in range(10)] for n in range(1024)])
    exact = (abs(signs @ (a - b)[:, 0]) >= seen - 1e-12).mean()
    assert compare_rows(quantity, a, b, samples=20_000).p == pytest.approx(exact, abs=0.015)


@pytest.mark.parametrize(
    ("predictions", "references", "match"),
    [([], [], "0 predictions"), (["a"], [], "1 predictions and 0"), (["a"], [[]], "item 0 has no")],
)
def test_what_cannot_be_scored_is_refused(
    predictions: Sequence[str], references: Sequence[Sequence[str]], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        score(Bleu(), predictions, references)


def test_the_mean_of_figures_found_elsewhere() -> None:
    found = score_rows(Mean("acc", "shots:0", is_share=True), mean_rows([1, 0, 1, 1]))
    assert (found.metric, found.value, found.settings) == ("acc", 0.75, "shots:0")
    assert (found.low, found.high) == wilson(0.75, 4) and found.sums == (3, 4)


def test_one_item_has_no_interval_but_a_share_has() -> None:
    one = score(Bleu(), ["the cat sat on"], [["the cat sat down"]])
    assert math.isinf(one.low) and one.interval == "none: one item"
    assert score(ExactMatch(), ["a cat"], [["cat"]]).low == pytest.approx(wilson(1, 1)[0])
    for samples, level in ((10, 0.95), (1000, 1.0)):
        with pytest.raises(UsageError, match="samples"):
            score(Bleu(), ["a", "b"], [["a"], ["b"]], samples=samples, level=level)


@pytest.mark.parametrize("figure", [0.0, 0.5, 1.0])
def test_items_that_all_say_the_same_leave_room_for_others(figure: float) -> None:
    """No draw tells a spread; the interval is Wilson's for the share of items never seen."""
    quantity = Mean("x", bounds=(0.0, 1.0))
    rows = mean_rows([figure] * 20)
    alone = score_rows(quantity, rows)
    joint = add(quantity, [score_rows(quantity, rows[:8]), score_rows(quantity, rows[8:])])
    _, most = wilson(0, 20)
    assert 0.16 < most < 0.17  # 3.84 / (20 + 3.84)
    expected = pytest.approx((figure * (1 - most), figure + (1 - figure) * most))
    assert (alone.low, alone.high) == (joint.low, joint.high) == expected
    assert alone.interval == joint.interval == "no spread: Wilson 0.95 for a share of 0 to 1"


def test_without_spread_f1_has_the_interval_of_exact_match() -> None:
    # Zeros alone: whatever the mean is, so many of them come up with at most (1 - mean)^n.
    found, wanted = ["a b"] * 30, [["c d"]] * 30
    f1, exact = score(AnswerF1(), found, wanted), score(ExactMatch(), found, wanted)
    assert (f1.low, f1.high) == pytest.approx((exact.low, exact.high))
    assert (1 - f1.high) ** 30 <= 0.05


def test_corpus_figures_without_spread() -> None:
    found, wanted = ["x y z w v"] * 30, [["a b c d e f"]] * 30
    for metric in (Bleu(), ChrF()):
        nothing, perfect = score(metric, found, wanted), score(metric, found, [[f] for f in found])
        assert (nothing.low, perfect.high) == (0, pytest.approx(100))
        assert 11 < nothing.high < 12 and 88 < perfect.low < 89
    unbounded = score(Ter(), found, wanted)
    assert (unbounded.low, unbounded.high) == (-math.inf, math.inf)
    assert unbounded.interval == "none: no spread and no bounds"


def test_a_difference_without_spread_is_not_certain() -> None:
    quantity = Mean("x", bounds=(0.0, 1.0))
    found = compare_rows(quantity, mean_rows([1.0] * 10), mean_rows([0.0] * 10))
    assert found.value == found.high == 1 and 0.4 < found.low < 0.5


def test_the_delta_method_stays_within_the_bounds() -> None:
    quantity = Mean("x", bounds=(0.0, 1.0))
    parts = [score_rows(quantity, mean_rows([1.0, 1.0, 0.4])) for _ in range(2)]
    joint = add(quantity, parts)
    assert joint.high == 1 and joint.low < 0.7
