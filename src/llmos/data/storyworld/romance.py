"""What French and Spanish share: dictionary entries, place and agreement of the adjective."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmos.data.storyworld.grammar import Word


def parse(entry: str) -> Word:
    """Reads "sur une île", "du pain", "el pan", "+ beau/belle/bel" or "boulanger/boulangère"."""
    lead = re.match(r"((?:dans|sur) )?((?:un|une|una|du|de la|el|la) )?(\+ )?", entry)
    before, article, plus = (lead[i] or "" for i in (1, 2, 3)) if lead else ("", "", "")
    forms = tuple(entry[len(before + article + plus) :].split("/"))
    gender = "f" if article.strip() in ("une", "una", "de la", "la") else "m"
    return Word(forms[0], gender, forms, article, before, prenominal=bool(plus))


def vowel(text: str) -> bool:
    """Whether a French word takes elision (no word of the lexicon begins with an aspirated h)."""
    return text[0].lower() in "aeiouhâéêîœ"


def plain(words: Sequence[Word]) -> str:
    """Adjectives and noun (last of `words`) in order and agreement: "bel accordéon"."""
    *adjectives, noun = words
    text = noun.text
    for word in adjectives:
        form = word.agreeing(noun.gender).text
        if noun.gender == "m" and len(word.forms) == 3 and vowel(text):
            form = word.forms[2]
        text = f"{form} {text}" if word.prenominal else f"{text} {form}"
    return text


def by_gender(words: Sequence[Word], masculine: str, feminine: str) -> str:
    """The phrase with a determiner that agrees with its noun."""
    return f"{feminine if words[-1].gender == 'f' else masculine} {plain(words)}"
