"""What French and Spanish share: dictionary entries, place and agreement of the adjective."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmos.data.storyworld.grammar import Word

_ENTRY = re.compile(
    r"(?P<before>(?:dans|sur) )?(?P<prenominal>\+ )?"
    r"(?P<article>(?:une|una|un|du|de la|el|la) )?(?P<text>.+)"
)


def parse(entry: str) -> Word:
    """"sur une île", "du pain", "el pan", "+ beau/belle/bel" or "boulanger/boulangère"."""
    found = _ENTRY.fullmatch(entry)
    assert found
    forms = tuple(found["text"].split("/"))
    article = found["article"] or ""
    return Word(
        forms[0],
        "f" if article in ("une ", "una ", "de la ", "la ") else "m",
        forms if not article else (),
        article,
        found["before"] or "",
        prenominal=bool(found["prenominal"]),
    )


def vowel(text: str) -> bool:
    """Whether a French word takes elision (no word of the lexicon begins with an aspirated h)."""
    return text[0].lower() in "aeiouhâàéèêîôûœ"


def plain(words: Sequence[Word]) -> str:
    """Adjectives and noun (last of `words`) in order and agreement: "bel accordéon"."""
    *adjectives, noun = words
    text = noun.text
    for word in adjectives:
        feminine = noun.gender == "f"
        form = word.forms[min(len(word.forms) - 1, feminine)]
        if word.prenominal and not feminine and len(word.forms) == 3 and vowel(text):
            form = word.forms[2]
        text = f"{form} {text}" if word.prenominal else f"{text} {form}"
    return text


def by_gender(words: Sequence[Word], masculine: str, feminine: str) -> str:
    """The phrase with a determiner that agrees with its noun."""
    return (feminine if words[-1].gender == "f" else masculine) + plain(words)
