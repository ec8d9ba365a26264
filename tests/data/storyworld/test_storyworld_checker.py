"""The checker passes every story and finds each kind of mistake."""

from __future__ import annotations

import random
import re
from functools import cache

import pytest

from llmos.data.storyworld.checker import check, pass_rate
from llmos.data.storyworld.grammar import split_sentences
from llmos.data.storyworld.stories import LANGUAGES, tell
from llmos.data.storyworld.world import sample_story
from llmos.errors import UsageError

CODES = sorted(LANGUAGES)


@cache
def texts(code: str, number: int, seed: int = 11) -> list[str]:
    return [tell(sample_story(seed, index), code).text for index in range(number)]


@pytest.mark.parametrize("code", CODES)
def test_every_story_and_summary_passes(code: str) -> None:
    stories = [tell(sample_story(12, index), code) for index in range(300)]
    for story in stories:
        assert check(story.text, code) == []
        assert check(story.facts["summary"], code) == []
    passed, total = pass_rate([story.text for story in stories], code)
    assert passed == total > 1800


# language -> (pattern, wrong replacement); wherever it applies, the checker must object.
MISTAKES = {
    "en": [
        (r"\ban ", "a "),
        (r"\ba (?=[^aeiou])", "an "),
        (r"\bshe\b", "he"),
        (r"\bhis\b", "her"),
        (r"\bwanted to\b", "want to"),
        (r"\bwas\b", "were"),
        (r"apples|eggs|flowers|oranges|pumpkins", "apple"),
        (r" the ", " the the "),
        (r"thanked", "hugged"),
    ],
    "fr": [
        (r"\bsa ", "son "),
        (r"\bson (?=père|frère|oncle|voisin )", "sa "),
        (r"\bune ", "un "),
        (r"\bun ", "une "),
        (r"\bl'(?=[aeiouéhœ]\w+ )", "le "),
        (r"\bdu (?=lac|phare|château)", "de le "),
        (r"\bcontente\b", "content"),
        (r"\brentrée\b", "rentré"),
        (r"\bassis\b", "assise"),
        (r"\bperdue?\b(?= (dans|sur|au))", "perdues"),
        (r"\belle\b", "il"),
        (r"vieille", "vieux"),
        (r"voulait", "voulaient"),
        (r"\u00a0»", ""),
        (r"\bun (\w+) d'(?=été|hiver|automne)", r"un \1 de "),
    ],
    "es": [
        (r"\bla (?=\w+a\b)", "el "),
        (r"\bel (?=\w+o\b)", "la "),
        (r"\buna ", "un "),
        (r"\bdel (?=río|mar|lago|faro)", "de el "),
        (r"\bcontenta\b", "contento"),
        (r"\bcansado\b", "cansada"),
        (r"\bquería\b", "querían"),
        (r"\bestaba\b", "era"),
        (r"roja\b", "rojo"),
        (r"pequeño\b", "pequeña"),
        (r"«", ""),
    ],
    "zh": [
        (r"一把(?=伞|吉他|椅子)", "一只"),
        (r"[一那]只(?=.{0,5}(猫|狗|兔子|山羊|风筝))", "一把"),
        (r"那条(?=.围巾|.毯子)", "那个"),
        (r"一位(?=面包师|农民)", "一座"),
        (r"一座", "一个"),
        (r"她(?!们)", "他"),
        (r"他们", "她们"),
        (r"，", ","),
        (r"很高兴", "高兴很"),
        (r"想", "想了"),
    ],
}


@pytest.mark.parametrize(
    ("code", "right", "wrong"), [(code, *pair) for code in CODES for pair in MISTAKES[code]]
)
def test_mistakes_are_found(code: str, right: str, wrong: str) -> None:
    applied = 0
    for text in texts(code, 400):
        corrupted = re.sub(right, wrong, text, count=1)
        if corrupted == text:
            continue
        applied += 1
        assert check(corrupted, code), corrupted
        if applied == 15:
            break
    assert applied >= 5


@pytest.mark.parametrize("code", CODES)
def test_form_of_the_sentence(code: str) -> None:
    for text in texts(code, 20):
        unfinished = text.rstrip('.。”»"')
        (problem,) = check(unfinished, code)
        assert "no final mark" in problem
        assert check(unfinished, code, ignore_last=True) == []
        assert check(text.replace(LANGUAGES[code].lexicon["small"].text, "Quux") + "Quux.", code)
    for text in texts(code, 20) if code != "zh" else []:
        assert "no capital" in check(text[0].lower() + text[1:], code)[0]
        assert check(text.replace(". ", ".", 1), code)
        assert check(text.replace(" ", "  ", 1), code)


@pytest.mark.parametrize("code", CODES)
def test_unknown_words_and_other_languages_are_found(code: str) -> None:
    sentences = split_sentences(texts(code, 1)[0])
    strange = {"zh": "龘"}.get(code, " xylophone")
    assert "unknown word" in check(sentences[0][:-1] + strange + sentences[0][-1], code)[0]
    for other in set(CODES) - {code}:
        passed, total = pass_rate(texts(other, 20), code)
        assert (passed, total > 100) == (0, True)


@pytest.mark.parametrize("code", CODES)
def test_words_in_another_order_are_found(code: str) -> None:
    rng = random.Random(0)
    missed = tried = 0
    for text in texts(code, 40):
        sentence = rng.choice(split_sentences(text))
        units = list(sentence) if code == "zh" else sentence.split(" ")
        at = rng.randrange(len(units) - 1)
        swapped = [*units[:at], units[at + 1], units[at], *units[at + 2 :]]
        if swapped != units:
            tried += 1
            missed += not check("".join(swapped) if code == "zh" else " ".join(swapped), code)
    assert tried > 30
    assert missed == 0


def test_a_pronoun_must_agree_with_the_hero_of_the_story() -> None:
    start = "Anna was a baker and lived in a small village near the river."
    assert check(f"{start} In the end, she was happy, and so was Leo.", "en") == []
    (problem,) = check(f"{start} In the end, he was happy, and so was Leo.", "en")
    assert problem.startswith("sentence 2: 'he' does not agree")
    assert check("In the end, he was happy, and so was Anna.", "en") == []


def test_the_rest_of_a_text_with_one_mistake_counts() -> None:
    text = texts("en", 1)[0]
    good = pass_rate([text], "en")
    assert pass_rate([text.replace("wanted", "wants", 1)], "en") == (good[0] - 1, good[1])
    assert pass_rate([], "en") == (0, 0)
    assert check("", "en") == []


def test_unknown_language() -> None:
    with pytest.raises(UsageError, match="en, zh, fr, es"):
        check("Hallo.", "de")
