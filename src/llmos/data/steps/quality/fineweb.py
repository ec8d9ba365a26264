"""FineWeb's own rules (arXiv 2406.17557, 3.6), as datatrove's `FineWebQualityFilter` has them.

The marks that end a line are those of all scripts, in other languages than English also with
closing quotation marks behind them; Thai and Lao have none and are not asked for them. A line's
length is that of its letters as they are seen: Chinese, Japanese and Korean ones are two letters
wide, and say as much.
"""

from __future__ import annotations

from collections import Counter

from llmos.data.languages import script_of
from llmos.data.steps.quality.page import Page, repeated
from llmos.data.steps.quality.scripts import SENTENCE_MARKS, WIDE
from llmos.data.steps.quality.words import WORD, surely_more_words
from llmos.data.steps.step import Drop

# 3.6: "the fraction of lines ending with punctuation <= 0.12", "the fraction of characters in
# duplicated lines >= 0.1" (0.01 in FineWeb's code and here), "the fraction of lines shorter than
# 30 characters >= 0.67"
FEWEST_ENDED_LINES = 0.12
MOST_SHORT_LINES = 0.67
SHORT_LINE = 30
REPEATED_CHARACTERS = 0.01
# Not in the paper: lines per word above which a text is a list (FineWeb's code).
LINES_PER_WORD = 0.3

_WITHOUT_MARKS = ("Thai", "Lao")
_CLOSING = "\"'”’“»›«」』）】)"


def fineweb(page: Page, counts: Counter[str]) -> Page | Drop:
    """The page as it is, or the first rule that it breaks."""
    lines = [line for line in page.text.split("\n") if line.strip()]
    reason = _ends(page, lines) or _lengths(page.text, lines)
    if not reason:
        breaks = page.text.count("\n")
        characters = repeated(lines)[1]
        if characters / (len(page.text) - breaks) > REPEATED_CHARACTERS:
            reason = "fineweb_repeated_lines"
        elif _is_list(page, breaks):
            reason = "fineweb_list"
    return Drop(reason) if reason else page


def _ends(page: Page, lines: list[str]) -> str:
    closing = "" if page.is_english else _CLOSING
    ended = sum(line.rstrip(closing)[-1:] in SENTENCE_MARKS for line in lines)
    if ended / len(lines) < FEWEST_ENDED_LINES and script_of(page.text) not in _WITHOUT_MARKS:
        return "fineweb_unended_lines"
    return ""


def _lengths(text: str, lines: list[str]) -> str:
    most = MOST_SHORT_LINES * len(lines)
    short = [line for line in lines if len(line) <= SHORT_LINE]
    if len(short) > most and not text.isascii():
        short = [line for line in short if len(line) + len(WIDE.findall(line)) <= SHORT_LINE]
    return "fineweb_short_lines" if len(short) > most else ""


def _is_list(page: Page, breaks: int) -> bool:
    if surely_more_words(page.text, int(breaks / LINES_PER_WORD) + 1):
        return False
    return breaks * WORD > LINES_PER_WORD * page.words.total
