"""Text made into token shards, chunk by chunk in flat memory (see `shards` for what is written).

What a chunk leaves depends on its text and the settings alone: not on the time, on the number of
processes, or on how often it was stopped.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from llmos.data.card import card_sha256
from llmos.data.documents import Document, cut, side_of, split_digest
from llmos.data.mixture import UNKNOWN, Group
from llmos.data.preparation.aside import plain_gzip
from llmos.data.preparation.lines import pack_document
from llmos.data.preparation.places import DOCUMENTS
from llmos.data.reading.chunks import Chunk, Problem, plan, read_part
from llmos.data.shards import MANIFEST, PARTS, SPLITS, TOKENIZER, PackSettings, Shard, Shards
from llmos.data.sources import prepared_card
from llmos.errors import DataError, UsageError
from llmos.recipe import DataSection
from llmos.records import canonical_json
from llmos.storage import (
    atomic_writer,
    exclusive_lock,
    sha256_file,
    sha256_hex,
    storage_errors,
    write_atomic,
)

CHUNK_BYTES = 64 << 20
"""Text of one task: a kill loses at most so much work."""
BATCH_CHARACTERS = 1 << 18
"""Text that is tokenised at once. A longer text is tokenised in parts of about as many bytes, cut
at paragraph ends, so that memory stays flat; its tokens can be others at the cuts than they are
in the whole text."""
CACHED_WORDS = 1 << 17
"""Words whose tokens the tokenizer remembers, some 20 MB; its usual 10,000 are full after 1 MB."""
HELD_TOKENS = 1 << 21
"""Tokens held back before they are written, over all files of a chunk."""
Progress = Callable[[int, int], None]
"""Called with the chunks done and all chunks."""


def pack_folder(
    source: Path,
    out: Path,
    tokenizer: bytes,
    settings: PackSettings,
    *,
    workers: int = 1,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Progress = lambda done, all: None,
) -> Shards:
    """Make the text under `source` into shards in `out`; what is there and whole is kept.

    `source` is a prepared folder or any other with text; `tokenizer` is a tokenizer.json.
    Raises `DataError` where nothing can be read or a part of the split stays empty, `UsageError`
    where `out` holds something else.
    """
    if not (settings.validation and settings.test):
        raise DataError(
            f"data.validation = {settings.validation} and data.test = {settings.test} in the "
            "recipe hold nothing out to score: give both a share, such as 0.01"
        )
    _require_own(out, settings)
    card = prepared_card(source)
    # Beside the documents of a prepared folder may lie what was dropped.
    found = plan([str(source / DOCUMENTS if card else source)], limit=chunk_bytes)
    with exclusive_lock(out / ".lock", f"another process packs into {out}: wait for it"):
        write_atomic(out / TOKENIZER, tokenizer)
        hashes = cache(sha256_file)
        tasks = [
            _Task(out, chunk, settings, _input(chunk, settings, hashes)) for chunk in found.chunks
        ]
        to_do = [task for task in tasks if not task.is_done()]
        if to_do:
            (out / MANIFEST).unlink(missing_ok=True)
        progress(len(tasks) - len(to_do), len(tasks))
        for number, _ in enumerate(_run(to_do, workers), start=len(tasks) - len(to_do) + 1):
            progress(number, len(tasks))
        reports = [task.read_report() for task in tasks]
        shards = Shards(
            out,
            settings,
            tuple(sorted((s for r in reports for s in r.shards), key=lambda shard: shard.file)),
            tuple(sorted({licence for r in reports for licence in r.licences})),
            any(c.synthetic for c in found.cards) or bool(card and card.get("synthetic")),
            len(found.problems) + sum(r.problems for r in reports),
            card_sha256(card) if card else "",
        )
        _require_all_splits(shards, source)
        _remove_others(out, {shard.file for shard in shards.shards}, len(tasks))
        content = json.dumps(shards.to_json(), indent=1, ensure_ascii=False, sort_keys=True)
        write_atomic(out / MANIFEST, content.encode())
    return shards


def _require_own(out: Path, settings: PackSettings) -> None:
    if (out / MANIFEST).is_file():
        try:
            before = dict(json.loads((out / MANIFEST).read_bytes())["settings"])
        except (ValueError, TypeError, KeyError):
            return  # a damaged one is written anew
        changed = [key for key, value in asdict(settings).items() if before.get(key) != value]
        if changed:
            raise UsageError(
                f"{out} holds shards with another {changed[0]}: choose a new --out, or remove it"
            )
        return
    known = {".lock", TOKENIZER, PARTS, *SPLITS}
    others = sorted(set(os.listdir(out)) - known) if out.is_dir() else []
    if others or out.is_file():
        raise UsageError(
            f"{out} {f'holds other files ({others[0]})' if others else 'is a file'}: choose a new "
            "--out"
        )


def _require_all_splits(shards: Shards, source: Path) -> None:
    """A document's side follows from its hash alone, so nothing can be moved to an empty part."""
    for split in SPLITS:
        if not any(shard.split == split for shard in shards.shards):
            documents = sum(shard.documents for shard in shards.shards)
            raise DataError(
                f"none of the {documents} documents in {source} is in the {split} part: add text, "
                "or change the recipe's data.part_bytes or shares"
            )


