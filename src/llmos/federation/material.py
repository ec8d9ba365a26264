"""A member's own text on its way to training: read, cut, split, counted, packed. Stays at home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from llmos.data.documents import Document, cut, split_documents
from llmos.data.packing import Tokens, pack
from llmos.data.sources import read_source
from llmos.models.pieces import count_pieces
from llmos.models.scoring import BLOCK_BYTES
from llmos.recipe import Recipe
from llmos.records import JSON, canonical_json
from llmos.storage import sha256_hex

# With fewer held-out documents than this, an interval over documents says little.
FEWEST_UNITS = 30


def _size(documents: Sequence[Document]) -> JSON:
    return {"units": len(documents), "bytes": sum(len(d.text.encode()) for d in documents)}


class Material:
    """The text of one member under one recipe. Raises `DataError` for text that cannot be used."""

    def __init__(self, path: Path, recipe: Recipe) -> None:
        self._recipe = recipe
        source = read_source(path, recipe.data.text_field)
        units = [part for d in source.documents for part in cut(d, recipe.data.part_bytes)]
        self.split = split_documents(
            units, validation=recipe.data.validation, test=recipe.data.test, seed=recipe.seed
        )
        texts = sorted(
            sha256_hex(d.text.encode())
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
        self.card_sha256 = sha256_hex(canonical_json(self.card))

    def counts(self) -> Counter[str]:
        """Piece counts of the training text, before any threshold."""
        return count_pieces(d.text for d in self.split.train)

    def tokens(self, tokenizer: Tokenizer, separator: int) -> Tokens:
        """The training text, tokenized and packed."""
        encoded = tokenizer.encode_batch_fast(
            [d.text for d in self.split.train], add_special_tokens=False
        )
        return pack((e.ids for e in encoded), separator, tokenizer.get_vocab_size())

    def validation_texts(self) -> list[str]:
        return _even_bytes(self.split.validation, self._recipe.evaluation.validation_bytes)

    def test_texts(self) -> list[str]:
        return _even_bytes(self.split.test, self._recipe.evaluation.test_bytes)

    @property
    def test_block_bytes(self) -> int:
        """Block size of test units: 0 (whole documents) unless there are too few of those."""
        return BLOCK_BYTES if len(self.test_texts()) < FEWEST_UNITS else 0


def _even_bytes(documents: Sequence[Document], limit: int) -> list[str]:
    """The documents' texts; over `limit` bytes in all, the long ones cut to an even share (0: all).

    A cut text is the beginning of its document, so that one long document cannot stand for all.
    """
    sizes = {index: len(d.text.encode()) for index, d in enumerate(documents)}
    if not limit or sum(sizes.values()) <= limit:
        return [d.text for d in documents]
    texts = [""] * len(documents)
    left = limit
    for done, (index, size) in enumerate(sorted(sizes.items(), key=lambda item: item[1])):
        share = left // (len(documents) - done)
        data = documents[index].text.encode()[:share]
        texts[index] = data.decode("utf-8", "ignore")
        left -= min(size, share)
    return [text for text in texts if text]
