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

from llmos.data.dedup.hashing import Hashes
from llmos.data.prepared import document_files, records
from llmos.data.steps.decontaminate import WORDS, ngrams
from llmos.errors import UsageError
from llmos.evaluation.items import Item, load_items
from llmos.evaluation.suites import Suite
from llmos.records import JSON
from llmos.storage import sha256_file

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
        files = [file for path in one.data.paths for file in sorted(data.glob(path))]
        # Of all cards: what one member left in is in the model.
        part["cleaned_of"] = bool(files) and all(
            {sha256_file(file) for file in files} <= of_card for of_card in cleaned
        )
    return found


def _looked_up(sets: Mapping[str, Sequence[Item]], folders: Sequence[Path]) -> JSON:
    names = list(sets)
    hashes, owners, numbers = [], [], []
    short = dict.fromkeys(names, 0)
    for owner, name in enumerate(names):
        for number, item in enumerate(sets[name]):
            runs = item_runs(item)
            short[name] += not len(runs)
            hashes.append(runs)
            owners.append(np.full(len(runs), owner))
            numbers.append(np.full(len(runs), number))
    together = np.concatenate(hashes)
    order = np.argsort(together, kind="stable")
    index, owner_of, number_of = (
        together[order], np.concatenate(owners)[order], np.concatenate(numbers)[order],
    )  # fmt: skip
    hit: dict[str, set[int]] = {name: set() for name in names}
    for text in _texts(folders):
        for runs in (ngrams([text], words) for words in range(FEWER, WORDS + 1)):
            unique = np.unique(runs)
            first = np.searchsorted(index, unique, side="left")
            behind = np.searchsorted(index, unique, side="right")
            for a, b in zip(first[first < behind], behind[first < behind], strict=True):
                for at in range(a, b):
                    hit[names[owner_of[at]]].add(int(number_of[at]))
    return {
        name: {"items": len(sets[name]), "found": len(hit[name]), "too_short": short[name]}
        for name in names
    }


def item_runs(item: Item) -> Hashes:
    """The hashes of an item's runs of 13 words; of a shorter text as a whole, down to 5 words."""
    texts = [*item.inputs.values(), *item.references]
    found = [ngrams([text], WORDS) for text in texts]
    if not any(len(one) for one in found):
        for words in range(WORDS - 1, FEWER - 1, -1):
            found = [ngrams([text], words) for text in texts]
            if any(len(one) for one in found):
                break
    return np.unique(np.concatenate(found))


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
