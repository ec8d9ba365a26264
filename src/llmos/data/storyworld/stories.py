"""Synthetic stories, parallel in four languages: `tell` one, or write many as JSON Lines.

llmos storyworld write stories/ --stories 1000 --langs en,zh
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos.data.storyworld.chinese import CHINESE
from llmos.data.storyworld.english import ENGLISH
from llmos.data.storyworld.french import FRENCH
from llmos.data.storyworld.grammar import Language
from llmos.data.storyworld.spanish import SPANISH
from llmos.data.storyworld.world import StoryFacts, sample_story
from llmos.errors import UsageError
from llmos.records import JSON
from llmos.storage import write_atomic

VERSION = 1  # of the world and its sentences: another version tells other stories
LANGUAGES: dict[str, Language] = {x.code: x for x in (ENGLISH, CHINESE, FRENCH, SPANISH)}


@dataclass(frozen=True)
class Story:
    """A synthetic story; its `facts` are who, where, what, why, mood (of the ending), summary."""

    id: str
    language: str
    text: str
    facts: dict[str, str]


def language_of(code: str) -> Language:
    """The language with this code; raises `UsageError` for one that storyworld does not know."""
    if code not in LANGUAGES:
        raise UsageError(f"storyworld has no language {code!r}: choose from {', '.join(LANGUAGES)}")
    return LANGUAGES[code]


def tell(facts: StoryFacts, language: str) -> Story:
    """The story in words; raises `UsageError` for an unknown language."""
    code, words = language, language_of(language)
    answers = {name: words.write(p, facts) for name, p in words.clauses["answers"].items()}
    answers |= {"mood": words.mood[facts.mood], "summary": words.passage("summary", facts)}
    return Story(f"storyworld-{facts.seed}-{facts.index}-{code}", code, words.tell(facts), answers)


def write_stories(
    folder: Path,
    stories: int,
    languages: Sequence[str],
    seed: int = 0,
    start: int = 0,
    share: Mapping[str, float] | None = None,
) -> list[Path]:
    """Write stories `start` to `start + stories - 1` as `<language>.jsonl`, and `card.json`.

    `share` gives the part of the stories, in (0, 1], that a language tells (the first ones;
    1 where it is not named). Two folders with index ranges apart hold different stories of one
    world. Returns the files, the card last. Raises `UsageError` for numbers or languages that do
    not fit and for a folder that holds other data or cannot be written; `StorageError` for a disk.
    """
    shares = {code: (share or {}).get(code, 1.0) for code in languages}
    for code in (*shares, *(share or {})):
        language_of(code)
    if stories < 1 or start < 0 or not shares:
        raise UsageError(f"{stories} stories from {start} in {len(shares)} languages: too few")
    if wrong := [f"{code}={part}" for code, part in shares.items() if not 0 < part <= 1]:
        raise UsageError(f"share {', '.join(wrong)}: give a number above 0 and at most 1")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        other = {path.stem for path in folder.glob("*.jsonl")} - set(shares)
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose a folder") from error
    if other or not os.access(folder, os.W_OK):
        reason = f"it holds {min(other)}.jsonl" if other else "no permission"
        raise UsageError(f"cannot write into {folder}, {reason}: choose another folder")
    paths = [folder / f"{code}.jsonl" for code in shares] + [folder / "card.json"]
    for path, (code, part) in zip(paths, shares.items(), strict=False):
        indices = range(start, start + max(1, round(part * stories)))
        write_atomic(path, "".join(_lines(seed, indices, code)).encode())
    card: JSON = {"name": "storyworld", "synthetic": True, "languages": list(shares)}
    card |= {"licence": "CC0-1.0", "source": "LLMOS storyworld generator", "version": VERSION}
    card |= {"seed": seed, "start": start, "stories": stories, "share": shares}
    write_atomic(paths[-1], (json.dumps(card, ensure_ascii=False, indent=2) + "\n").encode())
    return paths


def _lines(seed: int, indices: range, code: str) -> Iterator[str]:
    for index in indices:
        story = tell(sample_story(seed, index), code)
        record = {"id": story.id, "language": code, "text": story.text, "synthetic": True}
        yield json.dumps(record | {"facts": story.facts}, ensure_ascii=False) + "\n"
