"""Gopher's rules for the quality of a text (arXiv 2112.11446, appendix A1.1, "quality filtering").

As datatrove's `GopherQualityFilter` has them for English, where punctuation marks are words, too,
except for the length of the text and of its words. In other languages:

- the share of alphabetic words is that of the words without punctuation marks, as in the paper,
  since how many marks there are differs between languages (FineWeb2 lowers the threshold instead);
- the mean length of the words has wider bounds, and is asked of words between blanks alone, where
  most words are such;
- stop words are those of the text's language (see `stop_words`).
"""

from __future__ import annotations

from collections import Counter

from llmos.data.steps.quality.page import Page
from llmos.data.steps.quality.stop_words import has_stop_words
from llmos.data.steps.quality.words import WORD
from llmos.data.steps.step import Drop

# All of A1.1: "between 50 and 100,000 words", "mean word length ... 3 to 10 characters", ...
FEWEST_WORDS = 50
MOST_WORDS = 100_000
MEAN_LENGTH = (3.0, 10.0)
# Elsewhere: in the Universal Declaration of Human Rights 2.6 in Dangme, 14.3 in Greenlandic.
MEAN_LENGTH_ELSEWHERE = (2.0, 15.0)
SYMBOLS_PER_WORD = 0.1  # hash signs, and ellipses
BULLET_LINES = 0.9
ELLIPSIS_LINES = 0.3
ALPHABETIC_WORDS = 0.8
STOP_WORDS = 2
TOO_LONG = "gopher_too_long"

_BULLETS = frozenset("-•‣⁃▪▫■□●○◦◆◇・※*")
_ELLIPSES = ("...", "…")


def gopher(page: Page, counts: Counter[str]) -> Page | Drop:
    """The page as it is, or the first rule that it breaks."""
    reason = _words(page) or _lines(page.text)
    if not reason:
        words = page.words
        base = words.total if page.is_english else words.proper
        if words.alphabetic / base < ALPHABETIC_WORDS:
            reason = "gopher_few_alphabetic_words"
        elif not has_stop_words(page.text, page.language, STOP_WORDS):
            reason = "gopher_few_stop_words"
    return Drop(reason) if reason else page


def _words(page: Page) -> str:
    """The reason among the rules that count words; empty where they are met."""
    text, words = page.text, page.words
    if words.proper < FEWEST_WORDS * WORD:
        return "gopher_too_short"
    if words.proper > MOST_WORDS * WORD:
        return TOO_LONG
    if words.spaced * 2 > words.proper:
        mean = words.spaced_letters * WORD / words.spaced
        shortest, longest = MEAN_LENGTH if page.is_english else MEAN_LENGTH_ELSEWHERE
        if mean < shortest:
            return "gopher_short_words"
        if mean > longest:
            return "gopher_long_words"
    most = SYMBOLS_PER_WORD * words.total / WORD
    if text.count("#") > most:
        return "gopher_hash_signs"
    # Chinese and Japanese write one ellipsis as two signs.
    if text.count("...") + text.count("…") - text.count("……") > most:
        return "gopher_ellipses"
    return ""


def _lines(text: str) -> str:
    """The reason among the rules that look at lines; empty where they are met."""
    lines = text.splitlines()
    bullets = sum(line.lstrip()[:1] in _BULLETS for line in lines)
    if bullets / len(lines) > BULLET_LINES:
        return "gopher_bullet_lines"
    if any(mark in text for mark in _ELLIPSES):
        ends = sum(line.rstrip().endswith(_ELLIPSES) for line in lines)
        if ends / len(lines) > ELLIPSIS_LINES:
            return "gopher_ellipsis_lines"
    return ""
