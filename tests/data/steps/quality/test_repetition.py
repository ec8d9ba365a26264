from __future__ import annotations

import random
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmos.data.steps.quality.page import Page, repeated
from llmos.data.steps.quality.repetition import repetition
from llmos.data.steps.step import Drop


def _find_duplicates(parts: list[str]) -> tuple[int, int]:
    seen: set[str] = set()
    number = characters = 0
    for part in parts:
        if part in seen:
            number += 1
            characters += len(part)
        seen.add(part)
    return number, characters


def _by_hand(text: str) -> str:
    """Table A1 of arXiv 2112.11446, read off literally, for words between blanks."""
    paragraphs = re.split(r"\n{2,}", text)
    number, characters = _find_duplicates(paragraphs)
    if number / len(paragraphs) > 0.3:
        return "gopher_repeated_paragraphs"
    if characters / len(text) > 0.2:
        return "gopher_repeated_paragraph_characters"
    lines = re.split(r"\n+", text)
    number, characters = _find_duplicates(lines)
    if number / len(lines) > 0.3:
        return "gopher_repeated_lines"
    if characters / len(text) > 0.2:
        return "gopher_repeated_line_characters"
    words = text.split()
    for n, share in ((2, 0.20), (3, 0.18), (4, 0.16)):
        grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
        if grams:
            gram, times = Counter(grams).most_common(1)[0]
            if len(gram) * times / len(text) > share:
                return f"gopher_top_{n}_gram"
    for n, share in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)):
        seen: set[tuple[str, ...]] = set()
        total = place = 0
        while place + n <= len(words):
            window = tuple(words[place : place + n])
            if window in seen:
                total += sum(map(len, window))
                place += n
            else:
                seen.add(window)
                place += 1
        if total / len(text) > share:
            return f"gopher_repeated_{n}_grams"
    return ""


def _reason(text: str, language: str = "en") -> str:
    outcome = repetition(Page(text, language), Counter())
    return outcome.reason if isinstance(outcome, Drop) else ""


WORDS = st.sampled_from(["a", "bb", "ccc", "dddd", "e", "ff"])
GAPS = st.sampled_from([" ", " ", " ", "\n", "\n\n", "\n\n\n"])


@given(st.lists(st.tuples(WORDS, GAPS), min_size=1, max_size=60))
def test_small_texts_are_judged_as_by_hand(parts: list[tuple[str, str]]) -> None:
    text = "".join(word + gap for word, gap in parts).strip()
    assert _reason(text) == _by_hand(text)


def _text(rng: random.Random) -> str:
    """Words of a large or small vocabulary, with a stretch, a line or a paragraph repeated."""
    vocabulary = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 9))) for _ in range(400)]
    size = rng.choice((60, 200, 400))
    words = rng.choices(vocabulary[: rng.choice((20, 100, 400))], k=size)
    length = rng.choice((2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 40))
    stretch = words[:length]
    for _ in range(int(rng.uniform(0, 0.4) * size / length)):
        at = rng.randrange(len(words))
        words[at:at] = stretch
    text = " ".join(words)
    for gap in ("\n\n", "\n"):
        parts = [gap.join(re.findall(r"(?:\S+ ?){1,12}", text)), text]
        text = rng.choice(parts)
        lines = text.split(gap)
        text = gap.join(lines + rng.choices(lines, k=int(len(lines) * rng.choice((0, 0, 0, 0.6)))))
    return text.strip()


def test_every_rule_is_met_and_broken_as_by_hand() -> None:
    rng = random.Random(5)
    seen: Counter[str] = Counter()
    for _ in range(250):
        text = _text(rng)
        seen[_by_hand(text)] += 1
        assert _reason(text) == _by_hand(text)
    parts = {f"gopher_repeated_{name}" for name in ("lines", "paragraphs")}
    grams = {f"gopher_top_{n}_gram" for n in (2, 3, 4)}
    assert {"", *parts, *grams, "gopher_repeated_5_grams"} <= set(seen)


@pytest.mark.parametrize("n", range(6, 11))
def test_the_longer_a_repeated_n_gram_the_less_of_it_is_allowed(n: int) -> None:
    # n words again and again among others: a share of the text that only the rule for n forbids.
    rng = random.Random(n)
    for _ in range(3000):
        words = [f"{index:04d}" for index in range(rng.randint(80, 400))]
        for at in range(20, len(words), rng.randint(30, 80)):
            words[at : at + n] = words[:n]
        text = " ".join(words)
        if _by_hand(text) == f"gopher_repeated_{n}_grams":
            assert _reason(text) == f"gopher_repeated_{n}_grams"
            return
    pytest.fail("no text breaks the rule")


@pytest.mark.parametrize(
    ("phrase", "filler", "language"),
    [
        (
            "我们今天去学校学习数学和物理",
            "零一二三四五六七八九甲乙丙丁戊己庚辛壬癸子丑寅卯辰巳午未申酉",
            "zh",
        ),
        ("วันนี้เราไปโรงเรียนเพื่อเรียนคณิตศาสตร์", "กขคงจฉชซญดตถทธนบปผฝพฟภมยรลวสหอ", "th"),
    ],
)
def test_repeats_are_found_without_blanks_wherever_they_stand(
    phrase: str, filler: str, language: str
) -> None:
    rng = random.Random(1)

    def noise(size: int) -> str:
        return "".join(rng.choices(filler, k=size))

    # Cut into pairs of letters, every second repeat would be missed.
    often = "".join(phrase + noise(31 + index % 2) for index in range(30))
    assert _reason(often, language).startswith("gopher_")
    assert _reason(noise(1200), language) == ""


@given(st.lists(st.text(st.sampled_from("ab"), max_size=2), max_size=20))
def test_repeated_counts_what_stood_there_before(parts: list[str]) -> None:
    assert repeated(parts) == _find_duplicates(parts)
