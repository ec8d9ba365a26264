"""The world of the stories: people, places, wishes, obstacles, endings; no word of any language.

A story is a plot frame (wish), one of its reasons, an obstacle that fits the frame (with its own
help), a mood of the ending, and values (who, where, which thing) that do not clash. Synthetic.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any


def load_lexicon(name: str) -> dict[str, Any]:
    """One data file of the `lexicon` folder, by its name without the ending."""
    data = files("llmos.data.storyworld") / "lexicon" / f"{name}.toml"
    return tomllib.loads(data.read_text(encoding="utf-8"))


_WORLD = load_lexicon("world")
_NAMES = [entry.split() for entry in _WORLD["names"]]
LATIN_TO_CHINESE: dict[str, str] = {latin: chinese for latin, _, chinese in _NAMES}
VALUES: dict[str, list[str]] = {**_WORLD["values"], "name": list(LATIN_TO_CHINESE)}
GENDER: dict[str, str] = {latin: gender for latin, gender, _ in _NAMES} | {
    kin: "f" if kin in _WORLD["kin_women"] else "m" for kin in VALUES["kin"]
}
MOODS = ("happy", "sad", "mixed")
FRAMES: dict[str, dict[str, Any]] = _WORLD["frames"]
FAMILIES: dict[str, list[str]] = _WORLD["families"]
CLASHES = {frozenset((a, b)) for a, others in _WORLD["clashes"].items() for b in others}
PARTS = 7  # of a story, each with a number that chooses between its paraphrases

# What every story has: variable -> list of values; a frame adds its own.
COMMON = {"hero": "name", "helper": "name"} | {
    name: name
    for name in ("role", "job", "home", "calm", "landmark", "season", "part", "low", "down", "high")
}


def variables(frame: str) -> dict[str, str]:
    """The variables of a plot frame and, for each, the name of its list in `VALUES`."""
    own = {k: v for k, v in FRAMES[frame].items() if k not in ("family", "reasons")}
    return COMMON | own


@dataclass(frozen=True)
class StoryFacts:
    """What happens in one story, without words; `values` maps a variable to a concept."""

    seed: int
    index: int
    frame: str
    reason: str
    obstacle: str
    mood: str
    values: Mapping[str, str]
    variants: tuple[int, ...]


def sample_story(seed: int, index: int) -> StoryFacts:
    """The story with this number: a function of (seed, index) alone, whatever was told before."""
    rng = random.Random(f"storyworld:{seed}:{index}")
    chosen: list[str] = []

    def pick(options: list[str]) -> str:
        fits = [o for o in options if o not in chosen]
        fits = [o for o in fits if all(frozenset((o, c)) not in CLASHES for c in chosen)]
        chosen.append(rng.choice(fits))
        return chosen[-1]

    frame = pick(list(FRAMES))
    obstacle = pick(FAMILIES[FRAMES[frame]["family"]])
    reason, mood = rng.choice(FRAMES[frame]["reasons"]), rng.choice(MOODS)
    values = {variable: pick(VALUES[name]) for variable, name in variables(frame).items()}
    variants = tuple(rng.randrange(3) for _ in range(PARTS))
    return StoryFacts(seed, index, frame, reason, obstacle, mood, values, variants)
