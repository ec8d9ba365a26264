"""Duplicates: llmos against datatrove's MinHash, on the same documents and the same executor.

    python benchmarks/dedup.py [--megabytes 6] [--documents 1000000] [--quick]

Needs datatrove, spaCy (datatrove's splitter of words) and the data in ../shared/data, or --data.
Three tables: CPU and wall-clock seconds of all stages (start-up apart: both sides run once on a few
documents before); the share of planted near-duplicates that each side finds, by their true
similarity; and the memory of short documents in a process of its own, for a corpus and for one of
ten times its size.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr
from itertools import pairwise
from pathlib import Path
from typing import Any

from llmos.data.dedup.duplicates import Removals, find_duplicates
from llmos.data.dedup.fingerprints import FingerprintWriter
from llmos.data.documents import Document
from llmos.data.steps.step import Drop

SOURCES = {
    "en": ("pretrain-eltec-a/jsonl/eng.jsonl.gz",),
    "fr": ("pretrain-eltec-a/jsonl/fra.jsonl.gz",),
    "zh": ("pretrain-d2l-zh/jsonl/zh.jsonl.gz", "pretrain-hf-course/jsonl/zh-CN.jsonl.gz"),
}
BYTES = 3000  # of a document, about
COPIES = 0.1  # share of the documents that are copies of others with some words changed
EDITS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12)  # share of the words changed
BINS = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0001)
MEMORY = 64 << 20  # bytes for find_duplicates in the third table

Side = Callable[[Sequence[str], Path], list[int]]


def units(text: str) -> list[str]:
    """A text as words, Chinese characters, and what is between them."""
    return re.findall(r"[一-鿿]|[^\W一-鿿]+|\W+", text)


def edited(text: str, share: float, words: Sequence[str], draw: random.Random) -> str:
    """The text with a share of its words (or characters) replaced by others of the language."""
    return "".join(
        draw.choice(words) if unit[0].isalnum() and draw.random() < share else unit
        for unit in units(text)
    )


def corpus(data: Path, language: str, megabytes: float) -> tuple[list[str], dict[int, int]]:
    """Documents of a language, and for each planted copy the number of its original.

    Where there is not enough prose it is used again with 60 % of the words changed.
    """
    draw = random.Random(f"dedup/{language}")
    texts = [
        json.loads(line)["text"]
        for name in SOURCES[language]
        for line in gzip.decompress((data / name).read_bytes()).splitlines()
    ]
    characters = BYTES // 3 if language == "zh" else BYTES
    prose = [t[at : at + characters] for t in texts for at in range(0, len(t), characters)]
    words = sorted({unit for text in prose[:500] for unit in units(text) if unit[0].isalnum()})
    documents: list[str] = []
    copies: dict[int, int] = {}
    size = 0
    while size < megabytes * 1e6:
        number = len(documents)
        if number and draw.random() < COPIES:
            original = draw.randrange(number)
            text = edited(documents[original], draw.choice(EDITS), words, draw)
            copies[number] = original
        elif number < len(prose):
            text = prose[number]
        else:
            text = edited(prose[number % len(prose)], 0.6, words, draw)
        documents.append(text)
        size += len(text.encode())
    return documents, copies


def run_steps(folder: Path, *pipelines: tuple[list[Any], int]) -> None:
    """Pipelines one after the other, each with its number of tasks, on datatrove's executor."""
    from datatrove.executor import LocalPipelineExecutor

    for number, (pipeline, tasks) in enumerate(pipelines):
        logs = str(folder / f"logs{number}")
        with redirect_stderr(io.StringIO()):  # it reports every task
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=logs).run()