def _remove_others(out: Path, files: set[str], tasks: int) -> None:
    """Remove what an earlier packing of other text left."""
    for split in SPLITS:
        for path in (out / split).glob("*"):
            if path.relative_to(out).as_posix() not in files:
                path.unlink()
    for path in (out / PARTS).glob("*"):
        if path.name not in {f"{number:05d}.json" for number in range(tasks)}:
            path.unlink()


@dataclass
class _Report:
    """What a task leaves for the manifest, and to be known again by."""

    input: str
    shards: list[Shard] = field(default_factory=list)
    licences: list[str] = field(default_factory=list)
    problems: int = 0


@dataclass(frozen=True)
class _Task:
    """One chunk. `input` is a hash of its text and the settings."""

    out: Path
    chunk: Chunk
    settings: PackSettings
    input: str

    @property
    def report(self) -> Path:
        return self.out / PARTS / f"{self.chunk.number:05d}.json"

    def read_report(self) -> _Report:
        """What the task left."""
        found: dict[str, Any] = json.loads(self.report.read_bytes())
        shards = [Shard(**shard) for shard in found.pop("shards")]
        return _Report(shards=shards, **found)

    def is_done(self) -> bool:
        """Whether this text with these settings was packed, and all files are still as then."""
        try:
            report = self.read_report()
            if report.input != self.input:
                return False
            Shards(self.out, self.settings, tuple(report.shards), (), False, 0).verify()
        except (OSError, ValueError, TypeError, KeyError, DataError):
            return False  # it is made again
        return True


def _input(chunk: Chunk, settings: PackSettings, hash_of: Callable[[Path], str]) -> str:
    parts = []
    for part in chunk.parts:
        try:
            content = hash_of(Path(part.path))
        except OSError:
            content = ""  # reading it tells the problem
        parts.append({**asdict(part), "path": content})
    return sha256_hex(canonical_json({"parts": parts, "settings": asdict(settings)}))


def _run(tasks: list[_Task], workers: int) -> Iterator[None]:
    if workers <= 1 or len(tasks) <= 1:
        yield from map(_pack_chunk, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), context, _alone_on_its_core) as pool:
        try:
            yield from pool.map(_pack_chunk, tasks)
        except BrokenProcessPool as error:
            raise DataError(
                "a process was killed, perhaps for want of memory: run the same command again with "
                "fewer --workers; it goes on where it stood"
            ) from error


def _alone_on_its_core() -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


