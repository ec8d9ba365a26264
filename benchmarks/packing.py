"""How fast, and in how much memory, text becomes token shards.

    python benchmarks/packing.py [TEXT ...] [--megabytes 9]

Three sides tokenise the same documents with the same tokenizer, each in a process of its own, in
turn, in several rounds; the tokenizer has one thread (a core is what is compared).

encode_batch   tokenizers' `encode_batch` alone: ids in memory, nothing written
datasets.map   the usual way: `datasets.load_dataset("json")`, `map(batched=True)`, Arrow on disk
llmos          `pack_folder`: reading, held-out split, tokenising, shards on disk, hashes

Printed: MB/s of processor time and of wall-clock time, the peak of resident memory, and the ratios
of each round; then the peak of `llmos` at ten times the text, which should be no higher. The texts
are divided into documents at paragraph ends, and repeated where there is not enough of them (of
those named below: over 9 MB; then the tokenizer has seen the words before). Held-out text is not
tokenised, so MB are those of the training text.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

Tokenised = tuple[int, int]
"""Tokens, and bytes of the text that they stand for."""
DATA = Path(__file__).parents[2] / "shared" / "data"
TEXTS = (
    "pretrain-wikitext2-valid/valid.txt.gz",
    "pretrain-d2l-zh/jsonl",
    "pretrain-hf-course/jsonl/en.jsonl.gz",
    "pretrain-hf-course/jsonl/fr.jsonl.gz",
)
VOCABULARY = 16_000
DOCUMENT_BYTES = 3000
BATCH = 1000
"""Documents that `encode_batch` and `map` get at once: the default of `map`."""


def documents(paths: list[Path]) -> Iterator[str]:
    """All texts under the paths (.txt, .jsonl, also .gz), cut at paragraph ends."""
    from llmos.data.documents import Document, cut

    for path in paths:
        for file in [path] if path.is_file() else sorted(path.rglob("*.*")):
            content = file.read_bytes()
            text = (gzip.decompress(content) if file.suffix == ".gz" else content).decode()
            lines = text.splitlines() if ".jsonl" in file.suffixes else []
            for whole in [json.loads(line)["text"] for line in lines] or [text]:
                for part in cut(Document("", whole), DOCUMENT_BYTES):
                    if part.text.strip():
                        yield part.text


def write(folder: Path, texts: list[str], size: int) -> Path:
    """A prepared folder with so many bytes of the texts, repeated as often as it takes."""
    (folder / "documents").mkdir(parents=True)
    written, number = 0, 0
    with (folder / "documents" / "00000.jsonl").open("w") as out:
        while written < size:
            text = f"{number}\n{texts[number % len(texts)]}"  # no two are the same
            out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            written += len(text.encode())
            number += 1
    return folder


def size_of(source: Path) -> int:
    """Bytes of the text that `write` wrote."""
    with (source / "documents" / "00000.jsonl").open() as lines:
        return sum(len(json.loads(line)["text"].encode()) for line in lines)


def encode_batch(source: Path, work: Path) -> Tokenised:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    tokens = 0
    with (source / "documents" / "00000.jsonl").open() as lines:
        while batch := [json.loads(line)["text"] for line in islice(lines, BATCH)]:
            found = tokenizer.encode_batch(batch, add_special_tokens=False)
            tokens += sum(len(encoding.ids) for encoding in found)
    return tokens, size_of(source)


def datasets_map(source: Path, work: Path) -> Tokenised:
    import datasets
    from tokenizers import Tokenizer

    datasets.disable_progress_bars()
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    files = str(source / "documents" / "00000.jsonl")
    with tempfile.TemporaryDirectory(dir=work) as cache:
        loaded = datasets.load_dataset("json", data_files=files, split="train", cache_dir=cache)
        made = loaded.map(
            lambda batch: {
                "input_ids": [
                    e.ids for e in tokenizer.encode_batch(batch["text"], add_special_tokens=False)
                ]
            },
            batched=True,
            remove_columns=["text"],
        )
        tokens = sum(len(ids) for batch in made.iter(BATCH) for ids in batch["input_ids"])
    return tokens, size_of(source)


def llmos(source: Path, work: Path) -> Tokenised:
    from llmos.data.shard_writing import pack_folder
    from llmos.data.shards import PackSettings
    from llmos.storage import sha256_hex

    tokenizer = (work / "tokenizer.json").read_bytes()
    settings = PackSettings(sha256_hex(tokenizer), VOCABULARY, 0, 0, "text", 0, 0.01, 0.01)
    with tempfile.TemporaryDirectory(dir=work) as out:
        shards = pack_folder(source, Path(out) / "shards", tokenizer, settings)
        return sum(shard.tokens for shard in shards.shards), shards.size("train")["bytes"]


MODULES = {"datasets.map": ("datasets",), "llmos": ("llmos.data.shard_writing",)}
SIDES = {"encode_batch": encode_batch, "datasets.map": datasets_map, "llmos": llmos}


def measure(side: str, source: Path, work: Path) -> dict[str, float]:
    """One side in a process of its own: MB/s by both clocks, tokens, MiB at the peak."""
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, __file__, "--side", side, str(source), str(work)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak_mib() -> float:
    """The peak of this process; `getrusage` would tell its parent's where that was higher."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def run_side(side: str, source: Path, work: Path) -> None:
    """Run a side and print what it took; imports are not counted in the time."""
    for name in ("tokenizers", *MODULES.get(side, ())):
        importlib.import_module(name)
    before, wall = time.process_time(), time.perf_counter()
    tokens, size = SIDES[side](source, work)
    facts = {
        "cpu": size / 1e6 / (time.process_time() - before),
        "wall": size / 1e6 / (time.perf_counter() - wall),
        "tokens": tokens,
        "mib": peak_mib(),
    }
    print(json.dumps(facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", nargs="*", type=Path)
    parser.add_argument("--side")
    parser.add_argument("--megabytes", type=float, default=9)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.side:
        run_side(arguments.side, *arguments.texts)
        return
    from llmos.models.bpe import train_bpe
    from llmos.models.pieces import count_pieces
    from llmos.models.tokenizer import SPECIAL_TOKENS, tokenizer_to_bytes

    texts = list(documents(arguments.texts or [DATA / name for name in TEXTS]))
    size = int(arguments.megabytes * 1e6)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        sample = texts[:: max(1, len(texts) // 1500)]
        tokenizer = train_bpe(count_pieces(sample), VOCABULARY, SPECIAL_TOKENS)
        (work / "tokenizer.json").write_bytes(tokenizer_to_bytes(tokenizer))
        once, tenfold = write(work / "1", texts, size), write(work / "10", texts, 10 * size)
        print(f"{size / 1e6:.0f} MB; MB/s by processor time (wall clock), MiB at the peak")
        rounds = []
        for number in range(arguments.rounds):
            found = {side: measure(side, once, work) for side in SIDES}
            rounds.append(found)
            told = [
                f"{side} {f['cpu']:.2f} ({f['wall']:.2f}), {f['mib']:.0f} MiB"
                for side, f in found.items()
            ]
            print(f"round {number + 1}: " + "; ".join(told), flush=True)
        for other in ("encode_batch", "datasets.map"):
            ratios = [r["llmos"]["cpu"] / r[other]["cpu"] for r in rounds]
            memory = statistics.median(r["llmos"]["mib"] / r[other]["mib"] for r in rounds)
            print(
                f"llmos to {other}: {statistics.median(ratios):.2f} x the speed "
                f"({min(ratios):.2f} to {max(ratios):.2f}), {memory:.2f} x the memory"
            )
        small = statistics.median(r["llmos"]["mib"] for r in rounds)
        large = measure("llmos", tenfold, work)["mib"]
        print(f"llmos at ten times the text: {large:.0f} MiB, {large / small:.2f} x")


if __name__ == "__main__":
    main()
