"""C4's rules (arXiv 1910.10683, 2.2), as FineWeb uses them (arXiv 2406.17557, 3.5).

As datatrove's `C4QualityFilter` has them with `filter_no_terminal_punct` off: lines need not end
with a full stop, as that alone would take out some 30 % of the tokens. C4's list of bad words is
left out as there. Lines are taken out, blank ones with them; a text without enough sentences after
that is dropped. Lines of text without blanks between words have as many words as their letters
make; sentences end at the marks of all scripts, in Thai and Lao at blanks.
"""

from __future__ import annotations

import re
from collections import Counter

from llmos.data.sentences import sentences
from llmos.data.steps.quality.page import Page
from llmos.data.steps.quality.scripts import HAS_UNSPACED, WITHOUT_SENTENCE_MARKS
from llmos.data.steps.quality.words import chunks_of, word_table
from llmos.data.steps.step import Drop

# 2.2. These two are datatrove's; C4's code (tensorflow_datasets, c4_utils.py) has 3 sentences and
# 5 words.
FEWEST_SENTENCES = 5
FEWEST_LINE_WORDS = 3
LONGEST_WORD = 1000  # characters; from C4's code, not in the paper
# From C4's code as well, as are citations; the paper has lorem ipsum, JavaScript and brackets.
POLICIES = (
    "terms of use", "privacy policy", "cookie policy",
    "uses cookies", "use of cookies", "use cookies",
)  # fmt: skip

_CITATION = re.compile(r"\[\d*]|\[edit]|\[citation needed]")
_SUSPECT = tuple(phrase.encode() for phrase in ("lorem ipsum", "javascript", "{", *POLICIES))
# Characters of a line that mostly have enough sentences, or words, to leave the rest unread.
_BEGINNING = 600
_SAMPLE = 24


def c4(page: Page, counts: Counter[str]) -> Page | Drop:
    """The page without the lines that break a rule, or a reason why it is dropped."""
    kept: list[str] = []
    removed = 0
    # bytes.lower knows Latin letters alone, which is all that is looked for, and is quick.
    lower = page.text.encode("utf-8", "surrogatepass").lower()
    suspect = any(phrase in lower for phrase in _SUSPECT)
    for line in page.text.splitlines():
        line = line.strip()
        if not line:
            continue
        few = len(line.split(None, FEWEST_LINE_WORDS - 1)) < FEWEST_LINE_WORDS
        if (few and not _has_words(line)) or (len(line) > LONGEST_WORD and _has_long_word(line)):
            removed += 1
            continue
        if "[" in line:
            line = _CITATION.sub("", line)
        verdict = _verdict(line) if suspect else ""
        if verdict == "line":
            removed += 1
        elif verdict:
            return Drop(verdict)
        else:
            kept.append(line)
    if not _has_sentences(kept):
        return Drop("c4_few_sentences")
    if removed:
        counts["c4_lines_removed"] += removed
    text = "\n".join(kept).strip()
    return page if text == page.text else Page(text, page.language)


def _verdict(line: str) -> str:
    """Empty where the line stays, "line" where it goes, a reason where the whole text does."""
    lower = line.lower()
    if "lorem ipsum" in lower:
        return "c4_lorem_ipsum"
    if "javascript" in lower:
        return "line"
    if "{" in line:
        return "c4_curly_bracket"
    return "line" if any(policy in lower for policy in POLICIES) else ""


def _has_words(line: str) -> bool:
    """Whether a line without enough blanks has enough words, as few scripts leave them out."""
    if line.isascii() or not HAS_UNSPACED.search(line):
        return False
    return any(word_table().has_words(part, FEWEST_LINE_WORDS) for part in (line[:_SAMPLE], line))


def _has_long_word(line: str) -> bool:
    # A long word would fill one of these blocks.
    half = LONGEST_WORD // 2
    if all(" " in line[at : at + half] for at in range(0, len(line) - half, half)):
        return False
    return max(map(len, chunks_of(line))) > LONGEST_WORD


def _has_sentences(lines: list[str]) -> bool:
    number = 0
    for line in lines:
        # The beginning of a long line often has enough; it never has more than the line.
        here = len(sentences(line[:_BEGINNING]))
        if number + here < FEWEST_SENTENCES and len(line) > _BEGINNING:
            here = len(sentences(line))
        if WITHOUT_SENTENCE_MARKS.search(line):
            here += len(line.split()) - 1
        number += here
        if number >= FEWEST_SENTENCES:
            return True
    return False
