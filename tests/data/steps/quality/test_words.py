from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.steps.quality import words as module
from llmos.data.steps.quality.scripts import SENTENCE_MARKS
from llmos.data.steps.quality.words import (
    WORD,
    Words,
    WordTable,
    chunks_of,
    split_chunk,
    surely_more_words,
    word_table,
)

CHUNK = st.text(st.sampled_from("abXÄñ'’.,-–—:/=…(\"“%+$€#19§_@中คの한"), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        ("word", ["word"]),
        ("(word),", ["(", "word", ")", ","]),
        ("don't", ["do", "n't"]),
        ("We’ll.", ["We", "’ll", "."]),
        ("dog's", ["dog", "'s"]),
        ("l'homme", ["l'homme"]),
        ("well-known", ["well", "-", "known"]),
        ("and/or", ["and", "/", "or"]),
        ("1,000.50", ["1,000.50"]),
        ("2010-2012", ["2010", "-", "2012"]),
        ("50%.", ["50", "%", "."]),
        ("$5", ["$", "5"]),
        ("x$", ["x$"]),
        ("3€", ["3", "€"]),
        ("wait...what", ["wait", "...", "what"]),
        ("end...", ["end", "..."]),
        ("J.", ["J."]),
        ("U.S.", ["U.S."]),
        ("Mr.", ["Mr."]),
        ("end.Start", ["end", ".", "Start"]),
        ("example.com", ["example.com"]),
        ("https://a-b.org/c=d,", ["https://a-b.org/c=d", ","]),
        ("...", ["..."]),
        (".", ["."]),
        ("—", ["—"]),
        ("«слово»", ["«", "слово", "»"]),
        ("है।", ["है", "।"]),
    ],
)
def test_chunks_are_cut_as_spacy_cuts_them(chunk: str, words: list[str]) -> None:
    assert split_chunk(chunk) == words


@given(CHUNK)
def test_no_character_is_lost_or_doubled(chunk: str) -> None:
    words = split_chunk(chunk)
    assert "".join(words) == chunk
    assert all(words)


def _by_hand(text: str) -> tuple[int, int, int, int, int]:
    """The counts of a text without letters of unspaced scripts."""
    words = [word for chunk in text.split() for word in split_chunk(chunk)]
    proper = [word for word in words if any(c.isalnum() for c in word)]
    letters = [word for word in words if any(c.isalpha() for c in word)]
    return (
        len(words) * WORD,
        len(proper) * WORD,
        len(letters) * WORD,
        len(proper) * WORD,
        sum(map(len, proper)),
    )


def _counts(words: Words) -> tuple[int, int, int, int, int]:
    return words.total, words.proper, words.alphabetic, words.spaced, words.spaced_letters


@given(st.lists(st.text(st.sampled_from("abÄ'.,-:…(%19한"), min_size=1, max_size=6), max_size=30))
def test_counts_and_words_of_spaced_text(chunks: list[str]) -> None:
    text = " \n".join(chunks)
    found = WordTable().words(text)
    assert _counts(found) == _by_hand(text)
    words = [word for chunk in text.split() for word in split_chunk(chunk)]
    assert np.diff(found.tokens.ends).tolist() == [len(word) for word in words]
    assert found.tokens.gaps.all()
    hashes = dict(zip(words, found.tokens.hashes.tolist(), strict=True))
    assert [hashes[word] for word in words] == found.tokens.hashes.tolist()
    assert len(set(hashes.values())) == len(hashes)


# Text of the Universal Declaration of Human Rights, article 1, with words counted by hand.
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("人人生而自由，在尊严和权利上一律平等。", 11),
        (
            "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。",
            26,
        ),
        ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ", 14),
        ("មនុស្សទាំងអស់កើតមកមានសេរីភាព និងសមភាពក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។", 14),
        ("모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.", 10),
    ],
)
def test_words_of_scripts_with_and_without_blanks(text: str, words: int) -> None:
    assert WordTable().words(text).proper / WORD == pytest.approx(words, rel=0.25)


def test_unspaced_letters_are_tokens_and_latin_words_among_them_stay_whole() -> None:
    assert chunks_of("我们用GPT-2模型。") == [*"我们用", "GPT-2", *"模型", "。"]
    assert chunks_of("カタカナの語") == ["カタカナ", "の", "語"]
    assert chunks_of("ที่นี่") == ["ที่", "นี่"]
    found = WordTable().words("中文 words")
    assert found.tokens.gaps.tolist() == [False, False, True]
    assert found.spaced == WORD
    assert found.tokens_per_word == pytest.approx(3 / (1 + 2 / 1.75), rel=1e-3)


def test_what_was_met_before_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(3)
    pieces = ["dog,", "(cat)", "中", "don't", "x-y", "ที่", "7", "…", "Ärger"]
    texts = [" ".join(rng.choices(pieces, k=40)) for _ in range(20)]
    fresh = [WordTable().words(text) for text in texts]
    monkeypatch.setattr(module, "MOST_CHUNKS", 5)  # starts anew again and again
    table = WordTable()
    for text, expected in zip(texts, fresh, strict=True):
        found = table.words(text)
        assert _counts(found) == _counts(expected)
        assert (found.tokens.hashes == expected.tokens.hashes).all()
        assert (found.tokens.ends == expected.tokens.ends).all()
    assert len(table) <= len(pieces)


@given(st.lists(st.sampled_from(["a", "b,", "—", "中", "文", "ที่", "カナ"]), max_size=40))
def test_what_is_told_by_the_beginning_is_true(parts: list[str]) -> None:
    for text in ("".join(parts), " ".join(parts)):
        words = WordTable().words(text)
        assert WordTable().has_words(text, 3) == (words.proper >= 3 * WORD)
        for number in (0, 1, 3, 8):
            if surely_more_words(text, number):
                assert words.total > number * WORD
    assert surely_more_words("a " * 10, 8)
    assert surely_more_words("中" * 40, 8)


def test_an_endless_chunk_is_one_word() -> None:
    assert split_chunk("!" * 200_000) == ["!" * 200_000]


def test_hashes_are_the_same_in_every_process() -> None:
    code = (
        "from llmos.data.steps.quality.words import word_table\n"
        "print(word_table().words('the cat, 中文').tokens.hashes.tolist())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(word_table().words("the cat, 中文").tokens.hashes.tolist())


def test_sentence_marks_are_those_of_the_unicode_standard() -> None:
    regex = pytest.importorskip("regex")
    everything = "".join(map(chr, range(0x20000)))
    theirs = set(regex.findall(r"\p{Sentence_Terminal}", everything))
    assert theirs <= SENTENCE_MARKS
    assert SENTENCE_MARKS - theirs <= set("៖៙៚།༎")
