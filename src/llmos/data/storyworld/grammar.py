"""Sentence patterns with typed slots: read from a language's data, written out, or expanded.

A pattern is literal text with slots in braces:

- `{hero}`            the word of a variable, as it stands in the lexicon
- `{a:colour,thing}`  a form of the language (article, order, agreement) made of words
- `{he/she@hero}`     masculine or feminine, agreeing with hero; `{job@hero}` a word that agrees;
                      `@hero+kin` is feminine when both are
- `{+goal}`           a clause: `goal` of the story's frame, and so on

The same patterns write stories (`Language.tell`) and check sentences (`checker.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from llmos.data.storyworld.world import (
    COMMON,
    FRAMES,
    GENDER,
    LATIN_TO_CHINESE,
    VALUES,
    StoryFacts,
    load_lexicon,
    variables,
)

ORDER = ("setting", "wish", "trouble", "arrival", "help", "outcome", "closing")


@dataclass(frozen=True)
class Word:
    """A lexicon entry. `forms`: masculine, feminine, masculine before a vowel (adjectives)."""

    text: str
    gender: str = "m"
    forms: tuple[str, ...] = ()
    article: str = ""  # article or measure word
    before: str = ""  # preposition
    after: str = ""  # postposition
    prenominal: bool = False


Form = Callable[[Sequence[Word]], str]


@dataclass(frozen=True)
class Slot:
    """`form` applied to `words`; each word is (text, variables that it agrees with)."""

    form: str
    words: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that decide what stands here."""
        own = [n for text, agree in self.words for n in ((text,) if "/" not in text else ()) + agree]
        return tuple(dict.fromkeys(own))


@dataclass(frozen=True)
class Clause:
    """A place for one of the clauses of a group."""

    group: str


