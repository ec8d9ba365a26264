"""Text that was tokenised before, as token shards: how a run by one organisation alone reads it."""

from __future__ import annotations

import heapq
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

from llmos.data.batches import Batches
from llmos.data.documents import Document, Split, split_digest
from llmos.data.shards import TOKENIZER, PackSettings, Shards, holds_shards
from llmos.errors import DataError, RecipeError
from llmos.models.vocabulary import Vocabulary
from llmos.recipe import Recipe
from llmos.records import canonical_json
from llmos.storage import sha256_hex
from llmos.training.material import FEWEST_UNITS, Material
from llmos.training.objectives import make_objective
from llmos.training.objectives.objective import Objective
from llmos.training.objectives.packed_text import PackedObjective

SHARE_BYTES = 1000
"""Of a held-out document, where a recipe limits their text: so many are read that each can have
this much, and all of it stays small."""
_NAMES = {
    "seed": "seed",
    "tokenizer_sha256": "sha256 of the tokenizer",
    "separator": "separator of documents",
}


def open_material(path: Path, recipe: Recipe) -> Material:
    """The text or the token shards at `path`, for a run by one organisation alone."""
    return ShardMaterial(path, recipe) if holds_shards(path) else Material(path, recipe)


def pack_settings(recipe: Recipe, words: Vocabulary, tokenizer: bytes) -> PackSettings:
    """How text is packed for a recipe and the tokenizer of `words`, a tokenizer.json.

    Raises `RecipeError` where the recipe's objective cannot be learnt from packed text.
    """
    separator = _packed(make_objective(recipe, words)).document_separator()
    return PackSettings.of(recipe, sha256_hex(tokenizer), words.size, separator)


def _packed(objective: Objective) -> PackedObjective:
    if isinstance(objective, PackedObjective):
        return objective
    raise RecipeError(
        f"token shards hold no records of the kind {objective.record}, which this objective "
        "learns from: give the folder with the records as --data"
    )


class ShardMaterial(Material):
    """A folder of shards. The training text stays on the disk, `split.train` is empty."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self._recipe = recipe
        self.shards = Shards.open(path)
        self.shards.verify()
        limits = recipe.evaluation
        self.split = Split(
            train=[],
            validation=self._held_out("validation", limits.validation_bytes),
            test=self._held_out("test", limits.test_bytes),
            repeats=0,
        )
        shards = self.shards.shards
        licences = self.shards.licences
        self.card = {
            "version": 1,
            "languages": sorted({shard.language for shard in shards} - {""}),
            "licence": " AND ".join(f"({x})" if " OR " in x else x for x in licences),
            "synthetic": self.shards.synthetic,
            "documents": sum(shard.documents for shard in shards),
            "repeats_dropped": 0,
            "files_passed_over": self.shards.problems,
            **{split: self.shards.size(split) for split in ("train", "validation", "test")},
            "content_sha256": sha256_hex(canonical_json(sorted(s.sha256 for s in shards))),
        }
        if self.shards.data_card_sha256:
            self.card["data_card_sha256"] = self.shards.data_card_sha256
        self.card_sha256 = sha256_hex(canonical_json(self.card))

    def counts(self) -> NoReturn:
        raise DataError(
            f"{self.shards.folder} holds token shards, of which no tokenizer can be trained: give "
            "the folder with the text itself"
        )

    def tokenizer_bytes(self) -> bytes:
        """The tokenizer.json of the shards."""
        wanted, found = self._recipe.tokenizer.vocabulary_size, self.shards.settings.vocabulary_size
        if wanted != found:
            raise DataError(
                f"the tokenizer of {self.shards.folder} has {found} entries, but the recipe says "
                f"tokenizer.vocabulary_size = {wanted}: write {found} there, or pack again"
            )
        return (self.shards.folder / TOKENIZER).read_bytes()

    def training_batches(self, objective: Objective, tokenizer_bytes: bytes) -> Batches:
        """Batches of the shards. Raises `DataError` where they were made for something else."""
        reader = _packed(objective)
        made = self.shards.settings
        needed = PackSettings.of(
            self._recipe,
            sha256_hex(tokenizer_bytes),
            made.vocabulary_size,
            reader.document_separator(),
        )
        values = asdict(made)
        for name, value in asdict(needed).items():
            if value != values[name]:
                what = _NAMES.get(name, f"data.{name}")
                raise DataError(
                    f"{self.shards.folder} was packed with another {what} ({values[name]}) than "
                    f"this run has ({value}): pack the text again with --recipe and the same "
                    "tokenizer"
                )
        return reader.packed_batches(self.shards.groups(), self._recipe.seed)

    def _held_out(self, split: str, limit: int) -> list[Document]:
        """Documents in the order of their hashes, all of them or those that a limit needs."""

        def place(document: Document) -> tuple[bytes, str]:
            return split_digest(document, self._recipe.seed), document.content

        documents = self.shards.held_out(split)
        if not limit:
            return sorted(documents, key=place)
        return heapq.nsmallest(max(FEWEST_UNITS, limit // SHARE_BYTES), documents, key=place)
