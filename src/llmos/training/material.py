"""Somebody's own text on its way to training: read, cut, split, counted. It stays at home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, chain
from pathlib import Path

from llmos.data.batches import Batches
from llmos.data.documents import Document, cut, split_documents
from llmos.data.shards import holds_shards
from llmos.data.sources import read_source
from llmos.errors import DataError
from llmos.models.disclosure import add_counts, disclose
from llmos.models.pieces import count_pieces
from llmos.models.scoring import BLOCK_BYTES
from llmos.models.tokenizer import tokenizer_to_bytes
from llmos.models.vocabulary import train_tokenizer
from llmos.recipe import Recipe
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex
from llmos.training.objectives import record_of
from llmos.training.objectives.objective import Objective

# With fewer held-out documents than this, an interval over documents says little.
FEWEST_UNITS = 30


def _size(documents: Sequence[Document]) -> JSON:
    return {"units": len(documents), "bytes": sum(len(d.text.encode()) for d in documents)}


class Material:
    """The text of one organisation under one recipe. Raises `DataError` for unusable text."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        if holds_shards(path):
            raise DataError(
                f"{path} holds token shards, which one organisation alone can train on (llmos "
                "train --data): give the folder with the text itself"
            )
        self._recipe = recipe
        record = record_of(recipe)
        source = read_source(path, recipe.data, record)
        units = source.documents
        if record == "text":  # a record of several parts stays whole
            units = [part for d in units for part in cut(d, recipe.data.part_bytes)]
        self.split = split_documents(
            units, validation=recipe.data.validation, test=recipe.data.test, seed=recipe.seed
        )
        texts = sorted(
            sha256_hex(d.content.encode())
            for part in (self.split.train, self.split.validation, self.split.test)
            for d in part
        )
        self.card: JSON = {
            "version": 1,
            "languages": list(source.languages),
            "licence": source.licence,
            "synthetic": source.synthetic,
            "documents": len(source.documents),
            "repeats_dropped": self.split.repeats,
            "files_passed_over": len(source.skipped),
            "train": _size(self.split.train),
            "validation": _size(self.split.validation),
            "test": _size(self.split.test),
            "content_sha256": sha256_hex("\n".join(texts).encode()),
        }
        if record != "text":
            self.card["records_passed_over"] = dict(source.passed_over)
        if source.data_card_sha256:
            self.card["data_card_sha256"] = source.data_card_sha256
        self.card_sha256 = sha256_hex(canonical_json(self.card))

    def counts(self) -> Counter[str]:
        """Piece counts of the training text, before any threshold.

        A line that several records share, such as those of a context with many questions, counts
        once: a piece of it must not seem frequent because the records repeat it.
        """
        whole = (d.text for d in self.split.train if not d.fields)
        records = (line for d in self.split.train if d.fields for line in d.text.split("\n"))
        return count_pieces(chain(whole, dict.fromkeys(records)))

    def tokenizer_bytes(self) -> bytes:
        """The tokenizer.json of a new model; rare pieces of the text do not get into it."""
        counts = add_counts([disclose(self.counts(), self._recipe.tokenizer.threshold)])
        return tokenizer_to_bytes(train_tokenizer(counts, self._recipe))

    def training_batches(self, objective: Objective, tokenizer_bytes: bytes) -> Batches:
        """The training text as batches of an objective, whose tokenizer.json is given."""
        return objective.batches(self.split.train, self._recipe.seed)

    def validation_documents(self) -> list[Document]:
        return _even_bytes(self.split.validation, self._recipe.evaluation.validation_bytes)

    def test_documents(self) -> list[Document]:
        return _even_bytes(self.split.test, self._recipe.evaluation.test_bytes)

    @property
    def test_block_bytes(self) -> int:
        """Block size of test units: 0 (whole documents) unless there are too few of those."""
        return BLOCK_BYTES if len(self.test_documents()) < FEWEST_UNITS else 0


def _even_bytes(documents: Sequence[Document], limit: int) -> list[Document]:
    """The documents; over `limit` bytes in all, the long ones cut to an even share (0: all).

    A cut text is the beginning of its document, so that one long document cannot stand for all.
    Records are never cut: the first are taken that fit, at least one; their order is that of
    hashes, so it favours neither short ones nor long ones.
    """
    sizes = [len(d.text.encode()) for d in documents]
    if not limit or sum(sizes) <= limit:
        return list(documents)
    if any(d.fields for d in documents):
        fitting = sum(total <= limit for total in accumulate(sizes))
        return list(documents[: max(1, fitting)])
    kept: dict[int, Document] = {}
    left = limit
    for done, index in enumerate(sorted(range(len(sizes)), key=lambda index: sizes[index])):
        share = left // (len(documents) - done)
        text = documents[index].text.encode()[:share].decode("utf-8", "ignore")
        left -= min(sizes[index], share)
        if text:
            kept[index] = replace(documents[index], text=text)
    return [kept[index] for index in sorted(kept)]
