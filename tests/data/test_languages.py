"""Scripts against Unicode's own names, and who is whose companion."""

from __future__ import annotations

import unicodedata

import pytest

from llmos.data.documents import Document
from llmos.data.languages import companions, script_of


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("Latin", "The quick brown fox, ça va, Đường"),
        ("Greek", "Η γλώσσα"),
        ("Cyrillic", "Быстрая лиса"),
        ("Armenian", "Լեզու"),
        ("Hebrew", "שפה"),
        ("Arabic", "اللغة العربية فارسی"),
        ("Devanagari", "हिन्दी भाषा"),
        ("Bengali", "বাংলা ভাষা"),
        ("Tamil", "தமிழ் மொழி"),
        ("Telugu", "తెలుగు భాష"),
        ("Thai", "ภาษาไทย"),
        ("Georgian", "ქართული ენა"),
        ("Ethiopic", "አማርኛ ቋንቋ"),
        ("Khmer", "ភាសាខ្មែរ"),
        ("Hangul", "한국어 문장"),
        ("Han", "中文句子，测试。"),
        ("Kana", "これは日本語の文章です。漢字も使います。"),
        ("Han", "在 Python 中使用 print 函数输出结果"),  # more Latin letters than Chinese ones
        ("", "123 + 456 = 579 — !?"),
        ("", ""),
    ],
)
def test_the_script_is_that_of_most_letters(script: str, text: str) -> None:
    assert script_of(text) == script


def test_the_table_agrees_with_the_names_of_characters() -> None:
    named = {
        "LATIN": "Latin", "GREEK": "Greek", "CYRILLIC": "Cyrillic", "HEBREW": "Hebrew",
        "ARABIC": "Arabic", "DEVANAGARI": "Devanagari", "BENGALI": "Bengali", "TAMIL": "Tamil",
        "TELUGU": "Telugu", "KANNADA": "Kannada", "MALAYALAM": "Malayalam", "THAI": "Thai",
        "LAO": "Lao", "TIBETAN": "Tibetan", "MYANMAR": "Myanmar", "GEORGIAN": "Georgian",
        "HANGUL": "Hangul", "ETHIOPIC": "Ethiopic", "KHMER": "Khmer", "HIRAGANA": "Kana",
        "KATAKANA": "Kana", "CJK": "Han", "GUJARATI": "Gujarati", "GURMUKHI": "Gurmukhi",
        "SINHALA": "Sinhala", "ARMENIAN": "Armenian", "ORIYA": "Odia",
    }  # fmt: skip
    wrong, checked = [], 0
    for code in range(0x30000):
        name = unicodedata.name(chr(code), "").split(" ")[0].split("-")[0]
        if chr(code).isalpha() and name in named:
            checked += 1
            if script_of(chr(code)) != named[name]:
                wrong.append(hex(code))
    # Letters of rare, historic or phonetic use lie in blocks of their own.
    assert len(wrong) < 0.02 * checked, wrong


def of(ids: list[tuple[str, str, str]]) -> list[list[int]]:
    documents = [Document(name, text, language=language) for name, text, language in ids]
    return [group.tolist() for group in companions(documents)]


def test_documents_of_one_stated_language_belong_together() -> None:
    found = of([("a", "one", "en"), ("b", "un", "fr"), ("c", "two", "en"), ("d", "deux", "fr")])
    assert found == [[0, 2], [1, 3], [0, 2], [1, 3]]


def test_else_their_script_and_their_file_or_folder_tell() -> None:
    found = of(
        [
            ("en.jsonl:1", "one", ""),
            ("fr.jsonl:1#0", "un", ""),
            ("en.jsonl:2", "two", ""),
            ("fr.jsonl:9#3", "deux", ""),
            ("en.jsonl:3", "три", ""),
            ("x/a.txt", "раз", ""),
            ("x/b.txt#1", "два", ""),
        ]
    )
    assert found == [[0, 2], [1, 3], [0, 2], [1, 3], [4, 5, 6], [5, 6], [5, 6]]


def test_who_is_alone_in_a_script_has_all_for_company() -> None:
    assert of([("a", "one", "en"), ("b", "два", "ru"), ("c", "two", "en")])[1] == [0, 1, 2]
    assert of([("a", "one", "en")]) == [[0]]
    assert of([]) == []
