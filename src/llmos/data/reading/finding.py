"""The files of a source, with the cards that lie among them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from llmos.data.reading.parts import Problem, SourceCard
from llmos.data.sources import CARD_NAME, read_card
from llmos.errors import DataError
from llmos.provenance.licences import all_licences

_ODD = re.compile(r"[%:\udc80-\udcff]")
_FRONT_MATTER = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
_FRONT_MATTER_BYTES = 1 << 20
_README = "README.md"

FOLDER_LINK = "a link to a folder: give that folder as a source"
DEAD_LINK = "a link that leads to no file"
LICENCES = "LICENSES"
LEGAL = "texts of licences (see the REUSE specification), not of the source"
NO_FILE = "neither a file nor a folder"
BAD_CARD = (
    'a card that is not in order: write {"languages": ["en"], "licence": "CC0-1.0", '
    '"synthetic": false}'
)


@dataclass
class Found:
    """What was found under a path."""

    files: list[Path] = field(default_factory=list)
    """In the order of their paths; cards are not among them."""
    problems: list[Problem] = field(default_factory=list)
    cards: dict[Path, SourceCard] = field(default_factory=dict)
    """By the folder that they lie in."""

    def card_of(self, file: Path) -> SourceCard:
        """What the nearest card above a file says."""
        for folder in file.parents:
            if folder in self.cards:
                return self.cards[folder]
        return SourceCard("")

    def card(self, source: str, revision: str) -> SourceCard:
        """What all cards say together."""
        cards = self.cards.values()
        return SourceCard(
            source,
            all_licences(card.licence for card in cards),
            tuple(sorted({code for card in cards for code in card.languages})),
            any(card.synthetic for card in cards),
            revision,
        )


def find(path: Path) -> Found:
    """All files under `path`, or itself; names that begin with a dot are ignored.

    Links to folders are not followed. Raises nothing: what cannot be read is a problem.
    """
    found = Found()
    try:
        mode = path.stat().st_mode
    except OSError as error:
        found.problems.append(unreadable(path, error))
        return found
    if stat.S_ISREG(mode):
        found.files.append(path)
        if (path.parent / CARD_NAME).is_file():
            _read_card(path.parent / CARD_NAME, found)
        return found
    if not stat.S_ISDIR(mode):
        found.problems.append(Problem(str(path), NO_FILE))
        return found

    def failed(error: OSError) -> None:
        found.problems.append(unreadable(Path(error.filename or path), error))

    for folder, folders, names in os.walk(path, onerror=failed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                found.problems.append(Problem(os.path.join(folder, name), FOLDER_LINK))
            elif name == LICENCES:
                found.problems.append(Problem(os.path.join(folder, name), LEGAL))
        folders[:] = [name for name in folders if name != LICENCES]
        for name in sorted(names):
            file = Path(folder, name)
            if name.startswith("."):
                continue
            problem = _no_file(file)
            if problem:
                found.problems.append(problem)
            elif not _is_card(file, found):
                found.files.append(file)
    found.files.sort()
    found.problems.sort(key=lambda problem: problem.path)
    return found


def _no_file(path: Path) -> Problem | None:
    try:
        return None if stat.S_ISREG(path.stat().st_mode) else Problem(str(path), NO_FILE)
    except OSError as error:
        return Problem(str(path), DEAD_LINK) if path.is_symlink() else unreadable(path, error)


def unreadable(path: Path, error: OSError) -> Problem:
    """What the operating system says."""
    return Problem(str(path), f"cannot be read ({error.strerror or type(error).__name__})")


def printable(path: PurePath) -> str:
    """A path as the beginning of ids: with / between names, unlike those of all other paths.

    Colons, which divide an id, per cent signs and bytes that are not UTF-8 become %XX.
    """
    return _ODD.sub(lambda match: f"%{ord(match[0]) & 0xFF:02X}", path.as_posix())


def _is_card(file: Path, found: Found) -> bool:
    if file.name == CARD_NAME:
        _read_card(file, found)
        return True
    return file.name == _README and _read_readme(file, found)


def _read_card(file: Path, found: Found) -> None:
    try:
        card = read_card(file)
    except DataError:
        found.problems.append(Problem(str(file), BAD_CARD))
        return
    found.cards[file.parent] = SourceCard(
        "", card["licence"], tuple(card["languages"]), card["synthetic"]
    )


def _read_readme(file: Path, found: Found) -> bool:
    """Whether it is the card of a data set on a hub: begins with metadata in YAML.

    https://huggingface.co/docs/hub/datasets-cards
    """
    try:
        with file.open("rb") as opened:
            match = _FRONT_MATTER.match(opened.read(_FRONT_MATTER_BYTES).decode("utf-8", "replace"))
    except OSError:
        return False  # the file itself will be a problem
    if match is None:
        return False
    import yaml

    try:
        values = yaml.safe_load(match[1])
    except (yaml.YAMLError, RecursionError, ValueError):
        found.problems.append(Problem(str(file), "a card whose metadata is not YAML"))
        return True
    if not isinstance(values, dict):
        return False
    # A card.json of ours in the same folder goes before.
    found.cards.setdefault(
        file.parent,
        SourceCard("", all_licences(_texts(values, "license")), _texts(values, "language")),
    )
    return True


def _texts(values: Mapping[Any, Any], key: str) -> tuple[str, ...]:
    """A text, or a list of them; a hub's "unknown" and "other" say nothing."""
    value = values.get(key)
    listed = value if isinstance(value, list) else [value]
    return tuple(x for x in listed if isinstance(x, str) and x not in ("unknown", "other"))
