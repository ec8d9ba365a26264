"""The world of the stories: people, places, wishes, obstacles, endings; no word of any language.

A story is a plot frame (the wish), a reason, an obstacle that fits the frame and brings its own
help, the mood of the ending, and values (who, where, which thing) that do not clash. Synthetic.
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
FRAMES: dict[str, dict[str, Any]] = _WORLD["frames"]
FAMILIES: dict[str, list[str]] = _WORLD["families"]
CLASHES = {frozenset((a, b)) for a, others in _WORLD["clashes"].items() for b in others}
PARTS = 7  # of a story, each with a number that chooses between its paraphrases

# Which feelings an ending names: variable -> list of values.
MOODS = {
    "happy": {"end": "high"},
    "sad": {"end": "down"},
    "mixed": {"down": "down", "high": "high"},
}
_SETTING = ("role", "job", "home", "calm", "landmark", "season", "part", "low")


def variables(frame: str, mood: str) -> dict[str, str]:
    """The variables of such a story and, for each, the name of its list in `VALUES`."""
    common = {"hero": "name", "helper": "name"} | {name: name for name in _SETTING}
    own = {k: v for k, v in FRAMES[frame].items() if k not in ("family", "reasons")}
    return common | own | MOODS[mood]


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
        clashing = {o for c in chosen for o in options if frozenset((o, c)) in CLASHES}
        chosen.append(rng.choice([o for o in options if o not in clashing and o not in chosen]))
        return chosen[-1]

    frame, mood = pick(list(FRAMES)), rng.choice(list(MOODS))
    obstacle = pick(FAMILIES[FRAMES[frame]["family"]])
    reason = rng.choice(FRAMES[frame]["reasons"])
    values = {variable: pick(VALUES[name]) for variable, name in variables(frame, mood).items()}
    variants = tuple(rng.randrange(3) for _ in range(PARTS))
    return StoryFacts(seed, index, frame, reason, obstacle, mood, values, variants)
