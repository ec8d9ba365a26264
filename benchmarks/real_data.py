"""Real public data as the files that recipes read: text and records, one folder a member.

The data sets lie in one folder (`--data`), each in a folder of the name used here. They are not a
part of the project; where they are absent the benchmarks say so and stop.
"""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

Record = dict[str, Any]


def require(data: Path, name: str) -> Path:
    """The folder of a data set; without it the program ends with a line that says so."""
    folder = data / name
    if not folder.is_dir():
        sys.exit(f"{folder} is not there: give the folder that holds {name} with --data")
    return folder


def write_member(
    folder: Path, records: Iterable[Record], languages: list[str], licence: str
) -> None:
    """Write a member's records and card."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with (folder / "records.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    card = {"languages": languages, "licence": licence, "synthetic": False}
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")


def dealt(records: Iterable[Record], key: str, members: int, member: int) -> Iterator[Record]:
    """The records that fall to one of several members by the hash of a field."""
    for record in records:
        if int(sha256(str(record[key]).encode()).hexdigest()[:8], 16) % members == member:
            yield record


def course(data: Path, language: str) -> Iterator[Record]:
    """The pages of the Hugging Face course in one language."""
    path = require(data, "pretrain-hf-course") / "jsonl" / f"{language}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            page = json.loads(line)
            yield {"text": page["text"], "lang": language}


def novels(data: Path, language: str) -> Iterator[Record]:
    """Nineteenth-century novels (ELTeC): deu, eng, fra, spa."""
    path = require(data, "pretrain-eltec-a") / "jsonl" / f"{language}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield {"text": json.loads(line)["text"], "lang": language[:2]}


def sentiment(data: Path, language: str, *parts: str) -> Iterator[Record]:
    """NusaX sentences with their sentiment; `parts` of train, valid, test."""
    for part in parts:
        path = require(data, "sent-nusax") / language / f"{part}.csv"
        with path.open(encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                yield {"text": row["text"], "label": row["label"]}


def sentence_pairs(data: Path) -> Iterator[Record]:
    """English sentences and their Chinese translations (Tatoeba), in both directions' fields."""
    path = require(data, "mt-tatoeba-zh-en") / "cmn.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="\n") as file:
        for line in file:
            if line.strip():  # the last one is empty
                english, chinese, *_ = line.split("\t")
                yield {"en": english, "zh": chinese}


def instructions(data: Path, *templates: str) -> Iterator[Record]:
    """P3 prompts and completions of these data sets."""
    folder = require(data, "inst-p3-subset")
    for template in templates:
        with gzip.open(folder / f"{template}.jsonl.gz", "rt", encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                answer = record["completion"].removesuffix("<|endoftext|>").strip()
                yield {"prompt": record["prompt"].strip(), "answer": answer, "set": template}
