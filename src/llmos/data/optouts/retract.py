"""Take documents out of a prepared folder whose pages opted out since.

The folder is made anew beside the old one (files that stay as they are by hard links) and then
takes its name as a whole: whoever reads it, and whenever this is killed, finds the old or the new
one. Models that were trained on the documents before are not changed by it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmos.data.card import (
    CARD_JSON,
    CARD_MARKDOWN,
    card_sha256,
    kept_values,
    read_card,
    write_card,
)
from llmos.data.optouts.exchange import exchange, repair
from llmos.data.optouts.lists import load
from llmos.data.preparation.aside import plain_gzip
from llmos.data.prepared import document_files, field_names, records
from llmos.data.tally import Tally
from llmos.errors import DataError
from llmos.records import JSON
from llmos.storage import atomic_writer, exclusive_lock, fsync_folder, storage_errors


@dataclass(frozen=True)
class Retraction:
    """What was taken out. Hashes are those of the card and of the content, before and after."""

    removed: dict[str, int]
    """Documents by the name of the list."""
    kept: int
    without_url: int
    """Documents kept of which no list can tell, for they have no address."""
    card: tuple[str, str]
    content: tuple[str, str]


@dataclass
class _File:
    """What is to become of one file of documents."""

    path: Path
    removed: set[int]
    entry: JSON


def retract(folder: Path, lists: Iterable[str | Path]) -> Retraction:
    """Take out the documents of `folder` that the `lists` name (see `llmos.data.optouts.lists`).

    The card is brought up to date: what is kept, "opted_out" among what was dropped, the lists in
    "optouts", no count of tokens any more. Doing it again changes nothing. Raises `DataError` for a
    folder that is not as its card says, or a list that is not in order; `StorageError`.
    """
    folder = folder.resolve()
    held = f"another process is taking documents out of {folder}: wait for it"
    lock = folder.with_name(f".{folder.name}.lock")
    with exclusive_lock(lock, held):
        try:
            repair(folder)
            new = folder.with_name(f".{folder.name}.new")
            with storage_errors(new):
                if new.exists():  # a call before was killed
                    shutil.rmtree(new)
            return _retract(folder, new, lists)
        finally:
            lock.unlink()


def _retract(folder: Path, new: Path, lists: Iterable[str | Path]) -> Retraction:
    card = read_card(folder)
    before = card_sha256(card), card["content_sha256"]
    tally, removed, files, without_url = _look(folder, card, lists)
    kept = sum(tally.licences.values())
    if not removed:
        return Retraction({}, kept, without_url, before[:1] * 2, before[1:] * 2)
    dropped: Counter[str] = Counter(card["dropped"])
    dropped["opted_out"] += removed.total()
    earlier: Counter[str] = Counter(card.get("optouts", {}))
    card.update(kept_values(tally, [file.entry for file in files]))
    card["dropped"] = dict(sorted(dropped.items()))
    card["optouts"] = dict(sorted((earlier + removed).items()))
    card.pop("tokens", None)
    with _removed_on_error(new):
        _copy(folder, new, {file.path: file.removed for file in files if file.removed})
        after = write_card(new, card), card["content_sha256"]
        exchange(new, folder)
    return Retraction(
        dict(sorted(removed.items())),
        kept,
        without_url,
        (before[0], after[0]),
        (before[1], after[1]),
    )


def _look(
    folder: Path, card: JSON, lists: Iterable[str | Path]
) -> tuple[Tally, Counter[str], list[_File], int]:
    """What stays, what goes by which list, the files as they will be, documents without address."""
    optouts = load(lists)
    data = field_names(card)
    tally, removed, files, without_url = Tally(), Counter[str](), list[_File](), 0
    entries = {entry["name"]: entry for entry in card["files"]}
    for path in document_files(folder):
        before, after, size = hashlib.sha256(), hashlib.sha256(), 0
        gone: set[int] = set()
        name = path.relative_to(folder).as_posix()
        number = 0
        for number, record in enumerate(records(path, before), start=1):
            url = str(record.values.get("url", ""))
            if by := optouts.which(url):
                removed[by] += 1
                gone.add(number)
                continue
            without_url += not url
            after.update(record.line)
            size += len(record.line)
            try:
                tally.take(record.document(data))
            except KeyError as error:
                raise DataError(
                    f"{path} line {number} has no field {error}, and the card names no other: "
                    "prepare the text again"
                ) from error
        if name not in entries or entries[name]["sha256"] != before.hexdigest():
            raise DataError(f"{path} is not what {CARD_JSON} says of it: prepare the text again")
        changed = {"documents": number - len(gone), "bytes": size, "sha256": after.hexdigest()}
        files.append(_File(path, gone, {**entries.pop(name), **changed}))
    if entries:
        raise DataError(f"{folder / min(entries)} is missing: prepare the text again")
    return tally, removed, files, without_url


def _copy(folder: Path, new: Path, removed: dict[Path, set[int]]) -> None:
    """All of `folder` but the card, without the lines `removed` (counted from 1) of some files."""
    with storage_errors(new):
        for place, _, names in os.walk(folder):
            target = new / Path(place).relative_to(folder)
            target.mkdir()
            for name in sorted(names):
                file = Path(place, name)
                if file in removed:
                    _without(file, target / name, removed[file])
                elif file not in (folder / CARD_JSON, folder / CARD_MARKDOWN):
                    _link(file, target / name)
            fsync_folder(target)


def _without(file: Path, to: Path, removed: set[int]) -> None:
    with atomic_writer(to) as out, plain_gzip(out) as lines:
        for number, record in enumerate(records(file), start=1):
            if number not in removed:
                lines.write(record.line)


def _link(file: Path, to: Path) -> None:
    try:
        os.link(file, to, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(file, to, follow_symlinks=False)


@contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