def datatrove_side(texts: Sequence[str], folder: Path) -> list[int]:
    """The numbers of the documents that datatrove's MinHash drops, with FineWeb's settings."""
    from datatrove.data import Document as Theirs
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )

    documents = [Theirs(text=text, id=str(number)) for number, text in enumerate(texts)]
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    prints, pairs, drops = (str(folder / name) for name in ("prints", "pairs", "drops"))
    kept: list[int] = []

    def keep(data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        kept.extend(int(document.id) for document in data)
        yield from ()

    run_steps(
        folder,
        ([documents, MinhashDedupSignature(prints, config)], 1),
        ([MinhashDedupBuckets(prints, pairs, config=config)], config.num_buckets),
        ([MinhashDedupCluster(pairs, drops, config=config)], 1),
        ([documents, MinhashDedupFilter(drops), keep], 1),
    )
    return sorted(set(range(len(texts))) - set(kept))


def llmos_side(texts: Sequence[str], folder: Path) -> list[int]:
    """The numbers of the documents that llmos drops: exact repeats and near-duplicates."""
    prints, drops = folder / "prints", folder / "drops"
    dropped: list[int] = []

    def note(data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        writer = FingerprintWriter(prints, rank, near=True, lines=False)
        for number, text in enumerate(texts):
            writer.add(Document(str(number), text))
        writer.close()
        yield from ()

    def find(data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        find_duplicates(prints, 1, drops, near=True, line_documents=0)
        yield from ()

    def take(data: Iterable[Any], rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        removals = Removals(drops, rank)
        for number, text in enumerate(texts):
            if isinstance(removals.of(number, Document(str(number), text)), Drop):
                dropped.append(number)
        yield from ()

    run_steps(folder, ([note], 1), ([find], 1), ([take], 1))
    return dropped


SIDES: dict[str, Side] = {"datatrove": datatrove_side, "llmos": llmos_side}


def timed(side: Side, texts: Sequence[str]) -> tuple[list[int], float, float]:
    """What a side drops, its CPU seconds and its wall-clock seconds."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.monotonic(), time.process_time()
        dropped = side(texts, Path(folder))
        return dropped, time.process_time() - cpu, time.monotonic() - wall


def jaccard(one: str, other: str) -> float:
    """The similarity of two texts' sets of shingles, counted plainly: 5 words, 8 characters."""
    sets = []
    for text in (one, other):
        words = [unit.lower() for unit in units(text) if unit[0].isalnum()]
        wide = [8 if "一" <= word <= "鿿" else 5 for word in words]
        ends = [(at, at + width) for at, width in enumerate(wide) if at + width <= len(words)]
        sets.append({tuple(words[at:end]) for at, end in ends})
    return len(sets[0] & sets[1]) / max(1, len(sets[0] | sets[1]))


def quality(texts: Sequence[str], copies: dict[int, int], dropped: set[int]) -> dict[str, Any]:
    """Shares of the planted copies that are dropped, by true similarity; and what else is."""
    found = {low: [0, 0, 0.0] for low in BINS[:-1]}
    for copy, original in copies.items():
        similarity = jaccard(texts[copy], texts[original])
        row = found[max(low for low in BINS if low <= similarity)]
        row[0] += 1
        row[1] += copy in dropped
        row[2] += 1 - (1 - similarity**8) ** 14
    return {"bins": found, "others": len(dropped - set(copies))}


def memory_of(documents: int) -> dict[str, float]:
    """Peak memory and CPU seconds of so many short documents, in a process of its own."""
    command = [sys.executable, str(Path(__file__).resolve()), "--short", str(documents)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def short_documents(count: int) -> None:
    """Tell and take out the duplicates of `count` texts of 30 words, 100,000 in a chunk."""
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]
    size = 0

    def chunk(number: int) -> list[Document]:
        draw = random.Random(number)
        documents = []
        for place in range(min(100_000, count - number * 100_000)):
            # One in ten is a text that other chunks have too.
            source = random.Random(draw.randrange(count // 20)) if place % 10 == 0 else draw
            documents.append(Document("", " ".join(source.choices(words, k=30))))
        return documents

    chunks = -(-count // 100_000)
    cpu = 0.0
    with tempfile.TemporaryDirectory() as name:
        prints, drops = Path(name) / "prints", Path(name) / "drops"
        for number in range(chunks):
            documents = chunk(number)
            size += sum(len(document.text) for document in documents)
            cpu -= time.process_time()
            writer = FingerprintWriter(prints, number, near=True, lines=True)
            for document in documents:
                writer.add(document)
            writer.close()
            cpu += time.process_time()
        cpu -= time.process_time()
        counts = find_duplicates(
            prints, chunks, drops, near=True, line_documents=100, memory=MEMORY
        )
        cpu += time.process_time()
        for number in range(chunks):
            documents = chunk(number)
            cpu -= time.process_time()
            removals = Removals(drops, number)
            for place, document in enumerate(documents):
                removals.of(place, document)
            cpu += time.process_time()
    # Not getrusage: its peak counts the process that this one was started from. Linux only.
    status = Path("/proc/self/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
    dropped = counts.exact + counts.near
    print(json.dumps({"mib": peak, "cpu": cpu, "mb": size / 1e6, "dropped": dropped}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data = Path(__file__).resolve().parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=data, help="folder of the texts")
    parser.add_argument("--megabytes", type=float, default=6, help="of text, of each language")
    parser.add_argument("--documents", type=int, default=1_000_000, help="for the memory")
    parser.add_argument("--quick", action="store_true", help="a tenth of it all")
    parser.add_argument("--short", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.short:
        short_documents(arguments.short)
        return
    if arguments.quick:
        arguments.megabytes /= 10
        arguments.documents //= 10
    speed(arguments.data, arguments.megabytes)
    print("\n| short documents | peak MiB | CPU s | MB/s |\n|---|---|---|---|")
    for count in (arguments.documents // 10, arguments.documents):
        found = memory_of(count)
        rate = found["mb"] / found["cpu"]
        print(f"| {count} | {found['mib']:.0f} | {found['cpu']:.1f} | {rate:.1f} |")


def speed(data: Path, megabytes: float) -> None:
    """The first two tables."""
    rows = ["| language | MB | side | CPU s | wall s | MB/s of CPU | times datatrove |"]
    rows.append("|---|---|---|---|---|---|---|")
    shares = ["| language | similarity | copies | expected | datatrove | llmos |"]
    shares.append("|---|---|---|---|---|---|")
    for language in SOURCES:
        texts, copies = corpus(data, language, megabytes)
        size = sum(len(text.encode()) for text in texts) / 1e6
        results = {}
        rates = {}
        for name, side in SIDES.items():
            timed(side, texts[:20])
            dropped, cpu, wall = timed(side, texts)
            results[name] = quality(texts, copies, set(dropped))
            rates[name] = size / cpu
            times = rates[name] / rates["datatrove"]
            rows.append(
                f"| {language} | {size:.1f} | {name} | {cpu:.2f} | {wall:.2f} | "
                f"{rates[name]:.2f} | {times:.1f} |"
            )
        for low, high in pairwise(BINS):
            count, ours, expected = results["llmos"]["bins"][low]
            if count:
                theirs = results["datatrove"]["bins"][low][1]
                shares.append(
                    f"| {language} | {low:.2f} to {min(high, 1):.2f} | {count} | "
                    f"{expected / count:.3f} | {theirs / count:.3f} | {ours / count:.3f} |"
                )
        others = {name: result["others"] for name, result in results.items()}
        shares.append(
            f"| {language} | not planted | | | {others['datatrove']} | {others['llmos']} |"
        )
    print("\n".join([*rows, "", *shares]))


if __name__ == "__main__":
    main()
