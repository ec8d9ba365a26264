"""Share a prepared folder: all of it, only its card, or only that it exists.

| level     | what goes out                                                                   |
|-----------|---------------------------------------------------------------------------------|
| open      | README.md, card.json, data/train-00000-of-0000N.parquet: the layout of the       |
|           | Hugging Face hub, which `datasets.load_dataset` opens                           |
| federated | README.md, card.json: counts and hashes, no text                                |
| metadata  | README.md: name, languages, licence, size class, whom to ask                    |
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llmos.data.card import CARD_JSON, read_card, render_card
from llmos.data.optouts.lists import load
from llmos.data.parquet_files import write_parquet
from llmos.data.prepared import document_files, records
from llmos.data.steps.protected import prove
from llmos.errors import DataError, UsageError
from llmos.provenance.cards import yaml_text
from llmos.provenance.obligations import hub_name, may_redistribute, obligations
from llmos.records import JSON
from llmos.storage import fsync_folder, storage_errors, write_atomic

LEVELS = ("open", "federated", "metadata")
SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
"""Bounds of the hub's size classes, in documents."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """How a folder is shared. Files named are looked up once more before any text goes out."""

    level: str
    contact: str = ""
    """Whom to ask, such as an e-mail address; without it the level metadata says too little."""
    protected: Path | None = None
    """The member's patterns (see `llmos.data.protection`)."""
    optouts: Sequence[Path] = ()
    """Lists of who opted out (see `llmos.data.optouts.lists`)."""
    may_redistribute: bool = False
    """The member says that it may publish text whose licence does not permit it, or is unknown."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise UsageError(f"the level {self.level!r} is not one of {', '.join(LEVELS)}")
        if self.level == "metadata" and not self.contact.strip():
            raise UsageError("the level metadata needs somebody to ask: add --contact")


def publish(folder: Path, out: Path, how: Publication) -> list[Path]:
    """Write what is shared of `folder` to the new folder `out`: its files.

    The same folder gives the same bytes (of Parquet: with the same version of pyarrow). `out`
    appears when it is complete. Raises `UsageError` where something is in `out`; `DataError` for a
    folder that is not as its card says, for text that may not be published, or that is protected
    or opted out; `StorageError`.
    """
    card = read_card(folder)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already: name a new folder")
    if how.level == "open":
        if not how.may_redistribute:
            _check_licences(card)
        _check_text(folder, how)
    out = out.absolute()
    new = out.with_name(f".{out.name}.new")
    with storage_errors(out):
        if new.exists():
            shutil.rmtree(new)
        new.mkdir(parents=True)
    try:
        if how.level == "open":
            write_parquet(folder, card, new / "data")
        if how.level != "metadata":
            write_atomic(new / CARD_JSON, (folder / CARD_JSON).read_bytes())
        write_atomic(new / "README.md", render_readme(card, how).encode())
        with storage_errors(out):
            os.rename(new, out)
            fsync_folder(out.parent)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return sorted(path for path in out.rglob("*") if path.is_file())


def _check_licences(card: JSON) -> None:
    for licence, count in card["licences"].items():
        if not may_redistribute(licence):
            said = f"state the licence {licence}" if licence else "state no licence"
            raise DataError(
                f"{count:,} documents {said}, which does not let you publish cleaned text as far "
                "as is known: choose the level federated, prepare without them "
                "(preparation.licences_denied), or say --yes-i-may if you may"
            )


def _check_text(folder: Path, how: Publication) -> None:
    if how.protected and (left := prove(folder, how.protected)):
        raise DataError(
            f"{left:,} documents are protected by {how.protected}: prepare the text again with "
            f"--protected {how.protected}"
        )
    if how.optouts:
        lists = load(how.optouts)
        urls = (
            str(record.values.get("url", ""))
            for file in document_files(folder)
            for record in records(file)
        )
        if left := sum(bool(lists.which(url)) for url in urls):
            raise DataError(
                f"{left:,} documents opted out: take them out first by llmos data optout {folder} "
                + " ".join(f"--domains {path}" for path in how.optouts)
            )


def render_readme(card: JSON, how: Publication) -> str:
    """The card of the data set as the Hugging Face hub reads it: YAML, then Markdown."""
    parts = [_front_matter(card, how), f"# {' '.join(card['name'].split())}\n", _WORDS[how.level]]
    if how.contact:
        parts.append(f"Contact: {' '.join(how.contact.split())}\n")
    parts.append(_obligations(card))
    if how.level != "metadata":
        parts.append(render_card(card))
    return "\n".join(parts)


_WORDS = {
    "open": (
        "A data set prepared with LLMOS. `id` is a hash of the content: by it, or by `url`, a "
        "document can be named that is to be taken out.\n\n"
        "```python\n"
        "from datasets import load_dataset\n\n"
        'data = load_dataset("PATH", split="train")\n'
        "```\n"
    ),
    "federated": (
        "A data set prepared with LLMOS that stays with its owner: models can be trained on it "
        "jointly, where it lies. This is its card; it holds none of the text.\n"
    ),
    "metadata": "A data set prepared with LLMOS that stays with its owner. Ask for it.\n",
}


def _front_matter(card: JSON, how: Publication) -> str:
    names = sorted({hub_name(licence) for licence in card["licences"]}) or ["unknown"]
    lines = ["---", f"pretty_name: {yaml_text(card['name'])}"]
    lines += _list("license", names) if len(names) > 1 else [f"license: {names[0]}"]
    if names == ["other"]:
        lines.append(f"license_name: {yaml_text(card['licence'])}")
    lines += _list("language", [yaml_text(code) for code in card["languages"]])
    lines += _list("size_categories", [size_category(card["kept"]["documents"])])
    lines += _list("tags", ["llmos", how.level, *(["synthetic"] if card["synthetic"] else [])])
    if how.level == "open":
        lines += ["configs:", "- config_name: default", "  data_files:"]
        lines += ["  - split: train", "    path: data/train-*.parquet"]
    return "\n".join([*lines, "---\n"])


def _list(key: str, values: Sequence[str]) -> list[str]:
    return [f"{key}:", *(f"- {value}" for value in values)] if values else []


def size_category(documents: int) -> str:
    """The hub's class of size, such as 1K<n<10K."""
    for place, bound in enumerate(SIZES):
        if documents < 1000 * 10**place:
            return f"{SIZES[place - 1]}<n<{bound}" if place else f"n<{bound}"
    return f"n>{SIZES[-1]}"


def _obligations(card: JSON) -> str:
    """What the licences ask for, as far as is known."""
    lines = ["## Licences", ""]
    for licence in card["licences"]:
        asked = obligations(licence)
        words = "what it asks for is not known"
        if asked is not None:
            names = {
                "credit the authors": asked.attribution,
                "share alike": asked.share_alike,
                "not for commercial use": asked.non_commercial,
                "no changed forms": asked.no_derivatives,
            }
            words = ", ".join(name for name, holds in names.items() if holds) or "no conditions"
        lines.append(f"- {licence or 'no licence stated'}: {words}")
    return "\n".join([*lines, ""])