@cache
def _tokenizer(path: Path, sha256: str) -> Any:
    """The tokenizer at `path`, whose hash makes it another one for the cache when it changes."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    # A text may spell a special token; it must not become one.
    tokenizer.encode_special_tokens = True
    if resize := getattr(tokenizer.model, "_resize_cache", None):  # BPE and Unigram have one
        resize(CACHED_WORDS)
    return tokenizer


def _pack_chunk(task: _Task) -> None:
    settings = task.settings
    data = DataSection(text_field=settings.text_field)
    report = _Report(task.input)
    licences: set[str] = set()
    with ExitStack() as stack:
        number = task.chunk.number
        held_out = {split: _HeldOut(task.out, split, number, stack) for split in SPLITS[1:]}
        train = _TokenFiles(task.out, number, settings)
        batch = _Batch(_tokenizer(task.out / TOKENIZER, settings.tokenizer_sha256), train)
        for part in task.chunk.parts:
            for found in read_part(part, data, "text"):
                if isinstance(found, Problem):
                    report.problems += 1
                    continue
                licences.add(found.licence or part.licence)
                named = replace(
                    found,
                    source=found.source or part.source,
                    language=found.language or part.language,
                )
                for document in cut(named, settings.part_bytes):
                    digest = split_digest(document, settings.seed)
                    side = side_of(digest, validation=settings.validation, test=settings.test)
                    if side == "train":
                        batch.add(document)
                    else:
                        held_out[side].write(document)
        batch.flush()
        report.shards = train.close()
    for file in held_out.values():
        report.shards += file.shards()
    report.licences = sorted(licences - {""})
    content = json.dumps(asdict(report), ensure_ascii=False, sort_keys=True)
    write_atomic(task.report, content.encode())


class _Batch:
    """Training texts on their way through the tokenizer."""

    def __init__(self, tokenizer: Any, files: _TokenFiles) -> None:
        self._tokenizer = tokenizer
        self._files = files
        self._texts: list[str] = []
        self._of: list[tuple[Group, bool]] = []
        self._characters = 0

    def add(self, document: Document) -> None:
        group = Group(document.language, document.source)
        self._files.count(group, len(document.text.encode()))
        whole = len(document.text) <= BATCH_CHARACTERS
        pieces = [document] if whole else cut(document, BATCH_CHARACTERS)
        for piece in pieces:
            self._texts.append(piece.text)
            self._of.append((group, piece is pieces[-1]))
            self._characters += len(piece.text)
            if self._characters >= BATCH_CHARACTERS:
                self.flush()

    def flush(self) -> None:
        encoded = self._tokenizer.encode_batch_fast(self._texts, add_special_tokens=False)
        for (group, ends), encoding in zip(self._of, encoded, strict=True):
            self._files.add(group, encoding.ids, ends)
        self._texts, self._of, self._characters = [], [], 0


@dataclass
class _TokenFile:
    """One file of tokens while it is written."""

    shard: Shard
    temporary: Path
    digest: Any = field(default_factory=hashlib.sha256)
    held: list[np.ndarray[Any, Any]] = field(default_factory=list)


class _TokenFiles:
    """The training shards of a chunk, a file for each language and source."""

    def __init__(self, out: Path, number: int, settings: PackSettings) -> None:
        self._out = out
        self._number = number
        self._kind = settings.token_type
        between = [] if settings.separator is None else [settings.separator]
        self._between = np.array(between, self._kind)
        self._files: dict[Group, _TokenFile] = {}
        self._held = 0

    def count(self, group: Group, size: int) -> None:
        """Count a document of `size` bytes."""
        file = self._files.get(group) or self._create(group)
        shard = file.shard
        file.shard = replace(shard, documents=shard.documents + 1, bytes=shard.bytes + size)

    def add(self, group: Group, tokens: list[int], ends: bool) -> None:
        """The tokens of a document, or of a part of it; the last of them `ends` it."""
        held = self._files[group].held
        held.append(np.array(tokens, self._kind))
        if ends:
            held.append(self._between)
        self._held += len(tokens)
        if self._held >= HELD_TOKENS:
            self._write()

    def _create(self, group: Group) -> _TokenFile:
        name = f"train/{_file_name(group)}.{self._number:05d}.tokens"
        path = self._out / name
        with storage_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.tmp")
            temporary.write_bytes(b"")
        shard = Shard(name, "train", group.language, group.source, 0, 0, 0, 0, "")
        self._files[group] = _TokenFile(shard, temporary)
        return self._files[group]

    def _write(self) -> None:
        for file in self._files.values():
            tokens = np.concatenate([*file.held, self._between[:0]])
            file.held.clear()
            # Opened for each write: there may be more languages and sources than open files.
            with storage_errors(file.temporary), file.temporary.open("ab") as out:
                out.write(tokens.data)
            file.digest.update(tokens.data)
            size = file.shard.size + tokens.nbytes
            file.shard = replace(file.shard, tokens=file.shard.tokens + len(tokens), size=size)
        self._held = 0

    def close(self) -> list[Shard]:
        """Write what is held back; the finished files."""
        self._write()
        shards = []
        for file in self._files.values():
            path = self._out / file.shard.file
            with storage_errors(path), file.temporary.open("rb") as out:
                os.fsync(out.fileno())
            os.replace(file.temporary, path)
            shards.append(replace(file.shard, sha256=file.digest.hexdigest()))
        return [shard for shard in shards if shard.tokens]


def _file_name(group: Group) -> str:
    """Safe on any file system, and another for each group."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", group.source)[:40].strip("-") or "text"
    language = re.sub(r"[^A-Za-z0-9-]+", "-", group.language)[:40] or UNKNOWN
    return f"{language}.{plain}-{sha256_hex(json.dumps(group).encode())[:8]}"


class _HeldOut:
    """The text of the held-out documents of a chunk, written until `stack` closes."""

    def __init__(self, out: Path, split: str, number: int, stack: ExitStack) -> None:
        self._path = out / split / f"{number:05d}.jsonl.gz"
        self._split = split
        self._documents = 0
        self._bytes = 0
        file = stack.enter_context(atomic_writer(self._path))
        self._lines = stack.enter_context(plain_gzip(file))

    def write(self, document: Document) -> None:
        """Add a document."""
        self._documents += 1
        self._bytes += len(document.text.encode())
        self._lines.write(pack_document(document))

    def shards(self) -> list[Shard]:
        """The finished file, if it has a document."""
        if not self._documents:
            return []
        file, size = f"{self._split}/{self._path.name}", self._path.stat().st_size
        digest = sha256_file(self._path)
        return [Shard(file, self._split, "", "", self._documents, self._bytes, 0, size, digest)]
