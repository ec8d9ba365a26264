from __future__ import annotations

import re
import string
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.metrics.exact_match import exact_match, f1, normalise

WORDS = st.sampled_from(
    ["the", "a", "An", "Wall", "wall,", "GREAT", "$5.00", "don't", "naïve", "Straße", "theatre", ""]
)
LATIN = st.lists(WORDS, max_size=6).map(" ".join)


def squad_normalise(text: str) -> str:
    """normalize_answer of evaluate-v1.1.py, step by step."""
    lowered = text.lower()
    without = "".join(c for c in lowered if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", without).split())


def squad_f1(prediction: str, truth: str) -> float:
    found, wanted = squad_normalise(prediction).split(), squad_normalise(truth).split()
    same = sum((Counter(found) & Counter(wanted)).values())
    if same == 0:
        return 0.0
    precision, recall = same / len(found), same / len(wanted)
    return 2 * precision * recall / (precision + recall)


@given(LATIN, st.lists(LATIN, min_size=1, max_size=3))
def test_latin_text_is_judged_as_squad_does(prediction: str, truths: list[str]) -> None:
    assert normalise(prediction) == squad_normalise(prediction)
    assert exact_match(prediction, *truths) == max(
        squad_normalise(prediction) == squad_normalise(truth) for truth in truths
    )
    if squad_normalise(prediction) or all(map(squad_normalise, truths)):
        assert f1(prediction, *truths) == pytest.approx(
            max(squad_f1(prediction, truth) for truth in truths)
        )


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_any_ascii_text_is_normalised_as_squad_does(text: str) -> None:
    assert normalise(text) == squad_normalise(text)


def test_worked_examples() -> None:
    assert normalise("The  Great Wall (长城), a wall!") == "great wall 长 城 wall"
    assert exact_match("Denver Broncos.", "the Denver Broncos", "Carolina Panthers") == 1
    assert exact_match("Denver", "Denver Broncos") == 0
    assert f1("in the city of Paris", "Paris") == pytest.approx(2 * 1 / (4 + 1))
    assert f1("Paris Paris", "Paris") == pytest.approx(2 / 3)
    assert f1("Rome", "Paris", "Rome, Italy") == pytest.approx(2 / 3)


def test_scripts_without_spaces_are_judged_by_characters() -> None:
    assert normalise("東京タワー、1958年") == "東 京 タ ワ ー 1958 年"
    assert f1("东京大学", "北京大学") == pytest.approx(3 / 4)
    assert exact_match("《红楼梦》", "红楼 梦。") == 1
    assert f1("𠀀𠀁", "𠀁") == pytest.approx(2 / 3)  # beyond the basic plane
    assert normalise("กรุงเทพ") == " ".join("กรุงเทพ")


@given(
    st.text(alphabet="東京都大学のは駅", max_size=8),
    st.text(alphabet="東京都大学のは駅", min_size=1),
)
def test_japanese_f1_is_that_of_characters(prediction: str, truth: str) -> None:
    # JaQuAD's F1 (arXiv 2202.01764): shared characters against those of both sides.
    same = sum((Counter(prediction) & Counter(truth)).values())
    assert f1(prediction, truth) == pytest.approx(2 * same / (len(prediction) + len(truth)))


def test_other_scripts_go_by_words_without_their_punctuation() -> None:
    assert normalise("مدينة القاهرة؟") == "مدينة القاهرة"
    assert f1("القاهرة", "مدينة القاهرة") == pytest.approx(2 / 3)
    assert exact_match("¿Madrid?", "«Madrid»") == 1
    assert normalise("서울 특별시") == "서울 특별시"


def test_answers_without_units_match_each_other_only() -> None:
    assert exact_match("the", "...") == f1("the", "...") == 1
    assert f1("", "Paris") == f1("Paris", "a") == 0
