"""A grammar checker by storyworld's own rules, for text of a model trained on its stories.

A sentence is right when it is written like one of the language's sentence patterns and every slot
agrees with the others (article with noun, adjective with person, measure word with thing) and
with the gender of the story's hero and helper. The patterns are those that write the stories.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

from llmos.data.storyworld.grammar import Clause, Language, Pattern, Slot, split_sentences
from llmos.data.storyworld.stories import language_of
from llmos.data.storyworld.world import GENDER, VALUES

Bound = dict[str, frozenset[str]]  # variable -> the values that it can still have
Notes = list[tuple[int, str]]  # how far reading came, and why it stopped there


@cache
def _forms(language: Language, slot: Slot) -> tuple[dict[str, set[tuple[str, ...]]], list[int]]:
    forms = {language.spell(text): values for text, values in language.expand(slot).items()}
    return forms, sorted({len(form) for form in forms})


def _read(
    language: Language, pattern: Pattern, text: str, at: int, bound: Bound, notes: Notes
) -> Iterator[Bound]:
    """What the variables can be, for each way to read `text[at:]` as `pattern`."""
    left = text[at:]
    piece, rest = (pattern[0], pattern[1:]) if pattern else ("", ())
    if not pattern and not left:
        yield bound
    elif isinstance(piece, Clause):
        for clause in language.clauses[piece].values():
            yield from _read(language, clause + rest, text, at, bound, notes)
    elif isinstance(piece, str):
        same = next((i for i, c in enumerate(piece) if c != left[i : i + 1]), len(piece))
        notes.append((at + same, f"no sentence goes on with {left[same:]!r}"))
        if pattern and same == len(piece):
            yield from _read(language, rest, text, at + same, bound, notes)
    else:
        notes.append((at, f"no sentence goes on with {left!r}"))
        forms, lengths = _forms(language, piece)
        for form in (left[:length] for length in lengths):
            named = [dict(zip(piece.names, v, strict=True)) for v in forms.get(form, ())]
            fits = [v for v in named if all(v[n] in bound.get(n, (v[n],)) for n in v)]
            if fits:
                narrowed = bound | {n: frozenset(v[n] for v in fits) for n in piece.names}
                yield from _read(language, rest, text, at + len(form), narrowed, notes)
            elif named:
                notes.append((at + len(form), f"{form!r} does not agree"))


def _judge(language: Language, sentence: str, people: Bound) -> tuple[str, Bound]:
    """The problem of a sentence ("" when it has none) and what its variables can be."""
    words = re.findall(r"[^\W\d_]" + ("+" if language.space else ""), sentence)
    known = language.vocabulary if language.space else set("".join(language.vocabulary))
    if unknown := [word for word in words if word.lower() not in known]:
        return f"unknown word {unknown[0]!r}", people
    if not _complete(sentence):
        return "no final mark", people
    if words and words[0][0].islower():
        return "no capital letter at the beginning", people
    notes: Notes = []
    for text in {sentence, sentence[0].lower() + sentence[1:]}:
        for pattern in language.patterns:
            for bound in _read(language, pattern, text, 0, people, notes):
                return "", bound
    return max(notes)[1], people


def _complete(sentence: str) -> bool:
    pairs = all(sentence.count(a) == sentence.count(b) for a, b in ("“”", "«»"))
    marks = re.search(r"[.!?。！？](\u00A0»|[\"”»])?$", sentence)
    return pairs and marks is not None and sentence.count('"') % 2 == 0


def _problems(text: str, code: str, ignore_last: bool) -> list[str]:
    """One problem, or "" for none, for each sentence."""
    language, sentences = language_of(code), split_sentences(text)
    if ignore_last and sentences and not _complete(sentences[-1]):
        sentences.pop()
    people, problems = dict.fromkeys(("hero", "helper"), frozenset(VALUES["name"])), []
    for sentence in sentences:
        problem, bound = _judge(language, sentence, people)
        for person in people:  # the next sentences must keep the gender, not the name
            genders = {GENDER[name] for name in bound[person]}
            people[person] = frozenset(n for n in VALUES["name"] if GENDER[n] in genders)
        problems.append(problem and f"{problem}: {sentence!r}")
    return problems


def check(text: str, language: str, *, ignore_last: bool = False) -> list[str]:
    """The problems of a story's text, at most one a sentence; empty when it is right.

    `ignore_last` leaves out a last sentence that a length limit has cut. Raises `UsageError` for
    an unknown language.
    """
    problems = enumerate(_problems(text, language, ignore_last), 1)
    found = [f"sentence {number}: {problem}" for number, problem in problems if problem]
    if text.strip() != language_of(language).space.join(split_sentences(text)):
        found.append("between sentences stands one space, in Chinese none")
    return found


def pass_rate(texts: Iterable[str], language: str, *, ignore_last: bool = False) -> tuple[int, int]:
    """How many sentences have no problem, and how many sentences there are."""
    problems = [p for text in texts for p in _problems(text, language, ignore_last)]
    return problems.count(""), len(problems)
