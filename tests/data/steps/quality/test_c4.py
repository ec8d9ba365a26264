from __future__ import annotations

from collections import Counter

import pytest

from llmos.data.steps.quality.c4 import c4
from llmos.data.steps.quality.page import Page
from llmos.data.steps.step import Drop

GOOD = [
    "The river rises in the hills.",
    "It runs for forty miles. Then it meets the sea.",
    "People fish there.",
    "Have they gone away?",
]


def _outcome(lines: list[str]) -> tuple[str, int]:
    counts: Counter[str] = Counter()
    outcome = c4(Page("\n".join(lines), "en"), counts)
    text = outcome.reason if isinstance(outcome, Drop) else outcome.text
    return text, counts["c4_lines_removed"]


@pytest.mark.parametrize(
    "line",
    [
        "Two words",
        "Please enable JavaScript in your browser.",
        "This site uses cookies for all kinds of things.",
        "Read our Terms of Use before you go on.",
        "JavaScript is off { and this is taken out before the bracket is seen }",
        "a b c " + "x" * 1001,
        " ".join("word" for _ in range(300)) + " " + "y" * 1001 + " end",
    ],
)
def test_lines_are_taken_out(line: str) -> None:
    assert _outcome([*GOOD[:2], line, *GOOD[2:]]) == ("\n".join(GOOD), 1)


@pytest.mark.parametrize(
    "line",
    [
        "A line without a full stop",
        "three words here",
        "a b c " + "x" * 1000,
        " ".join("word" for _ in range(300)),
        "我们今天去学校",
        "เราไปโรงเรียนทุกวัน",
    ],
)
def test_lines_are_kept(line: str) -> None:
    assert _outcome([*GOOD, line]) == ("\n".join([*GOOD, line]), 0)


@pytest.mark.parametrize("line", ["你好", "第一章", "ข่าว"])
def test_lines_of_few_words_without_blanks_are_taken_out(line: str) -> None:
    assert _outcome([*GOOD, line]) == ("\n".join(GOOD), 1)


def test_blank_lines_and_citations_go_without_being_counted() -> None:
    lines = ["", "  " + GOOD[0], "\t", *GOOD[1:3], "", GOOD[3] + "[12][edit]", "[citation needed]"]
    assert _outcome(lines) == ("\n".join(GOOD), 1)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([*GOOD, "Here is lorem Ipsum dolor."], "c4_lorem_ipsum"),
        ([*GOOD, "if (x) { return; }"], "c4_curly_bracket"),
        (GOOD[:3], "c4_few_sentences"),  # 4
        ([*GOOD[:3], "This page needs JavaScript. Or does it? Yes."], "c4_few_sentences"),
        ([], "c4_few_sentences"),
        (["One. Two. Three. Four. Five."], "One. Two. Three. Four. Five."),
        (["A start. " * 3 + "and so on " * 100 + "end. An end."], "c4_few_sentences"),  # 4
        (["A start. " * 4 + "and so on " * 100 + "end. An end."], None),  # 5, the last far behind
    ],
)
def test_texts_are_dropped(lines: list[str], reason: str | None) -> None:
    assert _outcome(lines)[0] == (reason or "\n".join(lines))


@pytest.mark.parametrize("line", ["lorem ipsum", "x {"])
def test_a_line_of_few_words_does_not_drop_the_text(line: str) -> None:
    assert _outcome([*GOOD, line]) == ("\n".join(GOOD), 1)


@pytest.mark.parametrize("language", ["zh", "ja", "th", "hi", "ar", "ko", "de", "en"])
def test_prose_is_kept_in_any_script(language: str, prose: dict[str, str]) -> None:
    page = Page(prose[language], language)
    outcome = c4(page, Counter())
    assert isinstance(outcome, Page)
    assert outcome.text.split() == page.text.split()
    short = c4(Page(prose[language][: len(prose[language]) // 12], language), Counter())
    assert short == Drop("c4_few_sentences")