Pattern = tuple[str | Slot | Clause, ...]
_DOMAIN: dict[str, set[str]] = {
    variable: {v for f in FRAMES for v in VALUES.get(variables(f).get(variable, ""), [])}
    for variable in COMMON | {k: "" for f in FRAMES for k in variables(f)}
}


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, with their final mark and closing quotation mark."""
    found = re.findall(r"[^.!?。！？]+(?:[.!?。！？]+(?:\u00A0»|[\"”»])?|$)", text)
    return [s for s in (sentence.strip() for sentence in found) if s]


def capital(text: str) -> str:
    """`text` with its first letter as a capital."""
    return text[:1].upper() + text[1:]


class Language:
    """One language: its words, its sentence patterns, and the forms its module defines."""

    def __init__(
        self, code: str, forms: Mapping[str, Form], parse: Callable[[str], Word], space: str = " "
    ) -> None:
        data = load_lexicon(code)
        self.code, self.name, self.space = code, str(data["name"]), space
        self.mood: dict[str, str] = {k: self.spell(v) for k, v in data["mood"].items()}
        self._forms = forms
        self.lexicon = {n: Word(n if space else LATIN_TO_CHINESE[n]) for n in VALUES["name"]}
        for entry in data["words"]:
            concept, mark, text = re.split(r"( =|:) ", entry, maxsplit=1)
            self.lexicon[concept] = parse(text) if mark == ":" else Word(text)
        for concept in {c for group in VALUES.values() for c in group} - set(self.lexicon):
            self.lexicon[concept] = Word(concept)  # English: a concept is its own word
        for concept, gender in GENDER.items():
            self.lexicon[concept] = replace(self.lexicon[concept], gender=gender)
        self.raw: list[str] = list(data["mood"].values())  # literal text, for the vocabulary
        self.sentences = {
            group: [[self._compile(s) for s in split_sentences(passage)] for passage in passages]
            for group, passages in data["sentences"].items()
        }
        self.facts = {k: self._compile(v) for k, v in data["facts"].items()}
        self.clauses: dict[str, dict[str, Pattern]] = {}
        for group in ("goal", "why", "obstacle", "help", "outcome"):
            flat = data[group]
            if group == "outcome":
                flat = {f"{f}.{m}": text for f, moods in flat.items() for m, text in moods.items()}
            self.clauses[group] = {key: self._compile(text) for key, text in flat.items()}
        self._index: dict[Slot, dict[str, set[tuple[str, ...]]]] = {}

    def spell(self, text: str) -> str:
        """`text` as it is written: Chinese has no spaces between words."""
        return text if self.space else text.replace(" ", "")

    def _compile(self, template: str) -> Pattern:
        pieces: list[str | Slot | Clause] = []
        for number, piece in enumerate(re.split(r"\{(.*?)\}", template)):
            if number % 2 == 0:
                self.raw.append(piece)
                pieces.append(self.spell(piece))
            elif piece.startswith("+"):
                pieces.append(Clause(piece[1:]))
            else:
                form, _, arguments = piece.rpartition(":")
                parts = [argument.partition("@") for argument in arguments.split(",")]
                words = tuple((t, tuple(a.split("+")) if a else ()) for t, _, a in parts)
                pieces.append(Slot(form or "plain", words))
        return tuple(piece for piece in pieces if piece != "")

    def write_slot(self, slot: Slot, values: Mapping[str, str]) -> str:
        """What stands in `slot` for these values (Chinese: still with spaces between words)."""
        words = []
        for text, agree in slot.words:
            genders = {self.lexicon[values[name]].gender for name in agree}
            gender = "f" if genders == {"f"} else "m"
            choices = tuple(text.split("/")) if "/" in text else ()
            word = Word("", forms=choices) if choices else self.lexicon[values[text]]
            if agree:
                forms = word.forms or (word.text,)
                word = Word(forms[min(len(forms) - 1, gender == "f")], gender)
            words.append(word)
        return self._forms[slot.form](words)

    def index(self, slot: Slot) -> dict[str, set[tuple[str, ...]]]:
        """Everything that can stand in `slot`: text -> the values of `slot.names` that give it."""
        if slot not in self._index:
            found: dict[str, set[tuple[str, ...]]] = {}
            for values in product(*(sorted(_DOMAIN[name]) for name in slot.names)):
                text = self.write_slot(slot, dict(zip(slot.names, values, strict=True)))
                found.setdefault(self.spell(text), set()).add(values)
            self._index[slot] = found
        return self._index[slot]

    def write(self, pattern: Pattern, facts: StoryFacts) -> str:
        """The text of a pattern for a story."""
        key = {"why": facts.reason, "obstacle": facts.obstacle, "help": facts.obstacle}
        key |= {"goal": facts.frame, "outcome": f"{facts.frame}.{facts.mood}"}
        text = ""
        for piece in pattern:
            if isinstance(piece, Clause):
                text += self.write(self.clauses[piece.group][key[piece.group]], facts)
            elif isinstance(piece, Slot):
                text += self.spell(self.write_slot(piece, facts.values))
            else:
                text += piece
        return text

    def tell(self, facts: StoryFacts) -> str:
        """The whole story."""
        parts: list[str] = []
        for group, variant in zip(ORDER, facts.variants, strict=False):
            parts += self.passage(group, facts, variant)
        return self.space.join(parts)

    def passage(self, group: str, facts: StoryFacts, variant: int = 0) -> list[str]:
        """The sentences of one part of the story, in the given paraphrase."""
        passages = self.sentences.get(group) or self.sentences[f"{group}_{facts.mood}"]
        return [capital(self.write(p, facts)) for p in passages[variant % len(passages)]]

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Every word form that the language's stories can hold, in lower case."""
        text = list(self.raw)
        patterns = [p for passages in self.sentences.values() for ps in passages for p in ps]
        patterns += [p for group in self.clauses.values() for p in group.values()]
        for slot in {piece for p in patterns for piece in p if isinstance(piece, Slot)}:
            domains = product(*(sorted(_DOMAIN[name]) for name in slot.names))
            text += [self.write_slot(slot, dict(zip(slot.names, v, strict=True))) for v in domains]
        return frozenset(re.findall(r"[^\W\d_]+", " ".join(text).lower()))
