"""Token shards: text that was tokenised once, memory-mapped by every run that trains on it.

SHARDS/shards.json                   what is there: settings, and each file with its size and hash
SHARDS/tokenizer.json                the tokenizer
SHARDS/train/LANGUAGE.SOURCE.00000.tokens
                                     documents behind one another, each ended by the separator, in
                                     ids of two bytes (of four, over 65,536 of them), little-endian
SHARDS/validation/00000.jsonl.gz     the text of held-out documents (also test/), which is scored in
                                     bits per byte
SHARDS/parts/00000.json              what each task left, for a packing that was stopped

`shards.json` is written last: a folder without it is unfinished. `shard_writing` makes it.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from llmos.data.documents import Document
from llmos.data.mixture import Group
from llmos.data.packing import JoinedTokens, TokenRun, Tokens, token_type
from llmos.errors import DataError
from llmos.recipe import Recipe
from llmos.records import JSON
from llmos.storage import sha256_file

MANIFEST = "shards.json"
TOKENIZER = "tokenizer.json"
PARTS = "parts"
VERSION = 1
SPLITS = ("train", "validation", "test")
_OPEN = 512
"""Files that are mapped at once; the system allows a process some ten thousand."""


def holds_shards(folder: Path) -> bool:
    """Whether a folder holds shards, be they finished or not."""
    begun = (folder / PARTS).is_dir() and (folder / TOKENIZER).is_file()
    return begun or (folder / MANIFEST).is_file()


@dataclass(frozen=True)
class PackSettings:
    """All that shards depend on besides the text; the last five are keys of the recipe.

    separator: the id behind each document, None for none.
    """

    tokenizer_sha256: str
    vocabulary_size: int
    separator: int | None
    seed: int
    text_field: str
    part_bytes: int
    validation: float
    test: float

    @classmethod
    def of(
        cls, recipe: Recipe, tokenizer_sha256: str, vocabulary_size: int, separator: int | None
    ) -> PackSettings:
        """The settings of a recipe with this tokenizer."""
        data = recipe.data
        return cls(
            tokenizer_sha256,
            vocabulary_size,
            separator,
            recipe.seed,
            data.text_field,
            data.part_bytes,
            data.validation,
            data.test,
        )

    @property
    def token_type(self) -> np.dtype[np.unsignedinteger]:
        """How ids are stored."""
        return np.dtype(token_type(self.vocabulary_size)).newbyteorder("<")


@dataclass(frozen=True)
class Shard:
    """A file of a folder of shards. Held-out files hold text, of any language and source.

    bytes: of the text in UTF-8; size: of the file; tokens: separators counted.
    """

    file: str
    split: str
    language: str
    source: str
    documents: int
    bytes: int
    tokens: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Shards:
    """A finished folder of shards."""

    folder: Path
    settings: PackSettings
    shards: tuple[Shard, ...]
    licences: tuple[str, ...]
    synthetic: bool
    problems: int
    """Files and records that could not be read."""
    data_card_sha256: str = ""
    """Of the card of the prepared folder that the text is from."""

    @classmethod
    def open(cls, folder: Path) -> Shards:
        """The shards in a folder, their sizes checked.

        Raises `DataError` where it is unfinished, of a newer llmos, or a file is missing or short.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise DataError(
                f"{folder} holds no finished token shards: write them with "
                f"llmos data pack DIR --tokenizer FILE --out {folder}"
            )
        try:
            found: dict[str, Any] = json.loads(path.read_bytes())
            if found["version"] != VERSION:
                raise DataError(
                    f"{path} is of version {found['version']}, but this llmos reads {VERSION}: "
                    "install the llmos that wrote it, or pack the text again"
                )
            shards = cls(
                folder,
                PackSettings(**found["settings"]),
                tuple(Shard(**shard) for shard in found["shards"]),
                tuple(found["licences"]),
                found["synthetic"],
                found["problems"],
                found["data_card_sha256"],
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is damaged ({error}): pack the text again") from error
        for shard in shards.shards:
            shards.check(shard)
        return shards

    def to_json(self) -> JSON:
        """The content of `shards.json`."""
        names = ("licences", "synthetic", "problems", "data_card_sha256")
        return {
            "version": VERSION,
            "settings": asdict(self.settings),
            "shards": [asdict(shard) for shard in self.shards],
            **{name: getattr(self, name) for name in names},
        }

    def check(self, shard: Shard, *, content: bool = False) -> None:
        """Raise `DataError` where a file is not what was written: by its size, or by its hash."""
        path = self.folder / shard.file
        size = path.stat().st_size if path.is_file() else None
        if size != shard.size:
            what = "is missing" if size is None else f"has {size} bytes instead of {shard.size}"
        elif content and sha256_file(path) != shard.sha256:
            what = "is damaged (its sha256 is not that in shards.json)"
        else:
            return
        raise DataError(f"{path} {what}: run the same llmos data pack again, which makes it anew")

    def verify(self) -> None:
        """Read every file and compare its hash. Raises `DataError` for the first that differs."""
        for shard in self.shards:
            self.check(shard, content=True)

    def groups(self) -> dict[Group, TokenRun]:
        """The training tokens by language and source, memory-mapped, begun by the separator."""
        kind = self.settings.token_type

        @lru_cache(maxsize=_OPEN)
        def mapped(file: str) -> Tokens:
            return np.memmap(self.folder / file, kind, mode="r")

        separator = self.settings.separator
        first: list[TokenRun] = [] if separator is None else [np.array([separator], kind)]
        runs: dict[Group, list[TokenRun]] = {}
        for shard in self.shards:
            if shard.split == "train":
                run = runs.setdefault(Group(shard.language, shard.source), list(first))
                run.append(_MappedTokens(mapped, shard.file, shard.tokens))
        return {group: JoinedTokens(runs[group]) for group in sorted(runs)}

    def held_out(self, split: str) -> Iterator[Document]:
        """The documents of a held-out split, one after another."""
        for shard in self.shards:
            if shard.split == split:
                with gzip.open(self.folder / shard.file) as lines:
                    # As `preparation.lines.pack_document` writes them.
                    yield from (Document(*json.loads(line)) for line in lines)

    def size(self, split: str) -> JSON:
        """How many documents and bytes of text a split has."""
        here = [shard for shard in self.shards if shard.split == split]
        return {"units": sum(s.documents for s in here), "bytes": sum(s.bytes for s in here)}


@dataclass(frozen=True)
class _MappedTokens:
    """The tokens of a file that is mapped when it is read."""

    mapped: Any
    file: str
    tokens: int

    def __len__(self) -> int:
        return self.tokens

    def __getitem__(self, part: slice, /) -> Tokens:
        return np.asarray(self.mapped(self.file)[part])
