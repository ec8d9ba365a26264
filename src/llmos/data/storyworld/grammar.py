"""Sentence patterns with typed slots: read from a language's data, written out, or expanded.

A pattern is literal text with slots in braces:

- `{hero}`            the word of a variable, as it stands in the lexicon
- `{a:colour,object}` a form of the language (article, order, agreement) made of words
- `{he/she@hero}`     masculine or feminine, agreeing with hero; `{job@hero}` a word that agrees;
                      `@hero+kin` is feminine when both are
- `{+goal}`           a clause: the goal of the story's frame, and so on

The same patterns write stories (`Language.tell`) and check sentences (`checker.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from llmos.data.storyworld import world

ORDER = ("setting", "wish", "trouble", "arrival", "help", "outcome", "closing")


@dataclass(frozen=True)
class Word:
    """A lexicon entry. `forms`: masculine, feminine, masculine before a vowel."""

    text: str
    gender: str = "m"
    forms: tuple[str, ...] = ()
    article: str = ""  # article or measure word
    before: str = ""  # preposition
    after: str = ""  # postposition
    prenominal: bool = False

    def agreeing(self, gender: str) -> Word:
        """The word in the form for this gender."""
        forms = self.forms or (self.text,)
        text = forms[1] if gender == "f" and len(forms) > 1 else forms[0]
        return replace(self, text=text, gender=gender)


Form = Callable[[Sequence[Word]], str]


def plain(words: Sequence[Word]) -> str:
    """The words as they are, in this order."""
    return " ".join(word.text for word in words)


@dataclass(frozen=True)
class Slot:
    """`form` applied to `words`; each word is (text, variables that it agrees with)."""

    form: str
    words: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The variables that decide what stands here."""
        own = [n for text, to in self.words for n in ((text,) if "/" not in text else ()) + to]
        return tuple(dict.fromkeys(own))


class Clause(str):
    """A place for one of the clauses of the group with this name."""


Pattern = tuple[str | Slot | Clause, ...]
_DOMAIN: dict[str, set[str]] = {}  # variable -> the concepts that it can be in any story
for _lists in (world.variables(frame, mood) for frame in world.FRAMES for mood in world.MOODS):
    for _variable, _list in _lists.items():
        _DOMAIN.setdefault(_variable, set()).update(world.VALUES[_list])


def split_sentences(text: str) -> list[str]:
    """The sentences of a text, with their final mark and closing quotation mark."""
    found = re.findall(r"[^.!?。！？]*[.!?。！？]+(?:\u00A0»|[\"”»]\.?)?|[^.!?。！？]+$", text)
    return [sentence.strip(" ") for sentence in found if sentence.strip(" ")]


