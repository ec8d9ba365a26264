from __future__ import annotations

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.errors import UsageError
from llmos.metrics import cmrc2018, squad
from llmos.metrics.answers import RULES, AnswerF1, ExactMatch
from llmos.metrics.score import score

LATIN = st.lists(
    st.sampled_from(["the", "An", "Wall", "wall,", "$5.00", "don't", "a", "naïve", "«x»", ""]),
    max_size=5,
).map(" ".join)


def v2_tokens(text: str) -> list[str]:
    """get_tokens of evaluate-v2.0.py, step by step."""
    without = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return re.sub(r"\b(a|an|the)\b", " ", without).split()


def v2(prediction: str, truths: list[str]) -> tuple[float, float]:
    wanted = [truth for truth in truths if v2_tokens(truth)] or [""]
    found, f1s = v2_tokens(prediction), []
    for truth in wanted:
        tokens = v2_tokens(truth)
        same = sum((Counter(found) & Counter(tokens)).values())
        if not found or not tokens:
            f1s.append(float(found == tokens))
        elif not same:
            f1s.append(0.0)
        else:
            p, r = same / len(found), same / len(tokens)
            f1s.append(2 * p * r / (p + r))
    return float(any(v2_tokens(truth) == found for truth in wanted)), max(f1s)


@given(LATIN, st.lists(LATIN, max_size=3))
def test_squad_v2_by_its_own_steps(prediction: str, truths: list[str]) -> None:
    exact, f1 = v2(prediction, truths)
    assert squad.exact_match(prediction, truths) == exact
    assert squad.f1_v2(prediction, truths) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("prediction", "truths", "exact", "v1", "v2"),
    [
        ("The Denver Broncos!", ["Denver Broncos", "Carolina"], 1, 1, 1),
        ("in the city of Paris", ["Paris"], 0, 0.4, 0.4),
        ("", [""], 1, 0, 1),  # no answer: right by v2.0, nothing shared by v1.1
        ("the", [""], 1, 0, 1),  # an article is nothing
        ("Paris", [""], 0, 0, 0),
        ("Paris", ["the", "Paris"], 1, 1, 1),
        ("", ["the", "Paris"], 0, 0, 0),  # an empty reference beside another is left out
        ("«Paris»", ["Paris"], 0, 0, 0),  # only ASCII signs are dropped
    ],
)
def test_squad_cases_worked_by_hand(
    prediction: str, truths: list[str], exact: float, v1: float, v2: float
) -> None:
    assert squad.exact_match(prediction, truths) == exact
    assert squad.f1_v1(prediction, truths) == pytest.approx(v1)
    assert squad.f1_v2(prediction, truths) == pytest.approx(v2)


@pytest.mark.parametrize(
    ("prediction", "truths", "exact", "f1"),
    [
        ("北京大学。", ["北京大学"], 1, 1),
        ("“北京”大学", ["北京大学"], 1, 1),
        ("京大学", ["北京大学"], 0, 2 * 3 / 7),
        # The longest run, not the shared characters: 北京 of 北京的大学.
        ("北京的大学", ["北京大学"], 0, 2 * 2 / 9),
        ("大学北京", ["北京大学"], 0, 2 * 2 / 8),
        ("Python 3.5语言", ["python 3.5语言"], 1, 1),
        ("Python语言", ["python 3.5语言"], 0, 2 * 2 / 7),  # 语言 (python, 3.5, 语, 言)
        ("1991年", ["1992年", "1991 年"], 0, 1),  # the blank counts for the exact match only
        ("上海", ["北京"], 0, 0),
        ("", ["北京"], 0, 0),
        ("。", [""], 1, 0),
        ("你好(吗)", ["你好吗"], 0, 2 * 2 / 8),  # ASCII brackets are no signs: units of their own
    ],
)
def test_cmrc_cases_worked_by_hand(
    prediction: str, truths: list[str], exact: float, f1: float
) -> None:
    assert cmrc2018.exact_match(prediction, truths) == exact
    assert cmrc2018.f1(prediction, truths) == pytest.approx(f1)


@given(st.text("北京大学a1 ", max_size=7), st.text("北京大学a1 ", min_size=1, max_size=7))
def test_cmrc_f1_by_trying_every_run(prediction: str, truth: str) -> None:
    found, wanted = cmrc2018.units(prediction), cmrc2018.units(truth)
    longest = max(
        (
            end - start
            for start in range(len(found))
            for end in range(start + 1, len(found) + 1)
            for at in range(len(wanted))
            if wanted[at : at + end - start] == found[start:end]
        ),
        default=0,
    )
    f1 = 2 * longest / (len(found) + len(wanted)) if longest else 0
    assert cmrc2018.f1(prediction, [truth]) == pytest.approx(f1)


def test_cmrc_units() -> None:
    assert cmrc2018.units("Python语言，1991年It's") == [
        "python", "语", "言", "1991", "年", "it", "'s",
    ]  # fmt: skip


def test_scores_of_answers() -> None:
    found, wanted = ["the cat", "a dog", "bird"], [["cat"], ["cat", "big dog"], []]
    assert score(ExactMatch(), found, wanted).value == pytest.approx(1 / 3)
    assert score(AnswerF1("squad-v2.0"), found, wanted).value == pytest.approx((1 + 2 / 3) / 3)
    assert score(AnswerF1("squad-v2.0"), found, wanted).settings == "nrefs:var|rules:squad-v2.0"
    for rules in ("squad-v1.1", "cmrc2018"):
        with pytest.raises(UsageError, match="item 2 has no reference"):
            score(ExactMatch(rules), found, wanted)
    with pytest.raises(UsageError, match=r"'squad'.*squad-v1\.1"):
        ExactMatch("squad")
    assert set(RULES) == {"multilingual", "squad-v1.1", "squad-v2.0", "cmrc2018"}
