"""Whether a model was trained on what it is judged by.

With the prepared text at hand, items are looked up in it: which of them share a run of 13 words
with a document (as `data.steps.decontaminate`; GPT-3, arXiv 2005.14165, appendix C). Without it the
data card tells which evaluation sets the text was cleaned of, by the hash of their files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from llmos.data.dedup.hashing import Hashes
from llmos.data.preparation.settings import Settings
from llmos.data.prepared import document_files, records
from llmos.data.steps.decontaminate import WORDS, ngrams
from llmos.errors import UsageError
from llmos.evaluation.items import Item, load_items
from llmos.evaluation.suites import Suite
from llmos.records import JSON

Counts = npt.NDArray[np.int64]
FEWER = 5
"""Words below which an item is too short to be looked up: such runs are everywhere. An item of 5
to 12 words is looked up as a whole, as GPT-3 did below 13."""


def contamination(suite: Suite, data: Path, prepared: Sequence[Path]) -> JSON:
    """For each benchmark how many items share a run of words with the text in `prepared`, folders
    that `llmos data prepare` made, or with what the cards alone (`card.json`) say they left out.

    Raises `UsageError` for a folder or a card that is none.
    """
    cards = [path for path in prepared if path.is_file()]
    folders = [path for path in prepared if not path.is_file()]
    found: JSON = {"words": WORDS, "benchmarks": {}}
    sets = {one.name: load_items(one, data) for one in suite.benchmarks}
    if folders:
        found["benchmarks"] = _looked_up(sets, folders)
    cleaned = _cleaned([_card(path) for path in [*cards, *(one / "card.json" for one in folders)]])
    for one in suite.benchmarks:
        part = found["benchmarks"].setdefault(one.name, {})
        files = [_hashes(file, data) for path in one.data.paths for file in sorted(data.glob(path))]
        # By all of them: what one member left in is in the model.
        part["cleaned_of"] = bool(files) and all(
            of_file & of_card for of_file in files for of_card in cleaned
        )
    return found


def _hashes(file: Path, data: Path) -> set[str]:
    """Of the file and of the folders that it is in: a card names what its owner gave."""
    above = [folder for folder in file.parents if data in folder.parents]
    named = tuple(map(str, [file, *above]))
    return set(Settings(sources=(), decontaminate=named).hashes().values())


def _looked_up(sets: Mapping[str, Sequence[Item]], folders: Sequence[Path]) -> JSON:
    """Items found, by benchmark. Memory grows with the items, not with the text."""
    names = list(sets)
    by_words: dict[int, list[tuple[Hashes, int, int]]] = {}
    short = dict.fromkeys(names, 0)
    for owner, name in enumerate(names):
        for number, item in enumerate(sets[name]):
            words, runs = item_runs(item)
            short[name] += not len(runs)
            by_words.setdefault(words, []).append((runs, owner, number))
    found: dict[str, set[int]] = {name: set() for name in names}
    indices = {words: _index(some) for words, some in by_words.items()}
    for text in _texts(folders):
        for words, (hashes, owners, numbers) in indices.items():
            runs = np.unique(ngrams([text], words))
            first = np.searchsorted(hashes, runs, side="left")
            behind = np.searchsorted(hashes, runs, side="right")
            for a, b in zip(first[first < behind], behind[first < behind], strict=True):
                for owner, number in zip(owners[a:b], numbers[a:b], strict=True):
                    found[names[owner]].add(int(number))
    return {
        name: {"items": len(sets[name]), "found": len(found[name]), "too_short": short[name]}
        for name in names
    }


def _index(some: Sequence[tuple[Hashes, int, int]]) -> tuple[Hashes, Counts, Counts]:
    """The runs sorted, and the benchmark and the item of each."""
    hashes = np.concatenate([runs for runs, _, _ in some])
    order = np.argsort(hashes, kind="stable")
    sizes = [len(runs) for runs, _, _ in some]
    owners = np.repeat([owner for _, owner, _ in some], sizes)
    numbers = np.repeat([number for _, _, number in some], sizes)
    return hashes[order], owners[order], numbers[order]


def item_runs(item: Item) -> tuple[int, Hashes]:
    """The hashes of an item's runs of 13 words, or of its longest text's where it is shorter, down
    to 5 words; and how many words they are of. None for an item that is shorter still."""
    texts = [*item.inputs.values(), *item.references]
    for words in range(WORDS, FEWER - 1, -1):
        found = np.unique(np.concatenate([ngrams([text], words) for text in texts]))
        if len(found):
            return words, found
    return WORDS, np.empty(0, np.uint64)


def _texts(folders: Iterable[Path]) -> Iterable[str]:
    for folder in folders:
        for file in document_files(folder):
            for record in records(file):
                yield "\n".join(record.strings())


def _card(path: Path) -> JSON:
    try:
        card: JSON = json.loads(path.read_text(encoding="utf-8"))
        card["contamination"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is no data card ({error}): name a folder that llmos data prepare made, or its "
            "card.json"
        ) from error
    return card


def _cleaned(cards: Sequence[JSON]) -> list[set[str]]:
    """For each card the hashes of the sets that its text was cleaned of."""
    return [{one["sha256"] for one in card["contamination"]} for card in cards]