class Language:
    """One language: its words, its sentence patterns, and the forms that its module defines."""

    def __init__(
        self, code: str, forms: Mapping[str, Form], parse: Callable[[str], Word], space: str = " "
    ) -> None:
        data = world.load_lexicon(code)
        self.code, self.space, self._forms = code, space, forms
        self._literals: list[str] = list(data["mood"].values())
        self._expanded: dict[Slot, dict[str, set[tuple[str, ...]]]] = {}
        self.mood: dict[str, str] = {mood: self.spell(word) for mood, word in data["mood"].items()}
        # A concept without an entry is its own word: English, and names in Latin script.
        self.lexicon = {c: Word(c) for concepts in world.VALUES.values() for c in concepts}
        if not space:
            self.lexicon |= {n: Word(chinese) for n, chinese in world.LATIN_TO_CHINESE.items()}
        for entry in data["words"]:
            concept, mark, text = re.split(r"( =|:) ", entry, maxsplit=1)
            self.lexicon[concept] = parse(text) if mark == ":" else Word(text)
        for concept, gender in world.GENDER.items():
            self.lexicon[concept] = replace(self.lexicon[concept], gender=gender)
        self.sentences = {  # group -> paraphrases -> sentences
            group: [[self._compile(s) for s in split_sentences(passage)] for passage in passages]
            for group, passages in data["sentences"].items()
        }
        self.patterns = [p for group in self.sentences.values() for ps in group for p in ps]
        pairs, outcomes = data["obstacle"].items(), data["outcome"].items()
        data["obstacle"] = {name: obstacle for name, (obstacle, _) in pairs}
        data["help"] = {name: help_ for name, (_, help_) in pairs}
        data["outcome"] = {f"{frame}.{mood}": o[mood] for frame, o in outcomes for mood in o}
        self.clauses = {  # group -> key -> clause
            group: {key: self._compile(text) for key, text in data[group].items()}
            for group in ("answers", "goal", "why", "obstacle", "help", "outcome", "ending")
        }

    def spell(self, text: str) -> str:
        """`text` as it is written: Chinese has no spaces between words."""
        return text if self.space else text.replace(" ", "")

    def _compile(self, template: str) -> Pattern:
        pieces: list[str | Slot | Clause] = []
        for number, piece in enumerate(re.split(r"\{(.*?)\}", template)):
            if number % 2 == 0:
                self._literals.append(piece)
                pieces += [self.spell(piece)] if self.spell(piece) else []
            elif piece.startswith("+"):
                pieces.append(Clause(piece[1:]))
            else:
                form, _, arguments = piece.rpartition(":")
                parts = [argument.partition("@") for argument in arguments.split(",")]
                words = tuple((text, tuple(to.split("+")) if to else ()) for text, _, to in parts)
                pieces.append(Slot(form or "plain", words))
        return tuple(pieces)

    def _write_slot(self, slot: Slot, values: Mapping[str, str]) -> str:
        words = []
        for text, to in slot.words:
            choices = Word("", forms=tuple(text.split("/")))
            word = choices if "/" in text else self.lexicon[values[text]]
            genders = {self.lexicon[values[name]].gender for name in to}
            words.append(word.agreeing("f" if genders == {"f"} else "m") if to else word)
        return self._forms[slot.form](words)

    def expand(self, slot: Slot) -> dict[str, set[tuple[str, ...]]]:
        """Everything that can stand in `slot`: text -> the values of `slot.names` that give it."""
        if slot not in self._expanded:
            found = self._expanded[slot] = {}
            for values in product(*(sorted(_DOMAIN[name]) for name in slot.names)):
                text = self._write_slot(slot, dict(zip(slot.names, values, strict=True)))
                found.setdefault(text, set()).add(values)
        return self._expanded[slot]

    def write(self, pattern: Pattern, facts: world.StoryFacts) -> str:
        """The text of a pattern for a story."""
        key = {"goal": facts.frame, "why": facts.reason, "obstacle": facts.obstacle}
        key |= {"help": facts.obstacle, "ending": facts.mood}
        key |= {"outcome": f"{facts.frame}.{facts.mood}"}
        text = ""
        for piece in pattern:
            if isinstance(piece, Clause):
                text += self.write(self.clauses[piece][key[piece]], facts)
            elif isinstance(piece, Slot):
                text += self.spell(self._write_slot(piece, facts.values))
            else:
                text += piece
        return text

    def tell(self, facts: world.StoryFacts) -> str:
        """The whole story."""
        parts = zip(ORDER, facts.variants, strict=True)
        return self.space.join(self.passage(group, facts, variant) for group, variant in parts)

    def passage(self, group: str, facts: world.StoryFacts, variant: int = 0) -> str:
        """The one or two sentences of a part of the story, in the given paraphrase."""
        passages = self.sentences.get(f"{group}_{facts.mood}") or self.sentences[group]
        texts = [self.write(pattern, facts) for pattern in passages[variant % len(passages)]]
        return self.space.join(text[0].upper() + text[1:] for text in texts)

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Every word form that the language's stories can hold, in lower case."""
        patterns = self.patterns + [p for c in self.clauses.values() for p in c.values()]
        slots = {piece for pattern in patterns for piece in pattern if isinstance(piece, Slot)}
        text = self._literals + [form for slot in slots for form in self.expand(slot)]
        return frozenset(re.findall(r"[^\W\d_]+", " ".join(text).lower()))
