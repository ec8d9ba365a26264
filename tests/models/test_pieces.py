"""Pre-tokenization covers any text; runs of unspaced scripts are cut before they are counted."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.errors import DataError
from llmos.models import pieces
from llmos.models.pieces import (
    LONGEST_WORD,
    PART,
    UNSPACED,
    count_pieces,
    is_training_piece,
    split_text,
    training_pieces,
)

SCRIPTS = (
    "CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC ITERATION", "HIRAGANA",
    "KATAKANA", "HALFWIDTH KATAKANA", "THAI ", "LAO ", "KHMER ", "MYANMAR ",
)  # fmt: skip

any_text = st.text(st.characters(exclude_categories=["Cs"]))
mixed_text = st.text(
    st.sampled_from(
        "ab' ’sré\n\t\u00a0\u3000.!12٣½"
        "中々ー〇ｶงำ\u0e48ກខ្មမ\u103cहि\u093fم\u200c\u200d❤\ufe0f👩\U00020000"
    ),
    max_size=80,
)


CODES = frozenset(code for first, last in UNSPACED for code in range(first, last + 1))


def is_unspaced(character: str) -> bool:
    return ord(character) in CODES


@given(any_text | mixed_text)
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(split_text(text)) == text


@given(any_text | mixed_text)
def test_an_unspaced_run_is_a_piece_of_its_own(text: str) -> None:
    for piece in split_text(text):
        assert not any(map(is_unspaced, piece)) or is_unspaced(piece[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, you don't?", ["Hello", ",", " you", " don", "'t", "?"]),
        ("l'homme d'revenir", ["l", "'", "homme", " d", "'", "revenir"]),
        ("1234567 in 2024", ["123", "456", "7", " in", " ", "202", "4"]),
        ("हिन्दी में बাংলা", ["हिन्दी", " में", " बাংলা"]),
        ("مُحَمَّد می‌خواهم", ["مُحَمَّد", " می‌خواهم"]),
        ("cafe\u0301 naïve", ["cafe\u0301", " naïve"]),
        ("北京market在3.5", ["北京", "market", "在", "3", ".", "5"]),
        ("二〇二四年、コーヒーを。", ["二〇二四年", "、", "コーヒーを", "。"]),
        ("ประเทศไทย ๒๕๖๗", ["ประเทศไทย", " ", "๒๕๖", "๗"]),
        ("ភាសាខ្មែរ។ မြန်မာ၊ ລາວ", ["ភាសាខ្មែរ", "។", " ", "မြန်မာ", "၊", " ", "ລາວ"]),
        ("한국어 문장", ["한국어", " 문장"]),
        ("if x:\n    y  ", ["if", " x", ":", "\n   ", " y", "  "]),
        ("ok ❤\ufe0f👩\u200d👧!", ["ok", " ❤\ufe0f👩\u200d👧!"]),
    ],
)
def test_pieces_of_known_texts(text: str, expected: list[str]) -> None:
    assert split_text(text) == expected


def test_unspaced_ranges_hold_the_letters_of_their_scripts_and_no_digit_space_or_stop() -> None:
    for code in range(0x110000):
        character = chr(code)
        category, name = unicodedata.category(character), unicodedata.name(character, "")
        letter = category[0] in "LM" and name.startswith(SCRIPTS)
        assert not letter or is_unspaced(character), name
        assert not is_unspaced(character) or category[0] not in "ZC" or category == "Cn", name
        if is_unspaced(character):
            assert category != "Nd", name
            assert category not in ("Po", "Ps", "Pe"), name


def test_a_clause_is_counted_in_parts_of_four_and_by_character() -> None:
    assert training_pieces("患者的姓名是王小明") == [
        *("患者的姓", "名是王小"),
        *"患者的姓名是王小明",
    ]
    assert count_pieces(["我，我们。"]) == {"我": 2, "们": 1, "我们": 1, "，": 1, "。": 1}
    assert training_pieces("ประเทศ") == [*("ประเ", "ทศ"), *"ประเทศ"]


def test_only_absurdly_long_words_are_cut() -> None:
    assert training_pieces("b" * LONGEST_WORD) == ["b" * LONGEST_WORD]
    blob = "QmFzZSBzaXh0eSBmb3VyIGJsb2Ig" * 4
    left = count_pieces([f"key {'x' * 33} {blob}"])
    assert max(map(len, left)) <= LONGEST_WORD
    assert not any("x" * (PART + 1) in piece for piece in left)


@given(any_text | mixed_text)
def test_counting_yields_training_pieces_only(text: str) -> None:
    for piece in count_pieces([text, text * 3]):
        assert is_training_piece(piece)
        assert len(piece) <= (PART if any(map(is_unspaced, piece)) else LONGEST_WORD)


@pytest.mark.parametrize("piece", ["", "两句话在一起", "a whole sentence", "x中文中文", "y" * 33])
def test_other_strings_are_no_training_pieces(piece: str) -> None:
    assert not is_training_piece(piece)


@given(st.text("中文ab "))
def test_the_count_of_a_character_in_a_run_is_how_often_it_occurs(text: str) -> None:
    assert count_pieces([text])["中"] == text.count("中")


def test_cutting_early_to_save_memory_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"第{n}个句子很长很长。The {n}th sentence." for n in range(50)]
    expected: Counter[str] = Counter()
    for text in texts:
        expected.update(part for piece in split_text(text) for part in training_pieces(piece))
    monkeypatch.setattr(pieces, "_DISTINCT_WHOLE", 7)
    assert count_pieces(texts) == expected


def test_a_lone_surrogate_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"lone surrogate U\+D800 at character 2"):
        count_pieces(["ab\ud800"])
